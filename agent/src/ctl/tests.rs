//! Tests of what `margoctl` prints, without an agent. With one: `tests/ctl_cli.rs`.

use super::terminal::{Tone, clean, columns, duration};
use super::*;
use crate::compose::model::{HostPolicy, Project, Service};
use crate::local_api::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// Exit, output, error output.
fn margoctl(line: &[&str], checker: Option<AppChecker>) -> (Exit, String, String) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let mut terminal = Terminal {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        style: Style::default(),
    };
    let args = std::iter::once("margoctl").chain(line.iter().copied()).map(OsString::from);
    let exit = run(args, &mut terminal, checker);
    (exit, out.text(), err.text())
}

fn failure(code: &str) -> FailureStatus {
    FailureStatus { code: code.into(), message: "why".into(), next_action: "do this".into() }
}

const NOW_MS: u64 = 1_795_231_785_000;

fn status() -> Status {
    Status {
        agent_version: "0.1.0".into(),
        stage: Stage::Registered,
        lacking: Some("no manifest was received yet".into()),
        provisioning: None,
        device_id: "press-07".into(),
        identity: IdentityStatus {
            spiffe_id: Some("spiffe://plant/device/7".into()),
            not_after_unix_ms: Some(NOW_MS + 5 * 86_400_000),
            error: None,
        },
        wfm: WfmStatus {
            url: Some("https://wfm.example.com".into()),
            last_contact_unix_ms: Some(NOW_MS - 300_000),
            last_error: Some(failure("WFM_UNREACHABLE")),
        },
        manifest_version: None,
        store: StoreStatus::Healed { detail: "state-a: it is empty".into() },
        workloads: WorkloadsSummary { desired: 3, installed: 1, changing: 1, failed: 1 },
        firmware: None,
        outbox_len: 2,
        next_wake_ms: Some(41_200),
        clock: ClockStatus { is_trusted: true, wall_unix_ms: NOW_MS },
    }
}

#[test]
fn status_reads_from_top_to_bottom() {
    let expected = "\
Agent      margo-agent 0.1.0
Stage      registered (4 of 5)
           lacking: no manifest was received yet
Device     press-07
Identity   spiffe://plant/device/7
           valid until 2026-11-26T03:29:45Z, 5 days left
WFM        https://wfm.example.com
           last answered 5 min ago
           WFM_UNREACHABLE: why
           next: do this
Manifest   none accepted yet
Workloads  3 desired: 1 installed, 1 changing, 1 failed
Reports    2 waiting to be sent
State      healed: state-a: it is empty
Clock      2026-11-21T03:29:45Z
Next       something to do in 42 s
";
    assert_eq!(show_status::status(Style::default(), &status()), expected);
}

#[test]
fn status_of_a_new_device_says_what_it_lacks() {
    let status = Status {
        stage: Stage::Unprovisioned,
        lacking: Some("wfm.url is not set".into()),
        identity: IdentityStatus {
            error: Some("svid.pem is missing".into()),
            ..Default::default()
        },
        wfm: WfmStatus::default(),
        manifest_version: Some(7),
        store: StoreStatus::Fresh,
        workloads: WorkloadsSummary::default(),
        firmware: None,
        outbox_len: 0,
        next_wake_ms: None,
        clock: ClockStatus { is_trusted: false, wall_unix_ms: 0 },
        ..status()
    };
    let expected = "\
Agent      margo-agent 0.1.0
Stage      unprovisioned (1 of 5)
           lacking: wfm.url is not set
Device     press-07
Identity   none
           svid.pem is missing
WFM        not configured (wfm.url)
Manifest   version 7
Workloads  none desired
Reports    all sent
State      new: nothing was saved before this start
Clock      1970-01-01T00:00:00Z is before a time already passed; not trusted
";
    assert_eq!(show_status::status(Style::default(), &status), expected);
}

fn deployment() -> DeploymentStatus {
    DeploymentStatus {
        id: "0b1f".into(),
        name: "press-monitor".into(),
        desired: Some(format!("sha256:{}", "b".repeat(64))),
        held: Some(format!("sha256:{}", "a".repeat(64))),
        state: "failed".into(),
        phase: "waiting to retry".into(),
        components: vec![ComponentStatus {
            name: "web".into(),
            state: "failed".into(),
            error: Some(failure("START_FAILED")),
            containers: vec![ContainerStatus {
                name: "press-web-1".into(),
                service: "web".into(),
                image: "registry/web@sha256:cc".into(),
                state: "exited".into(),
                health: None,
                exit_code: Some(1),
                restarts: 4,
            }],
        }],
        error: Some(failure("START_FAILED")),
        attempts: 3,
        next_retry_ms: Some(60_000),
    }
}

#[test]
fn deployments_line_up() {
    let mut other = deployment();
    (other.id, other.name, other.state) = ("0b1f-22aa".into(), "x".into(), "installed".into());
    (other.desired, other.error) = (other.held.clone(), None);
    let expected = "\
ID         NAME           STATE      PHASE             REVISION                      ERROR
0b1f       press-monitor  failed     waiting to retry  aaaaaaaaaaaa -> bbbbbbbbbbbb  START_FAILED
0b1f-22aa  x              installed  waiting to retry  aaaaaaaaaaaa
";
    assert_eq!(show_deployment::list(Style::default(), &[deployment(), other]), expected);
    assert_eq!(show_deployment::list(Style::default(), &[]), "no deployments\n");
}

#[test]
fn a_deployment_tells_why_and_what_next() {
    let expected = format!(
        "\
Deployment 0b1f
Name       press-monitor
State      failed (waiting to retry)
Desired    sha256:{}
Held       sha256:{}
Attempts   3, next in 60 s
Error      START_FAILED: why
           next: do this

Component  web failed
           START_FAILED: why
           next: do this
SERVICE  CONTAINER    STATE       HEALTH  RESTARTS  IMAGE
web      press-web-1  exited (1)  -       4         registry/web@sha256:cc
",
        "b".repeat(64),
        "a".repeat(64)
    );
    assert_eq!(show_deployment::details(Style::default(), &deployment()), expected);
}

#[test]
fn events_and_logs_are_one_line_each() {
    let event = Event {
        seq: 12,
        time_unix_ms: Some(NOW_MS),
        machine: "workload".into(),
        subject: "0b1f".into(),
        prev: "installing".into(),
        next: "failed".into(),
        why: "StartFailed".into(),
        detail: "exit code 1".into(),
    };
    let expected = "2026-11-21T03:29:45Z    12 workload 0b1f: installing -> failed (StartFailed): exit code 1\n";
    assert_eq!(show_lines::event(Style::default(), &event), expected);
    let line = LogLine {
        component: "web".into(),
        service: "nginx".into(),
        stream: LogStream::Stderr,
        time: String::new(),
        text: "\x1b[31mred\x1b[0m\ttab".into(),
    };
    let raw = Style { colours: false, is_terminal: false };
    assert_eq!(show_lines::log(raw, &line), "web/nginx | \x1b[31mred\x1b[0m\ttab\n");
    let terminal = Style { colours: false, is_terminal: true };
    assert_eq!(show_lines::log(terminal, &line), "web/nginx | \u{fffd}[31mred\u{fffd}[0m\ttab\n");
}

#[test]
fn colours_appear_only_where_wanted_and_have_no_width() {
    let rows = [vec![(Tone::Bad, "a".to_owned()), (Tone::Plain, "b".to_owned())]];
    let plain = columns(Style::default(), &["LONG", "X"], &rows);
    assert_eq!(plain, "LONG  X\na     b\n");
    let coloured = columns(Style { colours: true, is_terminal: true }, &["LONG", "X"], &rows);
    assert_eq!(coloured, "\x1b[2mLONG\x1b[0m  \x1b[2mX\x1b[0m\n\x1b[31ma\x1b[0m     b\n");
    assert_eq!(clean("a\x07b\nc\td"), "a\u{fffd}b\u{fffd}c\td");
}

#[test]
fn durations_are_said_as_people_do() {
    let cases = [
        (0, "0 s"),
        (1, "1 s"),
        (119_000, "119 s"),
        (120_000, "2 min"),
        (7_199_000, "119 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 days"),
    ];
    for (ms, expected) in cases {
        assert_eq!(duration(ms), expected);
    }
}

fn problem(key: &str, line: Option<u32>, message: &str) -> AppProblem {
    AppProblem { key: key.into(), line, message: message.into() }
}

/// Stands in for the compose loader: refuses what asks for privileges, unless they are permitted.
fn checker(path: &Path, parameters: &BTreeMap<String, String>, policy: &HostPolicy) -> AppReport {
    assert!(path.ends_with("app"));
    let tag = parameters.get("TAG").cloned();
    let Some(tag) = tag.filter(|_| !policy.privileged) else {
        let problems = vec![
            problem("services.web.privileged", Some(4), "the device does not permit it"),
            problem("", None, "TAG is not set"),
        ];
        return AppReport { problems, ..AppReport::default() };
    };
    let service = Service { image: format!("web:{tag}"), read_only: true, ..Service::default() };
    let project =
        Project { services: BTreeMap::from([("web".into(), service)]), ..Project::default() };
    let warnings = vec![problem("services.web.build", Some(9), "has no effect")];
    AppReport { project: Some(project), problems: Vec::new(), warnings }
}

#[test]
fn check_app_shows_what_would_run_or_everything_that_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let app = dir.path().join("app");
    std::fs::write(&app, "").unwrap();
    let app = app.to_str().unwrap();

    let (exit, out, _) = margoctl(&["check-app", app, "--param", "TAG=1=2"], Some(checker));
    assert_eq!(exit, Exit::Done);
    assert!(
        out.starts_with("warning services.web.build (line 9): has no effect\nservice web\n"),
        "{out}"
    );
    assert!(out.contains("  image: \"web:1=2\"\n") && out.contains("  read_only: true"), "{out}");
    assert!(out.ends_with("\naccepted\n") && !out.contains("command"), "{out}");

    let (exit, out, _) = margoctl(&["check-app", app], Some(checker));
    assert_eq!(exit, Exit::Refused);
    let expected = "refused services.web.privileged (line 4): the device does not permit it\n\
                    refused the file: TAG is not set\nrefused: 2 problems\n";
    assert_eq!(out, expected);

    let (exit, out, _) = margoctl(&["--json", "check-app", app], Some(checker));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert_eq!(report["problems"][0]["key"], "services.web.privileged");
    assert_eq!(report["project"], serde_json::Value::Null);
}

#[test]
fn check_app_names_what_it_cannot_use() {
    let (exit, _, err) = margoctl(&["check-app", "/nonexistent/app"], Some(checker));
    assert_eq!(exit, Exit::Failed);
    assert_eq!(
        err,
        "margoctl: cannot read /nonexistent/app: No such file or directory (os error 2)\n"
    );
    let (exit, _, err) = margoctl(&["check-app", "/app", "--param", "TAG"], Some(checker));
    assert_eq!(exit, Exit::Usage);
    assert!(
        err.contains("invalid value 'TAG' for '--param <NAME=VALUE>': it must be NAME=VALUE"),
        "{err}"
    );
}

#[test]
fn explain_knows_every_code_and_suggests_near_ones() {
    let (exit, out, _) = margoctl(&["explain", "no-space"], None);
    assert_eq!(exit, Exit::Done);
    assert!(
        out.starts_with("NO_SPACE (retryable)\n  The device's storage is full.\n  Next: "),
        "{out}"
    );
    let (_, out, _) = margoctl(&["explain", "--json"], None);
    let all: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let codes = state_machine::failure::Code::ALL.len();
    assert_eq!(all.len(), codes + crate::provision::DefectCode::ALL.len());
    let (_, out, _) = margoctl(&["explain", "key-mismatch"], None);
    assert!(out.starts_with("KEY_MISMATCH (provisioning)\n"), "{out}");
    let (exit, _, err) = margoctl(&["explain", "NO_SPACES"], None);
    assert_eq!(exit, Exit::NotFound);
    let expected = "margoctl: there is no failure code \"NO_SPACES\"; did you mean NO_SPACE?\n\
                    margoctl: `margoctl explain` lists all codes\n";
    assert_eq!(err, expected);
}

#[test]
fn the_page_of_codes_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/CODES.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, codes_markdown()).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, codes_markdown(), "run the tests with UPDATE=1 to write it anew");
}

#[test]
fn completions_and_manual_pages_come_from_the_command_line_itself() {
    for shell in ["bash", "zsh", "fish"] {
        let (exit, out, _) = margoctl(&["completion", shell], None);
        assert!(exit == Exit::Done && out.contains("check-app"), "{shell}");
    }
    let (_, main, _) = margoctl(&["man"], None);
    assert!(main.contains(".TH margoctl 1") && main.contains("Exit codes:"), "{main}");
    let (_, logs, _) = margoctl(&["man", "logs"], None);
    assert!(logs.contains(".TH margoctl-logs 1") && logs.contains("\\-\\-tail"), "{logs}");
    let (exit, _, err) = margoctl(&["man", "fly"], None);
    assert_eq!(
        (exit, err.lines().next()),
        (Exit::NotFound, Some("margoctl: margoctl has no command \"fly\""))
    );
}

#[test]
fn the_help_documents_every_exit_code() {
    let (exit, help, _) = margoctl(&["--help"], None);
    assert_eq!(exit, Exit::Done);
    let all = [
        Exit::Done,
        Exit::Refused,
        Exit::Usage,
        Exit::NoAgent,
        Exit::Denied,
        Exit::NotFound,
        Exit::Failed,
    ];
    for (index, exit) in all.into_iter().enumerate() {
        assert_eq!(usize::from(exit.code()), index);
        assert!(help.contains(&format!("\n  {index}  ")), "{index}");
    }
}

/// A reader that has seen enough.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let exit_with = |out: Box<dyn Write>, err: Buffer| {
        let mut terminal = Terminal { out, err: Box::new(err), style: Style::default() };
        run(["margoctl", "explain"].map(OsString::from), &mut terminal, None)
    };
    assert_eq!(exit_with(Box::new(Closed), Buffer::default()), Exit::Done);
    let err = Buffer::default();
    assert_eq!(exit_with(Box::new(Full), err.clone()), Exit::Failed);
    assert!(err.text().starts_with("margoctl: cannot write the output: "), "{}", err.text());
}
