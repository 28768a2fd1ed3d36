//! Looking: events, logs, pulls that fail, and an engine that is not there.

use crate::support::{Bench, WAIT, forever, project, script};
use futures_util::{StreamExt, TryStreamExt};
use margo_agent::engine::{
    Engine, EngineError, EngineEvent, EngineEventKind as Kind, LogOptions, PullProblem,
    PullRequest, Synced,
};
use state_machine::failure::Code;

#[tokio::test]
async fn events_of_our_containers_arrive() {
    let Some(bench) = Bench::new().await else { return };
    let mut events = Box::pin(bench.engine.watch());
    let deployment = bench.deployment.clone();
    // The stream subscribes when it is first asked.
    let collected = tokio::spawn(async move {
        let mut kinds = Vec::new();
        while let Some(event) = events.next().await {
            let EngineEvent { deployment: from, kind, .. } = event.unwrap();
            if from != deployment {
                continue;
            }
            let is_last = kind == Kind::Destroyed;
            kinds.push(kind);
            if is_last {
                break;
            }
        }
        kinds
    });
    crate::support::until(async || {
        let info = bench.docker.info().await.unwrap();
        info.n_events_listener.unwrap_or(1) >= 2
    })
    .await;
    let unit = bench.unit(project([("web", forever())]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let id = bench.id("web").await;
    let network =
        margo_agent::engine::Names::new(&unit.deployment, &unit.component).keyed("default");
    let request =
        bollard::models::NetworkDisconnectRequest { container: id.clone(), force: Some(true) };
    bench.docker.disconnect_network(&network, request).await.unwrap();
    bench.docker.kill_container(&id, None).await.unwrap();
    bench
        .engine
        .remove_deployment(&bench.deployment, margo_agent::engine::VolumePolicy::Delete)
        .await
        .unwrap();
    let kinds = tokio::time::timeout(std::time::Duration::from_secs(30), collected);
    let kinds = kinds.await.unwrap().unwrap();
    for expected in [Kind::Created, Kind::Started, Kind::Died { exit_code: 137 }, Kind::Destroyed] {
        assert!(kinds.contains(&expected), "{expected:?} in {kinds:?}");
    }
    bench.clean().await;
}

#[tokio::test]
async fn logs_keep_the_streams_apart() {
    let Some(bench) = Bench::new().await else { return };
    let unit = bench.unit(project([("job", script("echo one; echo two >&2; echo three"))]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let lines: Vec<_> =
        bench.engine.logs(&bench.id("job").await, &options).try_collect().await.unwrap();
    let errors: Vec<_> = lines.iter().filter(|line| line.stderr).map(|l| &l.bytes[..]).collect();
    assert_eq!(errors, [b"two\n"]);
    assert_eq!(lines.len(), 3);
    let tail = LogOptions { tail: Some(1), ..LogOptions::default() };
    let last: Vec<_> =
        bench.engine.logs(&bench.id("job").await, &tail).try_collect().await.unwrap();
    assert_eq!(last.len(), 1);
    let unknown: Result<Vec<_>, _> = bench.engine.logs("no-such", &tail).try_collect().await;
    assert!(matches!(unknown, Err(EngineError::Api { .. })));
    bench.clean().await;
}

#[tokio::test]
async fn pulling() {
    let Some(bench) = Bench::new().await else { return };
    let request = |reference: &str| PullRequest {
        reference: reference.to_owned(),
        platform: None,
        auth: None,
        if_missing: true,
    };
    // Here already: no registry is asked (there is none).
    let found = bench.engine.pull(&request(crate::support::IMAGE), |_| {}).await.unwrap();
    assert_eq!(found.id, bench.image);
    let wrong = PullRequest { if_missing: false, ..request("127.0.0.1:1/none:1") };
    let error = bench.engine.pull(&wrong, |_| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { problem: PullProblem::Network, .. }), "{error}");
    assert_eq!(error.to_failure().code, Code::ArtifactPullFailed);
    let error = bench.engine.pull(&request("NOT A REFERENCE"), |_| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { problem: PullProblem::BadReference, .. }));
}

#[tokio::test]
async fn images_are_synced_or_it_is_said_that_they_are_not() {
    let Some(bench) = Bench::new().await else { return };
    let root = bench.docker.info().await.unwrap().docker_root_dir.unwrap();
    let synced = bench.engine.sync_images().await.unwrap();
    if std::path::Path::new(&root).is_dir() {
        assert_eq!(synced, Synced::Yes(vec![root.into()]));
    } else {
        assert_eq!(synced, Synced::NotVisible(root.into()));
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let engine = Engine::connect(&path).unwrap();
    for _ in 0..2 {
        let failure = engine.ping().await.unwrap_err().to_failure();
        assert_eq!(failure.code, Code::EngineUnavailable);
        // The second time somebody listens who hangs up at once.
        let listener = tokio::net::UnixListener::bind(&path);
        if let Ok(listener) = listener {
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
    }
    let first = engine.watch().boxed().next().await.unwrap();
    assert_eq!(first.unwrap_err().to_failure().code, Code::EngineUnavailable);
}
