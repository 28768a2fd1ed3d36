//! In steady state nothing is written to disk and nothing is sent but polls (I10).

use margo_e2e::{App, World, require_engine};
use margo_lab::{Operation, Service, State};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Polls that are watched.
const POLLS: usize = 20;

/// Every entry below a directory: size, time of the last write, and of the last change of the entry itself.
fn entries(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("list").map(|entry| entry.expect("entry")) {
            let (path, meta) = (entry.path(), entry.metadata().expect("metadata"));
            let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
            found.insert(path.clone(), (meta.size(), times.0, times.1, times.2, times.3));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_state_writes_nothing_and_sends_only_polls() {
    if !require_engine() {
        return;
    }
    // Looking at the containers is part of the steady state; it must not show either.
    let mut world = World::with_extra("[retry]\nobserve_interval_secs = 2\n").await;
    world.agent.start();
    for name in ["one", "two", "three"] {
        let id = world.deploy(&App::sleeping(name, "1.0.0", "one", 1));
        world.reported(&id, State::Installed).await;
    }
    world.status("an empty outbox", |status| status.outbox_len == 0).await;
    // The first poll with everything accepted.
    let settled = world.lab.requests().len();
    let next = |lab: &margo_lab::Lab| (lab.requests().len() > settled + 1).then_some(());
    world.lab.wait_for("two polls", margo_e2e::PATIENCE, next).await.expect("polls");

    let state_dir = world.agent.state_dir();
    let before = entries(&state_dir);
    assert!(before.len() > 5, "{before:?}");
    let first = world.lab.requests().len();
    let bytes = |world: &World| -> u64 {
        world.lab.wire(Service::Wfm).iter().map(|one| one.received_bytes + one.sent_bytes).sum()
    };
    let (bytes_before, connections) = (bytes(&world), world.lab.wire(Service::Wfm).len());
    let (log, events) = (world.agent.log_mark(), world.agent.events().await.expect("events").len());
    let enough = |lab: &margo_lab::Lab| (lab.requests().len() >= first + POLLS).then_some(());
    world.lab.wait_for("twenty polls", margo_e2e::PATIENCE, enough).await.expect("polls");

    let requests = world.lab.requests();
    for request in &requests[first..] {
        assert_eq!(request.operation, Some(Operation::GetManifest), "{request}");
        assert_eq!(request.status, Some(304), "{request}");
        assert_eq!(request.request_bytes + request.response_bytes, 0, "{request}");
    }
    let polls = u64::try_from(requests.len() - first).expect("few");
    println!(
        "bytes per poll, both directions with TLS: {}",
        (bytes(&world) - bytes_before) / polls
    );
    assert_eq!(world.lab.wire(Service::Wfm).len(), connections, "the connection is kept");
    assert_eq!(entries(&state_dir), before, "something was written");
    let louder: Vec<String> = world
        .agent
        .log_since(log)
        .lines()
        .filter(|line| !line.contains(" DEBUG ") && !line.contains(" TRACE "))
        .map(str::to_owned)
        .collect();
    assert!(louder.is_empty(), "nothing is worth a line: {louder:#?}");
    assert_eq!(world.agent.events().await.expect("events").len(), events);
    world.end().await;
}
