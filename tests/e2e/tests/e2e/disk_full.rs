//! Storage is full: nothing is begun that could be forgotten (I1), what runs runs on, the agent stays up and says so, and
//! goes on when there is space again.

use margo_agent::engine::LABEL_DEPLOYMENT;
use margo_e2e::{App, OwnEngine, Settings, SmallDisk, World, require_engine};
use margo_lab::archive::Entry;
use margo_lab::registry::busybox_files;
use margo_lab::{Lab, State};

/// A world whose durable state is on a small disk, with one application installed.
async fn on_small_disk(disk: &SmallDisk) -> World {
    let state_dir = Some(disk.path().join("state"));
    let mut world = World::with(Settings { state_dir, ..Settings::default() }).await;
    world.agent.start();
    world
}

/// Waits for some polls more.
async fn polls(world: &World, count: usize) {
    let seen = world.lab.requests().len();
    let more = move |lab: &Lab| (lab.requests().len() >= seen + count).then_some(());
    world.lab.wait_for("polls", margo_e2e::PATIENCE, more).await.expect("polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_space_for_the_state_nothing_is_begun() {
    if !require_engine() {
        return;
    }
    let Some(disk) = SmallDisk::in_memory(1024) else { return };
    let mut world = on_small_disk(&disk).await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    let other = world.deploy(&App::sleeping("other", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    world.reported(&other, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;
    let other_before = world.running(&other, &["other/s1"]).await;
    world.status("an empty outbox", |status| status.outbox_len == 0).await;
    polls(&world, 2).await;

    // A removal needs nothing but the new state.
    disk.fill(0);
    let mark = world.agent.log_mark();
    world.lab.remove(&app).expect("remove");
    let status = world
        .status("the agent to say that it cannot save", |status| {
            let lacking = status.lacking.as_deref().unwrap_or_default();
            lacking.contains("cannot be saved") && lacking.contains("No space left")
        })
        .await;
    assert_eq!(status.workloads.desired, 2, "the state before still holds: {status:?}");
    world.logged(mark, &["cannot save the state", "No space left"]).await;
    let told = world.ctl(&["sync"]).await;
    assert!(told.exit == 6 && told.err.contains("No space left"), "{told:?}");
    // Not even after more attempts.
    world.logged(world.agent.log_mark(), &["cannot save the state"]).await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    assert!(!world.states(&app).contains(&State::Removing), "{:?}", world.states(&app));

    // Nor does a restart need space.
    world.agent.kill().await;
    world.engine.destroy(&other_before[0].id).await;
    world.agent.start();
    world.running(&other, &["other/s1"]).await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);

    disk.free();
    world.reported(&app, State::Removed).await;
    world.running(&app, &[]).await;
    world.synced().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_space_for_what_is_fetched_the_new_state_waits() {
    if !require_engine() {
        return;
    }
    let Some(disk) = SmallDisk::in_memory(1024) else { return };
    let mut world = on_small_disk(&disk).await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;
    world.status("an empty outbox", |status| status.outbox_len == 0).await;
    disk.fill(0);
    let second = world.deploy(&App::sleeping("second", "1.0.0", "one", 1));
    world.wfm_error("NO_SPACE", "No space left").await;
    polls(&world, 2).await;
    world.running(&second, &[]).await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    disk.free();
    world.reported(&second, State::Installed).await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_engine_is_told_and_outlived() {
    if !require_engine() {
        return;
    }
    let Some(disk) = SmallDisk::in_file(96) else { return };
    let Some(engine) = OwnEngine::start(disk.path()) else { return };
    let engine_socket = engine.socket().display().to_string();
    let mut world = World::with(Settings { engine_socket, ..Settings::default() }).await;
    world.agent.start();
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;

    // An image that does not fit beside the filler.
    let mut files = busybox_files().expect("busybox");
    let noise: Vec<u8> =
        (0..250_000).flat_map(|_| margo_lab::ids::random_uuid().into_bytes()).collect();
    files.insert("noise".into(), Entry::text(noise));
    let image = world.image("sleep 1000000");
    world.lab.registry().push_image_from_rootfs("lab/big", "1", &files, &image).expect("push");
    disk.fill(2048);
    let compose =
        "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/big:1\n    stop_signal: SIGKILL\n";
    let big = world.deploy(&App::with_compose("big", "1.0.0", compose));
    let report = world.failed(&big, "NO_SPACE").await;
    assert!(report.error.expect("an error").message.contains("lab/big:1"));
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    let filter = format!("label={LABEL_DEPLOYMENT}={big}");
    assert_eq!(world.engine.cli(&["ps", "-aq", "--filter", &filter]).await, "");
    let known = world.deployment(&big, "it to be known here", |one| one.error.is_some()).await;
    assert_eq!(known.error.expect("an error").code, "NO_SPACE");

    disk.free();
    world.reported(&big, State::Installed).await;
    world.running(&big, &["big/s1"]).await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    world.end().await;
    drop(engine);
}
