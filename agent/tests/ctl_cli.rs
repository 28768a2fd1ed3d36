//! The real `margoctl` against the real control socket, with a driver that answers from memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use margo_agent::local_api::{
    Accepted, ApiError, ApiErrorKind, DeploymentStatus, EventLog, FailureStatus, FirmwareAttempt,
    FirmwareProgress, FirmwareStatus, FirmwareUpdate, LocalApi, LogLine, LogStream, NewEvent,
    Query,
};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

struct Agent {
    dir: TempDir,
    events: EventLog,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Serves in a thread of its own until it is dropped.
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let events = EventLog::new();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, log) = (dir.path().to_path_buf(), events.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let api = LocalApi::bind(&path, &own_group(&path)).unwrap();
                let (sender, queries) = mpsc::channel(4);
                ready.send(()).unwrap();
                tokio::select! {
                    () = api.serve(sender, log) => {}
                    () = drive(queries) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { dir, events, stop: Some(stop), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.socket(), args)
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        outcome(&self.command(args).output().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn command(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margoctl"));
    command.args(args).env("MARGO_SOCKET", socket).stdin(Stdio::null());
    command
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The group this test runs under: its members may do everything, whoever runs the test.
fn own_group(dir: &Path) -> String {
    let gid = std::fs::metadata(dir).unwrap().gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid)).unwrap();
    line.split(':').next().unwrap().to_owned()
}

/// An installation that gets on with every look, and fails in the end.
fn firmware(looks: u32) -> FirmwareStatus {
    let failure = FailureStatus {
        code: "FIRMWARE_INSTALL_FAILED".into(),
        message: "installing: the slot burns".into(),
        next_action: "buy a new one".into(),
    };
    let attempt =
        FirmwareAttempt { transaction: "t1".into(), version: Some("2.0".into()), failure };
    let update = FirmwareUpdate {
        transaction: "t1".into(),
        phase: "installing".into(),
        version: Some("2.0".into()),
        target: Some("rootfs.1".into()),
        progress: Some(FirmwareProgress { percent: 40, message: "copying".into() }),
        ..FirmwareUpdate::default()
    };
    FirmwareStatus {
        is_managed: true,
        state: "idle".into(),
        slot: Some("rootfs.0".into()),
        is_committed: true,
        version: Some("1.0".into()),
        update: (looks == 2).then_some(update),
        history: if looks > 2 { vec![attempt] } else { Vec::new() },
        ..FirmwareStatus::default()
    }
}

async fn drive(mut queries: mpsc::Receiver<Query>) {
    let deployment = DeploymentStatus {
        id: "0b1f0c2d".into(),
        name: "press".into(),
        desired: None,
        held: None,
        state: "installed".into(),
        phase: "running".into(),
        components: Vec::new(),
        error: None,
        attempts: 1,
        next_retry_ms: None,
    };
    let mut looks = 0;
    while let Some(query) = queries.recv().await {
        match query {
            Query::Status { .. } => {}
            Query::Deployments { reply } => drop(reply.send(Ok(vec![deployment.clone()]))),
            Query::Deployment { deployment: text, reply } => {
                let all = [deployment.clone()];
                drop(reply.send(margo_agent::local_api::select_deployment(&all, &text).cloned()));
            }
            Query::Logs { request, lines, reply } => {
                drop(reply.send(Ok(())));
                let line = LogLine {
                    component: request.component.unwrap_or_default(),
                    service: request.service.unwrap_or_default(),
                    stream: LogStream::Stdout,
                    time: String::new(),
                    text: format!("tail {:?}", request.tail),
                };
                drop(lines.send(Ok(line)).await);
                let gone = ApiError::new(ApiErrorKind::Unavailable, "the engine went away");
                drop(lines.send(Err(gone)).await);
            }
            Query::SyncNow { reply } => {
                drop(reply.send(Ok(Accepted { message: "polling".into() })));
            }
            Query::Retry { reply, .. } => {
                let message = "press is being retried already";
                drop(reply.send(Err(ApiError::new(ApiErrorKind::Refused, message))));
            }
            Query::Firmware { reply } => {
                looks += 1;
                drop(reply.send(Ok(firmware(looks))));
            }
            Query::FirmwareOrder { order, reply } => {
                drop(reply.send(Ok(Accepted { message: format!("{order:?}") })));
            }
        }
    }
}

#[test]
fn answers_are_printed_as_text_and_as_json() {
    let agent = Agent::start();
    let (code, out, _) = agent.run(&["deployments"]);
    assert_eq!(code, 0);
    assert!(
        out.lines().nth(1).unwrap().starts_with("0b1f0c2d  press  installed  running"),
        "{out}"
    );
    let (_, out, _) = agent.run(&["deployment", "press", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["id"], "0b1f0c2d");
    assert_eq!(agent.run(&["sync"]), (0, "polling\n".into(), String::new()));
}

#[test]
fn errors_have_their_exit_codes_and_next_steps() {
    let agent = Agent::start();
    let missing = "margoctl: margo-agent answered: there is no deployment \"pump\"\n\
                   margoctl: `margoctl deployments` lists what there is\n";
    assert_eq!(agent.run(&["deployment", "pump"]), (5, String::new(), missing.into()));
    let refused = "margoctl: margo-agent answered: press is being retried already\n";
    assert_eq!(agent.run(&["retry", "press"]), (6, String::new(), refused.into()));
    let (code, _, err) = agent.run(&["status"]);
    assert_eq!(
        (code, err.as_str()),
        (6, "margoctl: margo-agent answered: the agent is stopping\n")
    );
}

#[test]
fn firmware_is_shown_and_steered() {
    let agent = Agent::start();
    let (code, out, _) = agent.run(&["firmware", "status"]);
    assert_eq!((code, out.as_str()), (0, "Firmware   1.0 in rootfs.0, committed\n"));
    let (code, out, _) = agent.run(&["firmware", "mark", "bad"]);
    assert_eq!((code, out.as_str()), (0, "Mark { good: false }\n"));
    assert_eq!(agent.run(&["firmware", "rollback"]).1, "Rollback\n");
    assert_eq!(agent.run(&["firmware", "mark", "maybe"]).0, 2);
}

#[test]
fn waiting_for_an_installation_shows_how_far_it_is_and_ends_with_its_failure() {
    let agent = Agent::start();
    let args = ["firmware", "install", "/data/fw.raucb", "--wait"];
    let (code, out, err) = agent.run(&args);
    assert_eq!(
        out,
        "Install { location: \"/data/fw.raucb\" }\n\
         2.0 to rootfs.1: installing, 40 % (copying)\n"
    );
    assert_eq!(
        (code, err.as_str()),
        (
            6,
            "margoctl: FIRMWARE_INSTALL_FAILED: installing: the slot burns\n\
             margoctl: buy a new one\n"
        )
    );
}

#[test]
fn without_an_agent_the_next_step_is_named() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("control.sock");
    let (code, out, err) = outcome(&command(&socket, &["status"]).output().unwrap());
    let expected = format!(
        "margoctl: cannot reach margo-agent on {}: No such file or directory (os error 2)\n\
         margoctl: is it running? `systemctl status margo-agent` and `journalctl -u margo-agent` tell\n",
        socket.display()
    );
    assert_eq!((code, out, err), (3, String::new(), expected));
}

#[test]
fn the_socket_is_found_through_the_configuration() {
    let agent = Agent::start();
    let config = agent.dir.path().join("etc/margo-agent/config.d");
    std::fs::create_dir_all(&config).unwrap();
    let text = format!("[paths]\nruntime_dir = {:?}\n", agent.dir.path());
    std::fs::write(config.join("50.toml"), text).unwrap();
    let mut command = agent.command(&["sync"]);
    command.env_remove("MARGO_SOCKET").env("MARGO_ROOT", agent.dir.path());
    assert_eq!(outcome(&command.output().unwrap()).0, 0);
}

#[test]
fn logs_pass_on_the_choice_and_end_with_the_reason() {
    let agent = Agent::start();
    let args = ["logs", "press", "web", "--service", "nginx", "--tail", "5"];
    let (code, out, err) = agent.run(&args);
    assert_eq!((code, out.as_str()), (6, "web/nginx | tail Some(5)\n"));
    assert_eq!(err, "margoctl: margo-agent answered: the engine went away\n");
}

#[test]
fn events_are_followed_line_by_line() {
    let agent = Agent::start();
    let event =
        |why: &str| NewEvent { machine: "sync".into(), why: why.into(), ..NewEvent::default() };
    agent.events.push(event("Started"));
    let mut child =
        agent.command(&["events", "-f", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["why"], "Started");
    agent.events.push(event("Polled"));
    let second = next();
    assert_eq!((&second["seq"], &second["why"]), (&2.into(), &"Polled".into()));
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, out, _) = agent.run(&["events", "--since", "1"]);
    assert_eq!((code, out.lines().count()), (0, 1));
}
