//! `margo-demo`: a lab fleet manager, a registry, a real agent and a real Docker engine on this machine, and the
//! things that go wrong with devices, done to them one after another.

mod screen;

use margo_e2e::{App, Container, World, wait_for};
use margo_lab::{DeploymentId, State};
use screen::Screen;

#[tokio::main]
async fn main() {
    let mut screen = Screen::new();
    let mut world = World::new().await;
    let ids = Ids { press: first_apps(&mut screen, &mut world).await };
    update(&mut screen, &world, &ids).await;
    agent_dies(&mut screen, &mut world, &ids).await;
    behind_its_back(&mut screen, &world, &ids).await;
    no_network(&mut screen, &mut world, &ids).await;
    bad_app(&mut screen, &mut world, &ids).await;
    removal(&mut screen, &world, &ids).await;
    told(&screen, &world);
    screen.end();
    world.end().await;
}

struct Ids {
    press: DeploymentId,
}

const PRESS: [&str; 2] = ["press-monitor/s1", "press-monitor/s2"];

fn press(revision: &str) -> App {
    App::sleeping("press-monitor", revision, revision, PRESS.len())
}

async fn first_apps(screen: &mut Screen, world: &mut World) -> DeploymentId {
    screen.chapter(
        "A new device",
        "It is provisioned, verifies its fleet manager, says what it is, and gets its first app.",
    );
    let endpoints = world.lab.endpoints();
    screen.line(&format!("fleet manager     {}", endpoints.wfm_url));
    screen.line(&format!("identity service  {}", endpoints.trust_bundle_uri));
    screen.line(&format!("OCI registry      {}", endpoints.registry));
    let press = world.deploy(&press("1.0.0"));
    world.agent.start();
    world.synced().await;
    let status = world.agent.status().await.unwrap_or_else(|error| fail(&error));
    let id = status.identity.spiffe_id.unwrap_or_default();
    screen.good(&format!("registered and synced as {id}"));
    world.reported(&press, State::Installed).await;
    show(screen, &world.running(&press, &PRESS).await);
    screen.good("app 1.0.0 runs and is reported installed");
    press
}

async fn update(screen: &mut Screen, world: &World, ids: &Ids) {
    screen
        .chapter("An update", "Its containers are replaced; the fleet manager sees which version.");
    let before = world.running(&ids.press, &PRESS).await;
    world.update(&ids.press, &press("1.1.0"));
    let report = world.reported(&ids.press, State::Installed).await;
    let after = world.running(&ids.press, &PRESS).await;
    show(screen, &after);
    assert!(before.iter().zip(&after).all(|(old, new)| old.id != new.id), "replaced");
    screen.good(&format!("app 1.1.0 runs, adopted manifest version {}", report.adopted_version));
}

async fn agent_dies(screen: &mut Screen, world: &mut World, ids: &Ids) {
    screen.chapter(
        "The agent is killed in the middle of an update",
        "SIGKILL, then a restart: it finishes what it was told, and recreates nothing that was right.",
    );
    let seen = world.agent.log().matches("prepared -> applying").count();
    world.update(&ids.press, &press("1.2.0"));
    let log = || world.agent.log().matches("prepared -> applying").count();
    wait_for("the update to begin", || {
        let begun = log() > seen;
        async move { if begun { Ok(()) } else { Err("not begun".to_owned()) } }
    })
    .await;
    world.agent.kill().await;
    screen.line("killed with SIGKILL while it was applying 1.2.0");
    world.agent.start();
    world.reported(&ids.press, State::Installed).await;
    show(screen, &world.running(&ids.press, &PRESS).await);
    screen.good("1.2.0 runs: the restarted agent finished the update");

    let before = world.running(&ids.press, &PRESS).await;
    world.agent.kill().await;
    world.agent.start();
    world.synced().await;
    assert_eq!(before, world.running(&ids.press, &PRESS).await, "nothing was recreated");
    screen.good("killed and restarted once more: every container was adopted as it was");
}

async fn behind_its_back(screen: &mut Screen, world: &World, ids: &Ids) {
    screen.chapter(
        "Somebody removes a container",
        "The device notices from the engine's events and brings back that one only.",
    );
    let before = world.running(&ids.press, &PRESS).await;
    if let Some(victim) = before.first() {
        world.engine.destroy(&victim.id).await;
        screen.line(&format!("removed {} by hand", victim.place));
    }
    let after = wait_for("the container to come back", || async {
        let now = world.engine.containers(ids.press.as_str()).await;
        let back = now.len() == PRESS.len() && now.iter().all(|c| c.runs) && now != before;
        if back { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await;
    show(screen, &after);
    assert_eq!(before.last(), after.last(), "the other one was not touched");
    screen.good("restored; its neighbour was not touched");
}

async fn no_network(screen: &mut Screen, world: &mut World, ids: &Ids) {
    screen.chapter(
        "A reboot with the network cut",
        "Fleet manager and registry are gone, every container is gone, the agent starts anew.",
    );
    world.lab.stop_wfm().await;
    world.lab.stop_registry().await;
    world.agent.kill().await;
    for container in world.engine.containers(ids.press.as_str()).await {
        world.engine.destroy(&container.id).await;
    }
    screen.line("network cut, agent killed, all containers removed");
    world.agent.start();
    show(screen, &world.running(&ids.press, &PRESS).await);
    screen.good("everything runs again, from local storage alone");
    world.lab.start_wfm().await.unwrap_or_else(|error| fail(&error.to_string()));
    world.lab.start_registry().await.unwrap_or_else(|error| fail(&error.to_string()));
    world.synced().await;
    screen.good("network back, fleet manager reached again");
}

async fn bad_app(screen: &mut Screen, world: &mut World, ids: &Ids) {
    screen.chapter(
        "An app that asks for too much",
        "It is refused before anything is touched, with the key's path; the others run on.",
    );
    let before = world.running(&ids.press, &PRESS).await;
    let greedy = "services:\n  agent:\n    image: ${LAB_REGISTRY}/lab/busybox:1\n    privileged: true\n\
                  \x20   volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]\n";
    let id = world.deploy(&App::with_compose("greedy", "1.0.0", greedy));
    let report = world.reported(&id, State::Failed).await;
    if let Some(error) = report.error {
        screen.line(&format!("reported: {} {}", error.code, error.message));
    }
    assert_eq!(before, world.running(&ids.press, &PRESS).await);
    screen.good("refused and reported; the running app was not touched");
    world.lab.remove(&id).unwrap_or_else(|error| fail(&error.to_string()));
    world.reported(&id, State::Removed).await;
}

async fn removal(screen: &mut Screen, world: &World, ids: &Ids) {
    screen.chapter("The app is removed", "Only because an accepted manifest no longer lists it.");
    world.lab.remove(&ids.press).unwrap_or_else(|error| fail(&error.to_string()));
    world.reported(&ids.press, State::Removed).await;
    world.running(&ids.press, &[]).await;
    screen.good("removed and reported");
}

fn told(screen: &Screen, world: &World) {
    screen.line("what the fleet manager was told, in order:");
    for report in world.lab.reports() {
        let code = report.error.map(|error| format!(" {}", error.code)).unwrap_or_default();
        let id = report.deployment.as_str().get(..8).unwrap_or_default().to_owned();
        screen.line(&format!("   {id}…  v{}  {}{code}", report.adopted_version, report.state));
    }
}

fn show(screen: &Screen, containers: &[Container]) {
    for container in containers {
        let id = container.id.get(..12).unwrap_or_default();
        screen.line(&format!("   {id}  {}  {}", container.place, word(container.runs)));
    }
}

fn word(runs: bool) -> &'static str {
    if runs { "running" } else { "stopped" }
}

#[expect(clippy::panic, reason = "a demonstration that cannot go on has nothing better to do")]
fn fail(error: &str) -> ! {
    panic!("{error}")
}
