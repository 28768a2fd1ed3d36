//! Tests of the control socket over a real socket, with a driver that answers from memory.

use super::access::Peers;
use super::protocol::{ApiErrorKind, LogsRequest, Request, Response};
use super::server::CONNECTIONS_MAX;
use super::*;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::sync::mpsc;

fn status() -> Status {
    Status {
        agent_version: "0.1.0".into(),
        stage: Stage::Trusted,
        lacking: Some("the fleet manager has not accepted the capabilities".into()),
        provisioning: None,
        device_id: "d".into(),
        identity: IdentityStatus::default(),
        wfm: WfmStatus::default(),
        manifest_version: Some(7),
        store: StoreStatus::Intact,
        workloads: WorkloadsSummary::default(),
        firmware: None,
        outbox_len: 0,
        next_wake_ms: None,
        clock: ClockStatus { is_trusted: true, wall_unix_ms: 1 },
    }
}

fn deployment(id: &str, name: &str) -> DeploymentStatus {
    DeploymentStatus {
        id: id.into(),
        name: name.into(),
        desired: None,
        held: None,
        state: "installed".into(),
        phase: "running".into(),
        components: Vec::new(),
        error: None,
        attempts: 1,
        next_retry_ms: None,
    }
}

/// Answers like the driver. Logs of `endless` go on until the client hangs up, which is then told to `ended`.
async fn drive(mut queries: mpsc::Receiver<Query>, ended: mpsc::UnboundedSender<()>) {
    let all = [deployment("aaaa-1", "one"), deployment("bbbb-2", "two")];
    while let Some(query) = queries.recv().await {
        match query {
            Query::Status { reply } => drop(reply.send(Ok(status()))),
            Query::Deployments { reply } => drop(reply.send(Ok(all.to_vec()))),
            Query::Deployment { deployment, reply } => {
                drop(reply.send(select_deployment(&all, &deployment).cloned()));
            }
            Query::Logs { request, lines, reply } => {
                reply.send(Ok(())).unwrap();
                let ended = ended.clone();
                tokio::spawn(async move {
                    let is_endless = request.deployment == "endless";
                    for n in 0.. {
                        if !is_endless && n == 3 {
                            return;
                        }
                        if lines.send(Ok(log_line(n))).await.is_err() {
                            ended.send(()).unwrap();
                            return;
                        }
                    }
                });
            }
            // Never answered: the reply is dropped, as when the agent stops.
            Query::SyncNow { .. } => {}
            Query::Retry { deployment, reply } => {
                drop(reply.send(Ok(Accepted { message: format!("retrying {deployment}") })));
            }
            Query::Firmware { reply } => drop(reply.send(Ok(FirmwareStatus::default()))),
            Query::FirmwareOrder { order, reply } => {
                drop(reply.send(Ok(Accepted { message: format!("{order:?}") })));
            }
        }
    }
}

fn log_line(n: usize) -> LogLine {
    LogLine {
        component: "c".into(),
        service: "s".into(),
        stream: LogStream::Stdout,
        time: String::new(),
        text: if n == 2 { "x".repeat(20_000) } else { format!("line {n}") },
    }
}

struct Lab {
    path: PathBuf,
    events: EventLog,
    log_ended: mpsc::UnboundedReceiver<()>,
    dir: TempDir,
}

fn everybody(dir: &TempDir) -> Peers {
    let _ = dir;
    let mut peers = Peers::new("no-such-group-here");
    peers.root_uid = peers.own_uid;
    peers
}

fn start_for(peers: impl FnOnce(&TempDir) -> Peers) -> Lab {
    let dir = TempDir::new().unwrap();
    let api = LocalApi::bind_for(dir.path(), peers(&dir)).unwrap();
    let path = api.path().to_path_buf();
    let events = EventLog::new();
    let (sender, queries) = mpsc::channel(4);
    let (ended, log_ended) = mpsc::unbounded_channel();
    tokio::spawn(drive(queries, ended));
    tokio::spawn(api.serve(sender, events.clone()));
    Lab { path, events, log_ended, dir }
}

fn start() -> Lab {
    start_for(everybody)
}

impl Lab {
    /// Runs the blocking client beside the server.
    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Client) -> T + Send + 'static,
    ) -> T {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || what(&mut Client::connect(&path).unwrap()))
            .await
            .unwrap()
    }

    /// Sends bytes as they are and gives the first line that comes back.
    async fn raw(&self, bytes: Vec<u8>) -> String {
        let path = self.path.clone();
        let answer = move || {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(&bytes).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line
        };
        tokio::task::spawn_blocking(answer).await.unwrap()
    }
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (ApiErrorKind, String) {
    match result.unwrap_err() {
        ClientError::Refused(error) => (error.kind, error.message),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn one_connection_answers_many_questions() {
    let lab = start();
    let (first, second, third) = lab
        .ask(|client| {
            let first = client.call(Request::Status).unwrap();
            let second = client.call(Request::Deployment { deployment: "two".into() }).unwrap();
            (first, second, client.call(Request::Retry { deployment: "one".into() }).unwrap())
        })
        .await;
    assert_eq!(first, Response::Status(Box::new(status())));
    assert_eq!(second, Response::Deployment(Box::new(deployment("bbbb-2", "two"))));
    assert_eq!(third, Response::Accepted(Accepted { message: "retrying one".into() }));
}

#[tokio::test]
async fn an_error_does_not_end_the_connection() {
    let lab = start();
    let (error, after) = lab
        .ask(|client| {
            let error = client.call(Request::Deployment { deployment: "three".into() });
            (error, client.call(Request::Deployments))
        })
        .await;
    let expected = (ApiErrorKind::NotFound, "there is no deployment \"three\"".to_owned());
    assert_eq!(kind_of(error), expected);
    assert!(matches!(after.unwrap(), Response::Deployments(all) if all.len() == 2));
}

#[tokio::test]
async fn a_question_dropped_by_the_driver_is_answered() {
    let lab = start();
    let error = lab.ask(|client| client.call(Request::SyncNow)).await;
    assert_eq!(kind_of(error), (ApiErrorKind::Unavailable, "the agent is stopping".into()));
}

#[tokio::test]
async fn events_are_replayed_and_followed_without_gap() {
    let lab = start();
    let event = |why: &str| NewEvent { why: why.into(), ..NewEvent::default() };
    lab.events.push(event("first"));
    lab.events.push(event("second"));
    let path = lab.path.clone();
    let (seen_sender, mut seen) = mpsc::unbounded_channel();
    let follower = tokio::task::spawn_blocking(move || {
        let request = Request::Events { since: Some(1), follow: true };
        let mut client = Client::connect(&path).unwrap();
        client.stream(request, true, |response| {
            let Response::Event(event) = response else { panic!("{response:?}") };
            let is_last = event.why == "third";
            seen_sender.send((event.seq, event.why)).unwrap();
            !is_last
        })
    });
    assert_eq!(seen.recv().await.unwrap(), (2, "second".into()));
    lab.events.push(event("third"));
    assert_eq!(seen.recv().await.unwrap(), (3, "third".into()));
    follower.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_too_slow_for_the_events_is_told_what_it_missed() {
    let events = EventLog::new();
    let (_, mut live) = events.follow(None);
    for _ in 0..300 {
        events.push(NewEvent::default());
    }
    let error = live.recv().await.unwrap_err();
    assert_eq!(error, tokio::sync::broadcast::error::RecvError::Lagged(44));
    for _ in 0..EVENTS_KEPT_MAX {
        events.push(NewEvent { why: "x".repeat(5000), ..NewEvent::default() });
    }
    let (kept, _) = events.follow(None);
    assert_eq!((kept.len(), kept[0].seq, kept[0].why.len()), (EVENTS_KEPT_MAX, 301, 1024));
}

#[tokio::test]
async fn logs_end_and_long_lines_are_cut() {
    let lab = start();
    let lines = lab
        .ask(|client| {
            let mut lines = Vec::new();
            let request =
                Request::Logs(LogsRequest { deployment: "one".into(), ..Default::default() });
            client.stream(request, false, |response| {
                let Response::Log(line) = response else { panic!("{response:?}") };
                lines.push(line.text);
                true
            })?;
            Ok::<_, ClientError>(lines)
        })
        .await
        .unwrap();
    assert_eq!(lines[..2], ["line 0", "line 1"]);
    assert_eq!((lines.len(), lines[2].len()), (3, 16 * 1024));
}

#[tokio::test]
async fn a_follower_of_logs_that_hangs_up_stops_the_source() {
    let mut lab = start();
    let request = LogsRequest { deployment: "endless".into(), follow: true, ..Default::default() };
    lab.ask(|client| client.stream(Request::Logs(request), true, |_| false)).await.unwrap();
    lab.log_ended.recv().await.unwrap();
}

#[tokio::test]
async fn bad_requests_are_named() {
    let lab = start();
    for (bytes, expected) in [
        ("{\"version\":1,\"request\":\"stat\"}\n", "unknown variant `stat`"),
        ("{\"version\":1}\n", "missing field `request`"),
        ("{\"version\":1,\"request\":\"retry\"}\n", "missing field `deployment`"),
        ("nonsense\n", "the request cannot be understood: expected ident"),
        (
            "{\"version\":2,\"request\":\"status\"}\n",
            "the agent speaks version 1 and the request says 2",
        ),
        ("{\"request\":\"status\"}\n", "the agent speaks version 1 and the request says none"),
    ] {
        let answer = lab.raw(bytes.into()).await;
        assert!(answer.contains("\"kind\":\"error\"") && answer.contains(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_line_over_the_limit_is_refused_and_the_connection_closed() {
    let lab = start();
    let answer = lab.raw(vec![b'x'; REQUEST_SIZE_BYTES_MAX]).await;
    assert!(answer.contains("a request may have 16384 bytes"), "{answer}");
}

#[tokio::test]
async fn one_client_too_many_is_turned_away_and_a_place_becomes_free_again() {
    let lab = start();
    let path = lab.path.clone();
    tokio::task::spawn_blocking(move || {
        let ask = |stream: &mut UnixStream| {
            stream.write_all(b"{\"version\":1,\"request\":\"status\"}\n").unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
        };
        let mut clients: Vec<_> =
            (0..CONNECTIONS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        clients.iter_mut().for_each(ask);
        let error = Client::connect(&path).unwrap().call(Request::Status);
        let expected = "too many clients are connected; try again";
        assert_eq!(kind_of(error), (ApiErrorKind::Busy, expected.into()));
        drop(clients.pop());
        while Client::connect(&path).unwrap().call(Request::Status).is_err() {
            std::thread::yield_now();
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn those_who_may_look_may_not_change() {
    let reader = |_: &TempDir| {
        let mut peers = Peers::new("no-such-group-here");
        peers.root_uid = u32::MAX;
        peers
    };
    let lab = start_for(reader);
    let (looked, changed) =
        lab.ask(|client| (client.call(Request::Status), client.call(Request::SyncNow))).await;
    looked.unwrap();
    let expected = "only root and members of the agent's group may ask that";
    assert_eq!(kind_of(changed), (ApiErrorKind::Denied, expected.into()));
}

#[tokio::test]
async fn strangers_get_nothing() {
    let stranger = |_: &TempDir| {
        let mut peers = Peers::new("no-such-group-here");
        (peers.root_uid, peers.own_uid) = (u32::MAX, u32::MAX);
        peers
    };
    let lab = start_for(stranger);
    let error = lab.ask(|client| client.call(Request::Status)).await;
    let expected = "this user may not use the agent's control socket";
    assert_eq!(kind_of(error), (ApiErrorKind::Denied, expected.into()));
}

#[tokio::test]
async fn the_socket_has_the_right_mode_and_group() {
    let mode = |lab: &Lab| std::fs::metadata(&lab.path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&start()), 0o600, "without the group it is for the owner only");
    // The test's own primary group always exists, and giving to it is always permitted.
    let own_gid = rustix::process::getgid().as_raw();
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let own = groups.lines().find(|line| line.split(':').nth(2) == Some(&own_gid.to_string()));
    let name = own.unwrap().split(':').next().unwrap().to_owned();
    let lab = start_for(|_| Peers::new(&name));
    assert_eq!(mode(&lab), 0o660);
    assert_eq!(
        std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&lab.path).unwrap()),
        own_gid
    );
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let lab = start();
    let error = LocalApi::bind_for(lab.dir.path(), everybody(&lab.dir)).unwrap_err();
    assert_eq!(error.to_string(), format!("another margo-agent answers on {}", lab.path.display()));

    let dir = TempDir::new().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap());
    let api = LocalApi::bind_for(dir.path(), everybody(&dir)).unwrap();
    let path = api.path().to_path_buf();
    assert!(UnixStream::connect(&path).is_ok());
    drop(api);
    assert!(!path.exists(), "the socket goes with the agent");
}

#[test]
fn a_missing_socket_is_no_running_agent() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(SOCKET_NAME);
    let error = Client::connect(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach margo-agent on {}", path.display()));
}

#[test]
fn requests_look_like_documented() {
    let json = |request| serde_json::to_string(&Envelope { version: VERSION, request }).unwrap();
    assert_eq!(json(Request::Status), "{\"version\":1,\"request\":\"status\"}");
    let text = "{\"version\":1,\"request\":\"logs\",\"deployment\":\"x\"}";
    let read: Envelope = serde_json::from_str(text).unwrap();
    let expected = LogsRequest { deployment: "x".into(), ..LogsRequest::default() };
    assert_eq!(read.request, Request::Logs(expected));
    let end = serde_json::to_string(&Response::End).unwrap();
    assert_eq!(end, "{\"kind\":\"end\"}");
}

#[test]
fn a_deployment_is_found_by_id_name_or_beginning() {
    let all =
        [deployment("aaaa-1", "one"), deployment("aaaa-2", "one"), deployment("bbbb-1", "two")];
    let found = |text| select_deployment(&all, text).map(|d| d.id.as_str()).map_err(|e| e.message);
    assert_eq!(found("aaaa-1"), Ok("aaaa-1"));
    assert_eq!(found("two"), Ok("bbbb-1"));
    assert_eq!(found("bbbb"), Ok("bbbb-1"));
    assert_eq!(found("bbb"), Err("there is no deployment \"bbb\"".into()));
    let several = Err("\"one\" is more than one deployment: aaaa-1, aaaa-2".to_owned());
    assert_eq!(found("one"), several);
    assert!(found("aaaa").is_err());
}
