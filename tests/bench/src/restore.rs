//! From the start of the agent to ten removed containers running again, with neither fleet manager nor registry; and
//! beside it what the bare engine needs for ten containers.

use crate::Fault;
use crate::apply::Rivals;
use crate::engine::now_ms;
use crate::options::Options;
use crate::process::{Log, Process};
use crate::samples::Samples;
use crate::scene::Scene;
use margo_agent::engine::LABEL_DEPLOYMENT;
use serde_json::{Map, Value};

/// Deployments of one container each.
const DEPLOYMENTS: usize = 10;

/// `restore_running_ms`.
///
/// # Errors
/// A container does not come back.
pub(crate) async fn measure(
    scene: &mut Scene,
    options: &Options,
) -> Result<Map<String, Value>, Fault> {
    let rounds = options.pick(3, 10);
    crate::say(&format!("restore: {DEPLOYMENTS} containers, {rounds} times"));
    scene.grow(options, DEPLOYMENTS).await?;
    scene.world.lab.stop_wfm().await;
    scene.world.lab.stop_registry().await;
    let rivals = Rivals::new(scene, None).await?;
    let (mut samples, mut floor) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        floor.push(rivals.many_by_engine(scene, DEPLOYMENTS).await?);
        for id in &scene.deployments {
            for container in scene.world.engine.containers(id.as_str()).await {
                scene.world.engine.destroy(&container.id).await;
            }
        }
        scene.starts.clear();
        let began_ms = now_ms();
        let process = Process::start(options, scene.root(), Log::Kept)?;
        let mut last_ms = began_ms;
        for id in &scene.deployments {
            let started_ms = scene.starts.started(LABEL_DEPLOYMENT, id.as_str()).await?;
            last_ms = started_ms.max(last_ms);
        }
        samples.push(last_ms - began_ms);
        process.kill().await?;
    }
    scene.world.lab.start_wfm().await?;
    scene.world.lab.start_registry().await?;
    Ok(Map::from_iter([
        ("restore_running_ms".to_owned(), samples.to_json()),
        ("restore_engine_api_running_ms".to_owned(), floor.to_json()),
        ("restore_ratio_vs_engine_api".to_owned(), samples.ratios(&floor).to_json()),
    ]))
}
