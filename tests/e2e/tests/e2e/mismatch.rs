//! What runs is made to differ from what is desired, in every way a person can think of: it comes back and nothing
//! else is touched; or, where so configured, it is only reported.

use margo_e2e::{App, Container, Engine, World, require_engine, wait_for};
use margo_lab::{DeploymentId, State};

/// Enough attempts that none of the many mismatches here spends the budget.
const PATIENT: &str = "[retry]\nmismatch_retries_max = 100\nmax_ms = 300\n";

/// All of a container that somebody could have changed.
async fn shape(engine: &Engine, id: &str) -> String {
    let template = "{{.Name}} {{.State.Status}} paused={{.State.Paused}} memory={{.HostConfig.Memory}} \
                    cpus={{.HostConfig.NanoCpus}} networks={{range $name, $_ := .NetworkSettings.Networks}}\
                    {{$name}} {{end}}";
    engine.inspect(id, template).await
}

/// Waits until a deployment's only container has this shape, and returns it.
async fn shaped(world: &World, id: &DeploymentId, place: &str, wanted: &str) -> Container {
    wait_for(&format!("{place} to be {wanted:?}"), || async {
        let found = world.engine.containers(id.as_str()).await;
        let [one] = found.as_slice() else { return Err(format!("{found:?}")) };
        // It may be gone by now; that is as good as another shape.
        let all = world.engine.cli(&["ps", "-aq", "--no-trunc"]).await;
        if !all.contains(&one.id) {
            return Err("it is being replaced".to_owned());
        }
        let seen = shape(&world.engine, &one.id).await;
        if seen == wanted { Ok(one.clone()) } else { Err(seen) }
    })
    .await
}

/// How often the agent has noticed a mismatch of a deployment; while it is starting a container, that is a failure.
async fn noticed(world: &World, id: &DeploymentId) -> usize {
    let events = world.agent.events().await.expect("events");
    let is_it = |why: &str| ["mismatch found", "failed"].contains(&why);
    events.iter().filter(|e| is_it(&e.why) && e.subject.starts_with(id.as_str())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_a_container_is_undone() {
    if !require_engine() {
        return;
    }
    let mut world = World::with_extra(PATIENT).await;
    world.agent.start();
    let victim = world.deploy(&App::sleeping("victim", "1.0.0", "one", 1));
    let bystander = world.deploy(&App::sleeping("bystander", "1.0.0", "one", 2));
    world.reported(&victim, State::Installed).await;
    world.reported(&bystander, State::Installed).await;
    let untouched = world.running(&bystander, &["bystander/s1", "bystander/s2"]).await;
    let first = world.running(&victim, &["victim/s1"]).await.remove(0);
    let wanted = shape(&world.engine, &first.id).await;
    let network = wanted.split("networks=").nth(1).expect("a network").trim().to_owned();

    let other_name = format!("somebody-elses-{}", std::process::id());
    let deeds: [&[&str]; 8] = [
        &["rm", "--force", "ID"],
        &["stop", "--time", "0", "ID"],
        &["kill", "ID"],
        &["pause", "ID"],
        &["update", "--cpus", "0.5", "ID"],
        &["update", "--memory", "64m", "--memory-swap", "64m", "ID"],
        &["network", "disconnect", &network, "ID"],
        &["rename", "ID", &other_name],
    ];
    for deed in deeds {
        let victims = world.running(&victim, &["victim/s1"]).await;
        let seen_before = noticed(&world, &victim).await;
        let deed: Vec<&str> = deed
            .iter()
            .map(|word| if *word == "ID" { victims[0].id.as_str() } else { *word })
            .collect();
        world.engine.cli(&deed).await;
        wait_for(&format!("{deed:?} to be noticed"), || async {
            let seen = noticed(&world, &victim).await;
            if seen > seen_before { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
        shaped(&world, &victim, "victim/s1", &wanted).await;
        let now = world.running(&bystander, &["bystander/s1", "bystander/s2"]).await;
        assert_eq!(now, untouched, "{deed:?}");
    }
    let states = world.states(&victim);
    assert!(
        !states.contains(&State::Failed),
        "within the budget nothing is to be told: {states:?}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_report_a_mismatch_is_told_and_left_to_people() {
    if !require_engine() {
        return;
    }
    let extra = "[behaviour]\nmismatch = \"report\"\n[retry]\nobserve_interval_secs = 1\n";
    let mut world = World::with_extra(extra).await;
    world.agent.start();
    let victim = world.deploy(&App::sleeping("victim", "1.0.0", "one", 2));
    let bystander = world.deploy(&App::sleeping("bystander", "1.0.0", "one", 1));
    world.reported(&victim, State::Installed).await;
    world.reported(&bystander, State::Installed).await;
    let before = world.running(&victim, &["victim/s1", "victim/s2"]).await;

    world.engine.cli(&["stop", "--time", "0", &before[0].id]).await;
    let report = world.failed(&victim, "MISMATCH").await;
    let error = report.error.expect("an error");
    assert!(error.message.contains("s1"), "{error:?}");
    assert_eq!(error.source, "victim");
    // Two further looks, and still nothing was done about it.
    let mark = world.agent.log_mark();
    world.status("two further polls", |_| polls(&world, mark) >= 2).await;
    let after = world.engine.containers(victim.as_str()).await;
    assert!(!after[0].runs && after[0].id == before[0].id, "{after:?}");
    assert_eq!(after[1], before[1]);

    world.engine.cli(&["start", &before[0].id]).await;
    world.latest(&victim, State::Installed).await;
    assert_eq!(world.running(&victim, &["victim/s1", "victim/s2"]).await, before);
    let bystanders = world.states(&bystander);
    assert!(!bystanders.contains(&State::Failed), "{bystanders:?}");
    world.end().await;
}

/// Polls since `mark`, from the agent's own output.
fn polls(world: &World, mark: margo_e2e::LogMark) -> usize {
    world.agent.log_since(mark).lines().filter(|line| line.contains("poll due")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_container_is_brought_back() {
    if !require_engine() {
        return;
    }
    let compose = "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/busybox:1\n    stop_signal: SIGKILL\n    \
                   command: [\"sh\", \"-c\", \"touch /tmp/ok; exec sleep 1000000\"]\n    healthcheck:\n      \
                   test: [\"CMD\", \"test\", \"-f\", \"/tmp/ok\"]\n      interval: 500ms\n      \
                   timeout: 10s\n      retries: 2\n";
    let mut world = World::with_extra(PATIENT).await;
    world.agent.start();
    let bystander = world.deploy(&App::sleeping("bystander", "1.0.0", "one", 1));
    let checked = world.deploy(&App::with_compose("checked", "1.0.0", compose));
    world.reported(&bystander, State::Installed).await;
    world.reported(&checked, State::Installed).await;
    let untouched = world.running(&bystander, &["bystander/s1"]).await;
    let before = world.running(&checked, &["checked/s1"]).await.remove(0);
    let health = async |id: &str| {
        world.engine.inspect(id, "{{.State.Health.Status}} {{.State.StartedAt}}").await
    };
    let healthy_before = health(&before.id).await;
    assert!(healthy_before.starts_with("healthy "), "installed means healthy: {healthy_before}");

    world.engine.cli(&["exec", &before.id, "rm", "/tmp/ok"]).await;
    wait_for("another, healthy start", || async {
        let found = world.engine.containers(checked.as_str()).await;
        let [one] = found.as_slice() else { return Err(format!("{found:?}")) };
        if !one.runs {
            return Err("it does not run".to_owned());
        }
        let now = health(&one.id).await;
        if now.starts_with("healthy ") && now != healthy_before { Ok(()) } else { Err(now) }
    })
    .await;
    assert!(noticed(&world, &checked).await > 0);
    assert_eq!(world.running(&bystander, &["bystander/s1"]).await, untouched);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_is_reported_after_the_budget_and_an_update_ends_it() {
    if !require_engine() {
        return;
    }
    // Long enough to count as started, then over.
    let compose = |life: &str| {
        format!(
            "services:\n  s1:\n    image: ${{LAB_REGISTRY}}/lab/busybox:1\n    stop_signal: SIGKILL\n    \
             command: [\"sh\", \"-c\", \"sleep {life}; echo giving up; exit 3\"]\n"
        )
    };
    let mut world = World::with_extra("[retry]\nmismatch_retries_max = 2\nmax_ms = 500\n").await;
    world.agent.start();
    let bystander = world.deploy(&App::sleeping("bystander", "1.0.0", "one", 1));
    world.reported(&bystander, State::Installed).await;
    let untouched = world.running(&bystander, &["bystander/s1"]).await;
    let loops = world.deploy(&App::with_compose("loops", "1.0.0", &compose("1")));
    world.reported(&loops, State::Installed).await;
    let report = world.latest(&loops, State::Failed).await;
    let error = report.error.expect("an error");
    assert!(["MISMATCH", "START_FAILED"].contains(&&*error.code), "{error:?}");
    assert!(error.message.contains("s1") && error.message.contains('3'), "{error:?}");
    let known = world.deployment(&loops, "it to be known here", |one| one.state == "failed").await;
    assert!(known.attempts > 2, "{known:?}");

    world.update(&loops, &App::with_compose("loops", "1.1.0", &compose("1000000")));
    world.reported(&loops, State::Installed).await;
    world.running(&loops, &["loops/s1"]).await;
    assert_eq!(world.running(&bystander, &["bystander/s1"]).await, untouched);
    world.end().await;
}
