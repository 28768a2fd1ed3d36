//! Wrong configuration is refused with file and line; a reload takes a good one and keeps the old one in place of a bad
//! one; two agents never share a state directory.

use margo_e2e::{Agent, App, Settings, World, require_engine};
use margo_lab::State;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_fragment_is_refused_at_start_with_file_and_line() {
    let mut world =
        World::with_extra("[behaviour]\n\nmismatch = \"repair\"\npartial_failures = \"keep\"\n")
            .await;
    world.agent.start();
    let status = world.agent.ended().await;
    assert!(!status.success());
    let log = world.agent.log();
    for part in [
        "60-extra.toml:3",
        "behaviour.mismatch",
        "repair",
        "60-extra.toml:4",
        "behaviour.partial_failure?",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    world.agent.write_fragment("60-extra.toml", "[behaviour\n");
    let before = world.agent.log_mark();
    world.agent.start();
    assert!(!world.agent.ended().await.success());
    let log = world.agent.log_since(before);
    assert!(log.contains("60-extra.toml:1") && log.contains("TOML"), "{log}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_what_is_good_and_refuses_what_is_bad() {
    if !require_engine() {
        return;
    }
    let settings = Settings { poll_interval_secs: 3600, ..Settings::default() };
    let mut world = World::with(settings).await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 2));
    world.agent.start();
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1", "app/s2"]).await;
    let pid = world.agent.pid();

    let mark = world.agent.log_mark();
    world.agent.write_fragment("60-extra.toml", "[wfm]\npoll_interval_secs = 0\n");
    world.agent.signal("HUP").await;
    world.logged(mark, &["stays", "60-extra.toml:2", "wfm.poll_interval_secs"]).await;
    world.synced().await;

    let mark = world.agent.log_mark();
    let polls = world.lab.requests().len();
    world.agent.write_fragment("60-extra.toml", "[wfm]\npoll_interval_secs = 1\n");
    world.agent.signal("HUP").await;
    world.logged(mark, &["configuration read anew"]).await;
    let more = |lab: &margo_lab::Lab| (lab.requests().len() >= polls + 3).then_some(());
    world.lab.wait_for("polls every second", margo_e2e::PATIENCE, more).await.expect("polls");
    world.synced().await;
    assert_eq!(world.running(&app, &["app/s1", "app/s2"]).await, before);
    assert_eq!(world.agent.pid(), pid);
    let installed = world.states(&app).into_iter().filter(|state| *state == State::Installed);
    assert_eq!(installed.count(), 1, "a reload is no news");

    // With the new settings the agent does all it did.
    world.update(&app, &App::sleeping("app", "1.1.0", "two", 2));
    world.reported(&app, State::Installed).await;
    world.running_at(&app, &[("app/s1", "two"), ("app/s2", "two")]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_state_ends_with_a_clear_error() {
    let mut world = World::new().await;
    world.agent.start();
    world.synced().await;
    let other_root = world.root().join("second");
    let settings = Settings { state_dir: Some(world.agent.state_dir()), ..Settings::default() };
    let url = world.lab.endpoints().wfm_url.clone();
    let mut second = Agent::new(&other_root, &url, world.lab.registry().host(), settings);
    world.lab.provision(&second.identity_dir()).expect("provision");
    second.start();
    assert!(!second.ended().await.success());
    let log = second.log();
    let state_dir = world.agent.state_dir().display().to_string();
    assert!(log.contains(&state_dir) && log.contains("another"), "{log}");
    world.synced().await;

    // Its place is free once the first is gone, however it went.
    world.agent.kill().await;
    second.start();
    margo_e2e::wait_for("the second agent", || async { second.status().await.map(drop) }).await;
    second.kill().await;
    world.end().await;
}
