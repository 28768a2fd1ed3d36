//! From an accepted manifest to a running container: the agent, the bare engine API and `docker compose`, in turns.
//!
//! All three make one network and one container from the same compose file and an image the engine has. The end is
//! the engine's own `start` event for each of them.

mod breakdown;
mod rivals;

use crate::Fault;
use crate::options::Options;
use crate::process::{Log, Process};
use crate::samples::{Samples, rounded};
use crate::scene::Scene;
use margo_agent::engine::LABEL_DEPLOYMENT;
use margo_e2e::App;
use margo_lab::{Operation, State};
pub(crate) use rivals::Rivals;
use serde_json::{Map, Value, json};

/// The three, in the order of the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Agent,
    EngineApi,
    DockerCompose,
}

/// What one application took, in milliseconds.
#[derive(Clone, Debug, Default)]
struct Taken {
    /// From the beginning to the engine's `start` event.
    running_ms: f64,
    /// For the agent: from the poll that was answered with the new manifest.
    offered_running_ms: f64,
    /// Beginning and end of `running_ms`, in milliseconds since 1970.
    window_ms: (f64, f64),
    /// Consecutive parts of `running_ms`.
    segments: Vec<(&'static str, f64)>,
}

/// `apply_running_ms`, its ratios and its parts.
///
/// # Errors
/// An application does not come up.
pub(crate) async fn measure(
    scene: &mut Scene,
    options: &Options,
) -> Result<Map<String, Value>, Fault> {
    let rounds = options.pick(5, 20);
    let compose = options.compose.as_deref();
    let rivals = Rivals::new(scene, compose).await?;
    crate::say(&format!(
        "apply: {rounds} rounds{}",
        if compose.is_none() { ", no docker compose" } else { "" }
    ));
    let mut order = vec![Runner::Agent, Runner::EngineApi];
    order.extend(compose.map(|_| Runner::DockerCompose));
    let process = scene.settled(options, Log::Kept).await?;
    let (mut agent, mut engine, mut composed) = (Vec::new(), Vec::new(), Vec::new());
    // One round that does not count warms what all three use.
    for round in 0..=rounds {
        for runner in &order {
            let name = format!("bench-apply-{round}");
            let (taken, of) = match runner {
                Runner::Agent => (by_agent(scene, &process, &name).await?, &mut agent),
                Runner::EngineApi => (rivals.by_engine(scene, &name).await?, &mut engine),
                Runner::DockerCompose => (rivals.by_compose(scene, &name).await?, &mut composed),
            };
            if round > 0 {
                of.push(taken);
            }
        }
        order.rotate_left(1);
    }
    process.kill().await?;
    let parts = breakdown::measure(scene, options).await?;
    Ok(figures(&agent, &engine, &composed, parts))
}

fn figures(
    agent: &[Taken],
    engine: &[Taken],
    composed: &[Taken],
    parts: Value,
) -> Map<String, Value> {
    let running = |all: &[Taken]| all.iter().map(|one| one.running_ms).collect::<Samples>();
    let (own, floor, compose) = (running(agent), running(engine), running(composed));
    let offered: Samples = agent.iter().map(|one| one.offered_running_ms).collect();
    let mut figures = Map::from_iter([
        ("apply_running_ms".to_owned(), own.to_json()),
        ("apply_offered_running_ms".to_owned(), offered.to_json()),
        ("engine_api_running_ms".to_owned(), floor.to_json()),
        ("apply_ratio_vs_engine_api".to_owned(), own.ratios(&floor).to_json()),
        (
            "apply_breakdown_ms".to_owned(),
            json!({
                "agent": segments(agent),
                "engine_api": segments(engine),
                "docker_compose": segments(composed),
                "inside_the_agent": parts,
            }),
        ),
    ]);
    if compose.len() > 0 {
        figures.insert("docker_compose_running_ms".to_owned(), compose.to_json());
        let ratios = own.ratios(&compose).to_json();
        figures.insert("apply_ratio_vs_docker_compose".to_owned(), ratios);
    }
    figures
}

/// The median of each part.
fn segments(all: &[Taken]) -> Value {
    let names = all.first().map(|one| one.segments.clone()).unwrap_or_default();
    let median = |name| {
        let of = |one: &Taken| one.segments.iter().find(|(n, _)| *n == name).map(|(_, ms)| *ms);
        rounded(all.iter().filter_map(of).collect::<Samples>().median())
    };
    names.iter().map(|(name, _)| ((*name).to_owned(), Value::from(median(*name)))).collect()
}

/// One application through the desired state, and its removal.
async fn by_agent(scene: &mut Scene, process: &Process, name: &str) -> Result<Taken, Fault> {
    let app = App::sleeping(name, "1.0.0", "one", 1);
    scene.starts.clear();
    let id = scene.world.deploy(&app);
    process.sync()?;
    let started_ms = scene.starts.started(LABEL_DEPLOYMENT, id.as_str()).await?;
    scene.world.reported(&id, State::Installed).await;
    let events = process.events()?;
    let at = |subject: &str, why: &str| {
        let mut found = events.iter().filter(|e| e.subject.starts_with(subject) && e.why == why);
        let time = found.next_back().and_then(|event| event.time_unix_ms);
        time.map(ms).ok_or_else(|| Fault::from(format!("no event `{why}`")))
    };
    let accepted_ms = at("", "accepted")?;
    let points = [("prepare", at(id.as_str(), "prepared")?), ("turn", at(id.as_str(), "turn")?)];
    let segments = segments_of(scene, accepted_ms, &points, LABEL_DEPLOYMENT, id.as_str());
    let requests = scene.world.lab.requests();
    let offered = requests.iter().rev().find(|request| {
        request.operation == Some(Operation::GetManifest) && request.status == Some(200)
    });
    let offered_ms = offered.map(|request| ms(request.time_ms)).ok_or("no manifest was served")?;
    scene.world.lab.remove(&id)?;
    process.sync()?;
    scene.world.reported(&id, State::Removed).await;
    Ok(Taken {
        running_ms: started_ms - accepted_ms,
        offered_running_ms: started_ms - offered_ms,
        window_ms: (accepted_ms, started_ms),
        segments,
    })
}

/// Consecutive parts from `began_ms` to the start: the given points, then what the engine said.
fn segments_of(
    scene: &Scene,
    began_ms: f64,
    points: &[(&'static str, f64)],
    label: &str,
    value: &str,
) -> Vec<(&'static str, f64)> {
    let all = scene.starts.all();
    let is_ours = |action: &str| {
        let found = all.iter().find(|one| {
            one.kind == "container"
                && one.action == action
                && one.attributes.get(label).is_some_and(|found| found == value)
        });
        found.map(|one| one.at_ms)
    };
    let network = all.iter().find(|one| one.kind == "network" && one.action == "create");
    let engine = [
        ("until the network is made", network.map(|one| one.at_ms)),
        ("until the container is made", is_ours("create")),
        ("until it is started", is_ours("start")),
    ];
    let engine = engine.into_iter().filter_map(|(name, at_ms)| Some((name, at_ms?)));
    let mut last_ms = began_ms;
    let part = |(name, at_ms): (&'static str, f64)| {
        let took_ms = at_ms - last_ms;
        last_ms = at_ms;
        (name, took_ms)
    };
    points.iter().copied().chain(engine).map(part).collect()
}

/// Milliseconds since 1970 are exact in 53 bits for a long time to come.
fn ms(unix_ms: u64) -> f64 {
    std::time::Duration::from_millis(unix_ms).as_secs_f64() * 1e3
}
