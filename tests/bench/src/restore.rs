//! From the start of the agent to ten removed containers running again, with neither fleet manager nor registry.

use crate::Fault;
use crate::engine::now_ms;
use crate::options::Options;
use crate::process::Process;
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
    let mut samples = Samples::default();
    for _ in 0..rounds {
        for id in &scene.deployments {
            for container in scene.world.engine.containers(id.as_str()).await {
                scene.world.engine.destroy(&container.id).await;
            }
        }
        scene.starts.clear();
        let began_ms = now_ms();
        let process = Process::start(options, scene.root(), "info")?;
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
    Ok(Map::from_iter([("restore_running_ms".to_owned(), samples.to_json())]))
}
