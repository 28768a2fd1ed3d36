//! Starting: order, conditions, health, ends and limits.

use crate::support::{
    Bench, FOREVER, NO_WAIT, WAIT, after, forever, healthy_while, project, script, service,
};
use margo_agent::compose::model::{Condition, Dependency, Restart};
use margo_agent::engine::{Applied, EngineError, MismatchKind, WaitPolicy};
use state_machine::failure::Code;

#[tokio::test]
async fn all_three_conditions_hold_back_dependents() {
    let Some(bench) = Bench::new().await else { return };
    let mut slow = script(&format!("sleep 1; touch /tmp/ok; {FOREVER}"));
    slow.healthcheck = Some(healthy_while("/tmp/ok"));
    slow.healthcheck.as_mut().unwrap().retries = Some(50);
    let mut last = forever();
    last.depends_on.insert("slow".to_owned(), after(Condition::Healthy));
    last.depends_on.insert("job".to_owned(), after(Condition::CompletedSuccessfully));
    last.depends_on.insert("first".to_owned(), after(Condition::Started));
    last.depends_on
        .insert("absent".to_owned(), Dependency { required: false, ..after(Condition::Healthy) });
    let unit = bench.unit(project([
        ("last", last),
        ("slow", slow),
        ("job", script("sleep 1; true")),
        ("first", forever()),
    ]));
    // Conditions hold without `wait` too.
    let applied = bench.engine.apply(&unit, &NO_WAIT).await.unwrap();
    assert_eq!(applied.created, 4);
    let owned = bench.engine.owned().await.unwrap();
    let mine: Vec<_> = owned.into_iter().filter(|o| o.deployment == bench.deployment).collect();
    let started = |name: &str| {
        mine.iter().find(|one| one.service == name).unwrap().started_at.clone().unwrap()
    };
    for earlier in ["slow", "job", "first"] {
        assert!(started(earlier) < started("last"), "{earlier}");
    }
    assert_eq!(bench.state("job").await, "exited");
    assert!(mine.iter().any(|one| one.service == "slow" && one.is_healthy == Some(true)));

    // The job is done: a second call runs nothing again.
    let again = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(again, Applied { adopted: 4, ..Applied::default() });
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    bench.clean().await;
}

#[tokio::test]
async fn a_failed_job_fails_the_component_with_its_last_words() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = forever();
    web.depends_on.insert("job".to_owned(), after(Condition::CompletedSuccessfully));
    let unit = bench.unit(project([("web", web), ("job", script("echo no database >&2; exit 3"))]));
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert!(matches!(error, EngineError::Exited { exit_code: 3, .. }), "{error}");
    let failure = error.to_failure();
    assert_eq!(failure.code, Code::StartFailed);
    assert!(failure.message.contains("no database"), "{failure}");
    assert_eq!(bench.state("web").await, "created");
    bench.clean().await;
}

#[tokio::test]
async fn an_optional_dependency_may_fail_when_nobody_waits() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = forever();
    web.depends_on.insert(
        "job".to_owned(),
        Dependency { required: false, ..after(Condition::CompletedSuccessfully) },
    );
    let unit = bench.unit(project([("web", web), ("job", script("exit 3"))]));
    bench.engine.apply(&unit, &NO_WAIT).await.unwrap();
    assert_eq!(bench.state("web").await, "running");
    bench.clean().await;
}

#[tokio::test]
async fn an_exit_with_an_error_fails_at_once_whatever_the_restart_policy() {
    let Some(bench) = Bench::new().await else { return };
    for restart in [Restart::No, Restart::Always, Restart::OnFailure(3)] {
        let mut web = script("exit 7");
        web.restart = restart;
        let unit = bench.unit(project([("web", web)]));
        let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
        assert!(matches!(error, EngineError::Exited { exit_code: 7, .. }), "{restart:?}: {error}");
    }
    bench.clean().await;
}

#[tokio::test]
async fn a_one_shot_that_ended_well_is_up_and_not_run_again() {
    let Some(bench) = Bench::new().await else { return };
    let unit = bench.unit(project([("job", script("echo ran"))]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { adopted: 1, ..Applied::default() });
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    bench.clean().await;
}

#[tokio::test]
async fn a_stopped_service_is_not_taken_for_a_finished_one() {
    let Some(bench) = Bench::new().await else { return };
    // Ends with 0 when it is stopped, like many servers.
    let unit = bench.unit(project([("web", forever())]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let id = bench.id("web").await;
    bench.docker.stop_container(&id, None).await.unwrap();
    let seen = bench.engine.observe(&unit).await.unwrap();
    assert_eq!(seen[0].kind, MismatchKind::Stopped { exit_code: 0 });
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { restarted: 1, ..Applied::default() });
    assert_eq!(bench.id("web").await, id);

    // Another agent process has seen nothing: it starts it as well.
    bench.docker.stop_container(&id, None).await.unwrap();
    let fresh = margo_agent::engine::Engine::connect(&crate::support::socket()).unwrap();
    assert_eq!(fresh.apply(&unit, &WAIT).await.unwrap().restarted, 1);
    bench.clean().await;
}

#[tokio::test]
async fn wait_means_healthy() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = script(&format!("sleep 1; touch /tmp/ok; {FOREVER}"));
    web.healthcheck = Some(healthy_while("/tmp/ok"));
    web.healthcheck.as_mut().unwrap().retries = Some(50);
    let unit = bench.unit(project([("web", web)]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let owned = bench.engine.owned().await.unwrap();
    let mine = owned.iter().find(|one| one.deployment == bench.deployment).unwrap();
    assert_eq!(mine.is_healthy, Some(true));
    bench.clean().await;
}

#[tokio::test]
async fn an_unhealthy_container_is_restarted_once() {
    let Some(bench) = Bench::new().await else { return };
    // Healthy after every start, until the file goes.
    let mut web = script(&format!("touch /tmp/ok; {FOREVER}"));
    web.healthcheck = Some(healthy_while("/tmp/ok"));
    let unit = bench.unit(project([("web", web)]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let id = bench.id("web").await;
    bench.exec("web", "rm /tmp/ok").await;
    crate::support::until(async || {
        bench.engine.observe(&unit).await.unwrap().iter().any(|m| m.kind == MismatchKind::Unhealthy)
    })
    .await;
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { restarted: 1, ..Applied::default() });
    assert_eq!(bench.id("web").await, id);
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    bench.clean().await;
}

#[tokio::test]
async fn never_healthy_is_unhealthy() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = forever();
    web.healthcheck = Some(healthy_while("/never"));
    let unit = bench.unit(project([("web", web)]));
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert_eq!(error.to_failure().code, Code::Unhealthy, "{error}");
    bench.clean().await;
}

#[tokio::test]
async fn a_time_out_names_the_service_and_what_it_does() {
    let Some(bench) = Bench::new().await else { return };
    let mut slow = forever();
    slow.healthcheck = Some(healthy_while("/never"));
    slow.healthcheck.as_mut().unwrap().retries = Some(1000);
    let mut web = forever();
    web.depends_on.insert("slow".to_owned(), after(Condition::Healthy));
    let mut unit = bench.unit(project([("another", web), ("slow", slow)]));
    let short = WaitPolicy { wait: true, timeout_ms: 3_000 };
    let error = bench.engine.apply(&unit, &short).await.unwrap_err();
    let EngineError::StartTimeout { service: name, state, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), state.as_str()), ("slow", "waiting for its health check"));
    assert_eq!(error.to_failure().code, Code::StartTimeout);

    // A dependency that can never be satisfied is said at once.
    service(&mut unit, "slow").healthcheck = None;
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert!(matches!(error, EngineError::Project { .. }), "{error}");
    bench.clean().await;
}

#[tokio::test]
async fn a_shared_network_namespace_follows_its_owner() {
    let Some(bench) = Bench::new().await else { return };
    let mut side = forever();
    side.networks.clear();
    side.network_mode = Some("service:main".to_owned());
    let mut unit = bench.unit(project([("main", forever()), ("side", side)]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let eth = "ls /sys/class/net";
    assert!(bench.exec("side", eth).await.contains("eth0"));

    // Owner restarted: the namespace is a new one.
    bench.docker.stop_container(&bench.id("main").await, None).await.unwrap();
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { restarted: 2, ..Applied::default() });
    assert!(bench.exec("side", eth).await.contains("eth0"));

    // Owner replaced: the sharer is bound to a container that is gone.
    service(&mut unit, "main").environment.insert("A".to_owned(), Some("1".to_owned()));
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { recreated: 2, ..Applied::default() });
    assert!(bench.exec("side", eth).await.contains("eth0"));
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    bench.clean().await;
}

#[tokio::test]
async fn a_dependent_that_says_so_is_recreated_with_its_dependency() {
    let Some(bench) = Bench::new().await else { return };
    let (mut follows, mut stays) = (forever(), forever());
    follows
        .depends_on
        .insert("db".to_owned(), Dependency { restart: true, ..after(Condition::Started) });
    stays.depends_on.insert("db".to_owned(), after(Condition::Started));
    let mut unit = bench.unit(project([("db", forever()), ("follows", follows), ("stays", stays)]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    service(&mut unit, "db").environment.insert("A".to_owned(), Some("1".to_owned()));
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { adopted: 1, recreated: 2, ..Applied::default() });
    bench.clean().await;
}
