//! A part of the desired state cannot be applied: the rest is (I6), the previous revision stays or comes back as the
//! policy says, the report tells what is wrong, and a corrected revision ends it.

use margo_e2e::{App, World, require_engine};
use margo_lab::{DeploymentId, State};

/// A compose file with one bad line in its service.
fn with_line(line: &str) -> String {
    format!("services:\n  s1:\n    image: ${{LAB_REGISTRY}}/lab/busybox:1\n    {line}\n")
}

/// Two components, each one service with the same marker.
fn pair(revision: &str, marker: &str) -> [App; 2] {
    [App::sleeping("front", revision, marker, 1), App::sleeping("back", revision, marker, 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_changes_nothing_else() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();
    let good = world.deploy(&App::sleeping("good", "1.0.0", "one", 2));
    let no_image = with_line("x-nothing: 1").replace("lab/busybox:1", "lab/nowhere:1");
    let no_image = world.deploy(&App::with_compose("no-image", "1.0.0", &no_image));
    let exits = world.deploy(&App::failing("exits", "1.0.0"));
    let key = with_line("userns_mode: host");
    let refused = world.deploy(&App::with_compose("refused", "1.0.0", &key));
    let last = world.deploy(&App::sleeping("last", "1.0.0", "one", 1));

    world.reported(&good, State::Installed).await;
    world.reported(&last, State::Installed).await;
    let good_before = world.running(&good, &["good/s1", "good/s2"]).await;
    let last_before = world.running(&last, &["last/s1"]).await;
    for (id, name, code, parts) in [
        (&no_image, "no-image", "ARTIFACT_NOT_FOUND", vec!["lab/nowhere:1"]),
        (&exits, "exits", "START_FAILED", vec!["s1", "code 1", "on purpose"]),
        (&refused, "refused", "COMPOSE_UNSUPPORTED", vec!["services.s1.userns_mode"]),
    ] {
        let report = world.failed(id, code).await;
        let error = report.error.as_ref().expect("an error");
        assert!(parts.iter().all(|part| error.message.contains(part)), "{report}");
        assert_eq!(report.components.len(), 1, "{report}");
        assert_eq!(report.components[0].state, State::Failed, "{report}");
        assert_eq!(report.components[0].name, name);
        let component = report.components[0].error.as_ref().expect("the component's error");
        assert_eq!((&*component.code, &*component.source), (code, name), "{report}");
        assert!(report.warnings.is_empty(), "{report}");
    }
    world.running(&refused, &[]).await;
    world.running(&no_image, &[]).await;

    for (id, name) in [(&no_image, "no-image"), (&exits, "exits"), (&refused, "refused")] {
        world.update(id, &App::sleeping(name, "1.1.0", "fixed", 1));
        world.reported(id, State::Installed).await;
        world.running_at(id, &[(&format!("{name}/s1"), "fixed")]).await;
        let failures = world.states(id).into_iter().filter(|state| *state == State::Failed);
        assert_eq!(failures.count(), 1, "each revision ends once: {:?}", world.states(id));
    }
    assert_eq!(world.running(&good, &["good/s1", "good/s2"]).await, good_before);
    assert_eq!(world.running(&last, &["last/s1"]).await, last_before);
    world.end().await;
}

/// Installs a deployment of two components and updates it so that the second one fails. Returns its containers before.
async fn half_updated(world: &mut World) -> (DeploymentId, Vec<margo_e2e::Container>) {
    world.agent.start();
    let id = world.deploy_all("pair", &pair("1.0.0", "one"));
    world.reported(&id, State::Installed).await;
    let before = world.running_at(&id, &[("back/s1", "one"), ("front/s1", "one")]).await;
    let [front, _] = pair("1.1.0", "two");
    world.update_all(&id, "pair", &[front, App::failing("back", "1.1.0")]);
    let report = world.failed(&id, "START_FAILED").await;
    let back = report.components.iter().find(|component| component.name == "back");
    assert_eq!(back.expect("back").state, State::Failed, "{report}");
    (id, before)
}

/// Corrects the deployment and sees it installed.
async fn corrected(world: &World, id: &DeploymentId) {
    world.update_all(id, "pair", &pair("1.2.0", "three"));
    let report = world.reported(id, State::Installed).await;
    assert!(report.error.is_none(), "{report}");
    world.running_at(id, &[("back/s1", "three"), ("front/s1", "three")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_keep_only_the_failed_component_returns_to_its_previous_revision() {
    if !require_engine() {
        return;
    }
    let mut world = World::with_extra("[behaviour]\npartial_failure = \"keep\"\n").await;
    let (id, _) = half_updated(&mut world).await;
    world.running_at(&id, &[("back/s1", "one"), ("front/s1", "two")]).await;

    // What is held survives the agent's death, and is what comes back.
    world.agent.kill().await;
    for container in world.engine.containers(id.as_str()).await {
        world.engine.destroy(&container.id).await;
    }
    world.agent.start();
    world.running_at(&id, &[("back/s1", "one"), ("front/s1", "two")]).await;
    corrected(&world, &id).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_rollback_the_whole_deployment_returns_to_its_previous_revision() {
    if !require_engine() {
        return;
    }
    let mut world = World::with_extra("[behaviour]\npartial_failure = \"rollback\"\n").await;
    let (id, before) = half_updated(&mut world).await;
    let after = world.running_at(&id, &[("back/s1", "one"), ("front/s1", "one")]).await;
    assert_ne!(after[1].id, before[1].id, "front had been updated");
    let report = world.latest(&id, State::Failed).await;
    assert_eq!(report.error.expect("an error").code, "START_FAILED");
    corrected(&world, &id).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_all_or_nothing_every_changed_deployment_returns() {
    if !require_engine() {
        return;
    }
    let mut world = World::with_extra("[behaviour]\npartial_failure = \"all-or-nothing\"\n").await;
    world.agent.start();
    // One manifest for all of them.
    world
        .lab
        .wait_for("the first poll", margo_e2e::PATIENCE, |lab| lab.client()?.last_poll_ms)
        .await
        .expect("poll");
    world.lab.stop_wfm().await;
    let left = world.deploy(&App::sleeping("left", "1.0.0", "one", 1));
    let right = world.deploy(&App::sleeping("right", "1.0.0", "one", 1));
    let still = world.deploy(&App::sleeping("still", "1.0.0", "one", 1));
    world.lab.start_wfm().await.expect("fleet manager");
    for id in [&left, &right, &still] {
        world.reported(id, State::Installed).await;
    }
    let untouched = world.running_at(&still, &[("still/s1", "one")]).await;

    world.lab.stop_wfm().await;
    world.update(&left, &App::sleeping("left", "1.1.0", "two", 1));
    world.update(&right, &App::failing("right", "1.1.0"));
    world.lab.start_wfm().await.expect("fleet manager");
    world.failed(&right, "START_FAILED").await;
    let report = world.failed(&left, "GROUP_ROLLED_BACK").await;
    assert!(report.to_string().contains(right.as_str()), "the culprit is named: {report}");
    world.running_at(&left, &[("left/s1", "one")]).await;
    world.running_at(&right, &[("right/s1", "one")]).await;

    world.update(&right, &App::sleeping("right", "1.2.0", "three", 1));
    world.reported(&right, State::Installed).await;
    world.latest(&left, State::Installed).await;
    world.running_at(&left, &[("left/s1", "two")]).await;
    world.running_at(&right, &[("right/s1", "three")]).await;
    assert_eq!(world.running_at(&still, &[("still/s1", "one")]).await, untouched);
    world.end().await;
}
