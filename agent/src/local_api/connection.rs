//! One client of the control socket: reads a request, answers it, reads the next.
//!
//! Everything has a limit: the line, the time to send it, the time to take an answer.

use super::access::{Access, Peers};
use super::events::EventLog;
use super::protocol::{
    ApiError, ApiErrorKind, Envelope, REQUEST_SIZE_BYTES_MAX, Request, Response, VERSION,
};
use super::query::{FirmwareOrder, Query};
use crate::logging::{catalog, clip};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Time a client has to send its next request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time the driver has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time a client has to take a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Log lines that may wait for a client.
const LOG_LINES_WAITING_MAX: usize = 64;
/// Longest log line passed on, in bytes.
const LOG_TEXT_SIZE_BYTES_MAX: usize = 16 * 1024;

/// What every connection needs.
pub(super) struct Context {
    pub(super) peers: Peers,
    pub(super) queries: mpsc::Sender<Query>,
    pub(super) events: EventLog,
}

/// Turns a client away without waiting for it.
pub(super) fn refuse_busy(stream: &UnixStream) {
    let error = ApiError::new(ApiErrorKind::Busy, "too many clients are connected; try again");
    let line = encode(&Response::Error(error));
    // It may already have gone.
    let _ = stream.try_write(&line);
}

async fn firmware_order(
    queries: &mpsc::Sender<Query>,
    order: FirmwareOrder,
) -> Result<Response, ApiError> {
    ask(queries, |reply| Query::FirmwareOrder { order, reply }).await.map(Response::Accepted)
}

/// Serves one client until it hangs up, errs, or is silent for too long.
pub(super) async fn serve(stream: UnixStream, context: Context) {
    let access = match stream.peer_cred() {
        Ok(peer) => context.peers.access(peer.uid(), peer.gid()),
        Err(_) => Access::Denied,
    };
    let (reader, writer) = stream.into_split();
    let mut client = Client { reader: BufReader::new(reader), writer };
    // A client that went away is no trouble of ours.
    let _ = client.serve(access, &context).await;
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// What came from the client.
enum Line {
    Complete(Vec<u8>),
    TooLong,
    End,
}

impl Client {
    async fn serve(&mut self, access: Access, context: &Context) -> io::Result<()> {
        loop {
            let line = match timeout(REQUEST_TIMEOUT, self.line()).await {
                Ok(line) => line?,
                Err(_) => return Ok(()),
            };
            let line = match line {
                Line::Complete(line) => line,
                Line::End => return Ok(()),
                Line::TooLong => {
                    let message = format!("a request may have {REQUEST_SIZE_BYTES_MAX} bytes");
                    let error = ApiError::new(ApiErrorKind::BadRequest, message);
                    return self.write(&Response::Error(error)).await;
                }
            };
            let answered = match admit(&line, access) {
                Ok(request) => self.answer(request, context).await?,
                Err(error) => Err(error),
            };
            let last = match answered {
                Ok(()) => Response::End,
                Err(error) => Response::Error(error),
            };
            self.write(&last).await?;
        }
    }

    /// Reads one line. Not cancel-safe: after a timeout the connection is closed.
    async fn line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        let limit = u64::try_from(REQUEST_SIZE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line).await?;
        Ok(match line.last() {
            None => Line::End,
            Some(b'\n') => Line::Complete(line),
            Some(_) if read >= REQUEST_SIZE_BYTES_MAX => Line::TooLong,
            Some(_) => Line::End,
        })
    }

    async fn write(&mut self, response: &Response) -> io::Result<()> {
        let line = encode(response);
        timeout(WRITE_TIMEOUT, self.writer.write_all(&line)).await?
    }

    /// Answers a request. The outer error ends the connection, the inner one is told to the client.
    async fn answer(
        &mut self,
        request: Request,
        context: &Context,
    ) -> io::Result<Result<(), ApiError>> {
        let queries = &context.queries;
        let response = match request {
            Request::Events { since, follow } => {
                return self.events(&context.events, since, follow).await;
            }
            Request::Logs(request) => {
                let follow = request.follow;
                let (lines, output) = mpsc::channel(LOG_LINES_WAITING_MAX);
                let query = |reply| Query::Logs { request, lines, reply };
                return match ask(queries, query).await {
                    Ok(()) => self.logs(output, follow).await,
                    Err(error) => Ok(Err(error)),
                };
            }
            Request::Status => ask(queries, |reply| Query::Status { reply })
                .await
                .map(|status| Response::Status(Box::new(status))),
            Request::Deployments => {
                ask(queries, |reply| Query::Deployments { reply }).await.map(Response::Deployments)
            }
            Request::Deployment { deployment } => {
                ask(queries, |reply| Query::Deployment { deployment, reply })
                    .await
                    .map(|deployment| Response::Deployment(Box::new(deployment)))
            }
            Request::SyncNow => {
                ask(queries, |reply| Query::SyncNow { reply }).await.map(Response::Accepted)
            }
            Request::Retry { deployment } => {
                ask(queries, |reply| Query::Retry { deployment, reply })
                    .await
                    .map(Response::Accepted)
            }
            Request::Firmware => ask(queries, |reply| Query::Firmware { reply })
                .await
                .map(|firmware| Response::Firmware(Box::new(firmware))),
            Request::FirmwareInstall { location } => {
                firmware_order(queries, FirmwareOrder::Install { location }).await
            }
            Request::FirmwareRollback => firmware_order(queries, FirmwareOrder::Rollback).await,
            Request::FirmwareMark { good } => {
                firmware_order(queries, FirmwareOrder::Mark { good }).await
            }
        };
        match response {
            Ok(response) => self.write(&response).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn events(
        &mut self,
        log: &EventLog,
        since: Option<u64>,
        follow: bool,
    ) -> io::Result<Result<(), ApiError>> {
        let (past, mut live) = log.follow(since);
        for event in past {
            self.write(&Response::Event(event)).await?;
        }
        if !follow {
            return Ok(Ok(()));
        }
        loop {
            tokio::select! {
                // Cancel-safe: an event that is not taken stays in the channel.
                event = live.recv() => match event {
                    Ok(event) => self.write(&Response::Event(event)).await?,
                    Err(RecvError::Lagged(lost)) => self.write(&Response::EventsLost(lost)).await?,
                    Err(RecvError::Closed) => return Ok(Ok(())),
                },
                // Cancel-safe: nothing is taken out of the buffer. A follower has nothing to say: whatever
                // comes from it ends the stream, and usually it is its own end.
                read = self.reader.fill_buf() => return match read?.len() {
                    0 => Err(io::ErrorKind::ConnectionAborted.into()),
                    _ => Ok(Ok(())),
                },
            }
        }
    }

    async fn logs(
        &mut self,
        mut output: mpsc::Receiver<Result<super::status::LogLine, ApiError>>,
        follow: bool,
    ) -> io::Result<Result<(), ApiError>> {
        let mut is_watched = true;
        loop {
            tokio::select! {
                // Cancel-safe: a line that is not taken stays in the channel.
                line = output.recv() => match line {
                    Some(Ok(mut line)) => {
                        line.text = clip(&line.text, LOG_TEXT_SIZE_BYTES_MAX).into_owned();
                        self.write(&Response::Log(line)).await?;
                    }
                    Some(Err(error)) => return Ok(Err(error)),
                    None => return Ok(Ok(())),
                },
                // Cancel-safe: nothing is taken out of the buffer.
                read = self.reader.fill_buf(), if is_watched => match read?.len() {
                    0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                    _ if follow => return Ok(Ok(())),
                    // The next request has come early; it waits for the end of this answer.
                    _ => is_watched = false,
                },
            }
        }
    }
}

/// Reads a request and checks that this client may make it.
fn admit(line: &[u8], access: Access) -> Result<Request, ApiError> {
    if access == Access::Denied {
        let message = "this user may not use the agent's control socket";
        return Err(ApiError::new(ApiErrorKind::Denied, message));
    }
    let bad = |error: serde_json::Error| {
        let message = format!("the request cannot be understood: {error}");
        ApiError::new(ApiErrorKind::BadRequest, message)
    };
    let value: serde_json::Value = serde_json::from_slice(line).map_err(bad)?;
    // The version first: a newer request may well look strange.
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(VERSION)) {
        let asked = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        let message = format!("the agent speaks version {VERSION} and the request says {asked}");
        return Err(ApiError::new(ApiErrorKind::Version, message));
    }
    let Envelope { request, .. } = serde_json::from_value(value).map_err(bad)?;
    if request.is_mutating() {
        if access != Access::Mutate {
            let message = "only root and members of the agent's group may ask that";
            crate::log_message!(catalog::LOCAL_REQUEST_REFUSED, ?request, "{message}");
            return Err(ApiError::new(ApiErrorKind::Denied, message));
        }
        crate::log_message!(
            catalog::OPERATOR_REQUEST,
            ?request,
            "asked through the control socket"
        );
    }
    Ok(request)
}

/// Puts a question to the driver and waits for its answer.
async fn ask<T>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Query,
) -> Result<T, ApiError> {
    let stopping = || ApiError::new(ApiErrorKind::Unavailable, "the agent is stopping");
    let (reply, answer) = oneshot::channel();
    let asked = async {
        queries.send(query(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    };
    timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| {
        let message = format!("the agent did not answer within {} s", ANSWER_TIMEOUT.as_secs());
        Err(ApiError::new(ApiErrorKind::Busy, message))
    })
}

fn encode(response: &Response) -> Vec<u8> {
    // Our own types hold nothing that JSON cannot; an empty line is ignored by the client.
    let mut line = serde_json::to_vec(response).unwrap_or_default();
    line.push(b'\n');
    line
}
