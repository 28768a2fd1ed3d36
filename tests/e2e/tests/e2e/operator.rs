//! `margoctl` as people and scripts use it against the running agent: output with and without `--json`, exit codes,
//! following, refusal; and `check-app`, which needs no agent.

use margo_e2e::{App, Told, World, require_engine};
use margo_lab::{DeploymentId, State};
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};

/// A world with one application that says something, and one that fails.
async fn talking() -> (World, DeploymentId, DeploymentId) {
    let compose = "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/busybox:1\n    stop_signal: SIGKILL\n    \
                   command: [\"sh\", \"-c\", \"echo hello; echo oops >&2; sleep 1; echo later; exec sleep 1000000\"]\n";
    let mut world = World::new().await;
    world.agent.start();
    let talks = world.deploy(&App::with_compose("talks", "1.0.0", compose));
    let fails = world.deploy(&App::failing("fails", "1.0.0"));
    world.reported(&talks, State::Installed).await;
    world.failed(&fails, "START_FAILED").await;
    (world, talks, fails)
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_works_for_people_and_for_scripts() {
    if !require_engine() {
        return;
    }
    let (mut world, talks, fails) = talking().await;
    let text = world.ctl(&["status"]).await;
    assert_eq!((text.exit, &*text.err), (0, ""), "{text:?}");
    for part in ["synced", "lab-device", "/client/lab-client", "2 desired"] {
        assert!(text.out.contains(part), "{part}: {text:?}");
    }
    let status = world.ctl(&["status", "--json"]).await.json();
    assert_eq!(status["stage"], "synced");
    assert_eq!(status["workloads"]["failed"], 1);
    assert_eq!(status["manifest_version"], world.lab.version());

    let text = world.ctl(&["deployments"]).await;
    assert!(
        text.exit == 0 && text.out.contains("talks") && text.out.contains("START_FAILED"),
        "{text:?}"
    );
    let all = world.ctl(&["--json", "deployments"]).await.json();
    assert_eq!(all.as_array().expect("a list").len(), 2);

    // By name, by id, by the beginning of an id.
    for word in ["fails", fails.as_str(), &fails.as_str()[..8]] {
        let one = world.ctl(&["deployment", word, "--json"]).await.json();
        assert_eq!(one["id"], fails.as_str());
        assert_eq!(one["error"]["code"], "START_FAILED");
        assert_eq!(one["components"][0]["state"], "failed");
    }
    let text = world.ctl(&["deployment", "talks"]).await;
    for part in [talks.as_str(), "installed", "s1", "running", "lab/busybox:1"] {
        assert!(text.out.contains(part), "{part}: {text:?}");
    }

    let events = world.ctl(&["events", "--json"]).await.json_lines();
    let whys: Vec<&str> = events.iter().filter_map(|event| event["why"].as_str()).collect();
    for why in ["identity loaded", "accepted", "component applied", "failed"] {
        assert!(whys.contains(&why), "{why}: {whys:?}");
    }
    let last = events.last().expect("an event")["seq"].to_string();
    let later = world.ctl(&["events", "--since", &last, "--json"]).await;
    assert_eq!(later.exit, 0);
    assert!(
        later.json_lines().iter().all(|event| event["seq"].as_u64() > last.parse().ok()),
        "{later:?}"
    );
    let text = world.ctl(&["events"]).await;
    assert!(text.out.lines().count() >= events.len(), "{text:?}");

    let text = world.ctl(&["logs", "talks", "--tail", "10"]).await;
    assert!(text.out.contains("talks/s1") && text.out.contains("hello"), "{text:?}");
    let lines = world.ctl(&["logs", "talks", "--json"]).await.json_lines();
    let line = |text: &str| lines.iter().find(|line| line["text"] == text).expect("the line");
    assert_eq!(
        (line("hello")["stream"].as_str(), line("oops")["stream"].as_str()),
        (Some("stdout"), Some("stderr"))
    );

    let text = world.ctl(&["explain", "START_FAILED"]).await;
    assert!(text.exit == 0 && text.out.contains("margoctl logs"), "{text:?}");
    let all = world.ctl(&["explain", "--json"]).await.json();
    assert!(all.as_array().expect("a list").len() > 20);

    for (args, exit) in [
        (vec!["deployment", "nowhere"], 5),
        (vec!["logs", "nowhere"], 5),
        (vec!["logs", "talks", "--service", "nowhere"], 5),
        (vec!["retry", "nowhere"], 5),
        (vec!["explain", "NO_SUCH_CODE"], 5),
        (vec!["frobnicate"], 2),
        (vec!["--socket", "/nonexistent/socket", "frobnicate"], 2),
    ] {
        let told = world.ctl(&args).await;
        assert!(
            told.exit == exit && !told.err.is_empty() && told.out.is_empty(),
            "{args:?}: {told:?}"
        );
    }
    world.agent.kill().await;
    let told = world.ctl(&["status"]).await;
    assert!(told.exit == 3 && told.err.contains("systemctl status margo-agent"), "{told:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_carried_out() {
    if !require_engine() {
        return;
    }
    let (world, _, fails) = talking().await;
    // The failed one would be looked at rarely; an order is an attempt at once.
    let before = world.deployment(&fails, "a failed attempt", |one| one.attempts > 0).await;
    let told = world.ctl(&["retry", "fails"]).await;
    assert!(told.exit == 0 && told.out.contains("fails"), "{told:?}");
    world.deployment(&fails, "another attempt", |one| one.attempts > before.attempts).await;

    let polls = world.lab.requests().len();
    let told = world.ctl(&["sync", "--json"]).await;
    assert!(told.exit == 0 && told.json()["message"].is_string(), "{told:?}");
    let more = |lab: &margo_lab::Lab| (lab.requests().len() > polls).then_some(());
    world.lab.wait_for("a poll", margo_e2e::PATIENCE, more).await.expect("a poll");
    let events = world.ctl(&["events", "--json"]).await.json_lines();
    assert!(events.iter().filter(|event| event["why"] == "requested").count() >= 2, "{events:#?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_events_are_followed() {
    if !require_engine() {
        return;
    }
    let (world, talks, _) = talking().await;
    let mut logs = world.ctl_follow(&["logs", "-f", "talks"]);
    let mut lines = BufReader::new(logs.stdout.take().expect("piped")).lines();
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.contains("later")) {
        let line = tokio::time::timeout(margo_e2e::PATIENCE, lines.next_line()).await;
        seen.push(line.expect("in time").expect("readable").expect("another line"));
    }
    assert!(seen.iter().any(|line| line == "talks/s1 | hello"), "{seen:?}");
    let mut events = world.ctl_follow(&["events", "-f", "--json"]);
    let mut lines = BufReader::new(events.stdout.take().expect("piped")).lines();
    world.lab.remove(&talks).expect("remove");
    loop {
        let line = tokio::time::timeout(margo_e2e::PATIENCE, lines.next_line()).await;
        let line = line.expect("in time").expect("readable").expect("another line");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if event["why"] == "removed" && event["subject"] == talks.as_str() {
            break;
        }
    }
    // Its containers are gone, so there is nothing left to follow.
    let ended = tokio::time::timeout(margo_e2e::PATIENCE, logs.wait()).await;
    ended.expect("logs -f ends with the container").expect("wait");
    events.kill().await.expect("kill");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let mut world = World::new().await;
    world.agent.start();
    world.synced().await;
    let socket = world.agent.socket();
    let asked = tokio::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(world.program("margoctl"))
        .arg("--socket")
        .arg(&socket)
        .arg("status")
        .output()
        .await;
    // As another user, who must be able to reach both files for this to mean anything.
    let reachable = [socket, world.program("margoctl")].map(is_reachable);
    match asked {
        Ok(output) if reachable.iter().all(|reachable| *reachable) => {
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{err}");
            assert!(err.contains("group"), "{err}");
        }
        Ok(_) => {
            println!("skipped: another user cannot reach the socket's directory or the program")
        }
        Err(error) => println!("skipped: cannot become another user: {error}"),
    }
    world.end().await;
}

/// Makes our own temporary directories passable; says whether everybody may pass all the way.
fn is_reachable(path: PathBuf) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors().skip(1).all(|dir| {
        let meta = std::fs::metadata(dir);
        meta.is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    })
}

/// Checks an application given as a directory, as a file, and as an archive.
async fn check_all_ways(world: &World, compose: &str) -> [Told; 3] {
    let dir = world.root().join("application");
    std::fs::create_dir_all(&dir).expect("directory");
    let file = dir.join("compose.yaml");
    std::fs::write(&file, compose).expect("compose file");
    let archive = world.root().join("application.tar.gz");
    let entries = margo_lab::archive::read_dir(&dir, "app".as_ref()).expect("read");
    std::fs::write(&archive, margo_lab::archive::tar_gz(&entries).expect("pack")).expect("archive");
    let check = async |path: &PathBuf| world.ctl(&["check-app", &path.display().to_string()]).await;
    [check(&dir).await, check(&file).await, check(&archive).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn check_app_says_before_what_the_agent_would_say_after() {
    let world = World::new().await;
    let image = "services:\n  web:\n    image: registry.example/web:1\n";
    for told in check_all_ways(&world, image).await {
        assert!(
            told.exit == 0 && told.out.contains("accepted") && told.out.contains("web"),
            "{told:?}"
        );
    }
    // Key paths as the agent has them in its reports, all of them at once.
    let bad = format!(
        "{image}    userns_mode: host\n    privileged: true\n    network_mode: host\n    pid: host\n    \
         volumes:\n      - /etc:/host:ro\n    devices:\n      - /dev/mem:/dev/mem\n    \
         cap_add: [SYS_ADMIN]\n    build: .\n    frobnicate: 1\n"
    );
    let keys = [
        "services.web.userns_mode",
        "services.web.privileged",
        "services.web.network_mode",
        "services.web.pid",
        "services.web.volumes[0]",
        "services.web.devices[0]",
        "services.web.cap_add[0]",
        "services.web.build",
        "services.web.frobnicate",
    ];
    for told in check_all_ways(&world, &bad).await {
        assert_eq!(told.exit, 1, "{told:?}");
        for key in keys {
            let named =
                told.out.lines().filter(|line| line.starts_with("refused ") && line.contains(key));
            assert_eq!(named.count(), 1, "{key}: {}", told.out);
        }
        assert!(told.out.contains(&format!("refused: {} problems", keys.len())), "{}", told.out);
    }
    let file = world.root().join("application/compose.yaml").display().to_string();
    let json = world.ctl(&["--json", "check-app", &file]).await;
    assert_eq!(json.exit, 1);
    let json = json.json();
    let problems = json["problems"].as_array().expect("problems");
    assert!(
        problems.iter().any(|p| p["key"] == "services.web.build" && p["line"].is_u64()),
        "{json:#}"
    );

    // What the configuration permits is permitted.
    world.agent.write_fragment("60-extra.toml", "[engine.host_policy]\nprivileged = true\n");
    std::fs::write(&file, format!("{image}    privileged: true\n")).expect("write");
    assert_eq!(world.ctl(&["check-app", &file]).await.exit, 1);
    assert_eq!(world.ctl(&["check-app", &file, "--policy-from-config"]).await.exit, 0);

    // Parameters, as the deployment would set them.
    std::fs::write(&file, image.replace(":1", ":${TAG:?say which}")).expect("write");
    let told = world.ctl(&["check-app", &file]).await;
    assert!(told.exit == 1 && told.out.contains("say which"), "{told:?}");
    let told = world.ctl(&["check-app", &file, "--param", "TAG=7", "--json"]).await;
    assert_eq!(
        (told.exit, &told.json()["project"]["services"]["web"]["image"]),
        (0, &"registry.example/web:7".into())
    );

    // Archives that are none, and paths that are not there.
    let archive = world.root().join("bad.tar.gz");
    std::fs::write(&archive, "nonsense").expect("write");
    let told = world.ctl(&["check-app", &archive.display().to_string()]).await;
    assert!(
        told.exit == 1 && told.out.contains("bad.tar.gz") && told.out.contains("archive"),
        "{told:?}"
    );
    let told = world.ctl(&["check-app", "/nonexistent/app"]).await;
    assert!(told.exit == 6 && told.err.contains("/nonexistent/app"), "{told:?}");
    world.end().await;
}
