//! Downloading one blob to a file of the store, picking up where a cut connection left off.

use super::error::OciError;
use super::manifest::Layer;
use super::pull::OciLimits;
use super::transport::{Session, transport};
use crate::artifacts::{Artifacts, ArtifactsError};
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use std::io::{Seek, Write};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks on their way to the disk.
const QUEUE_MAX: usize = 16;

enum Message {
    /// Append this.
    Chunk(Bytes),
    /// The registry begins again from the first byte.
    Restart,
}

/// A thread that writes, so that a slow disk does not hold up the agent.
struct Writer {
    queue: mpsc::Sender<Message>,
    done: JoinHandle<Result<NamedTempFile, ArtifactsError>>,
}

impl Writer {
    fn start(store: Artifacts) -> Self {
        let (queue, mut messages) = mpsc::channel(QUEUE_MAX);
        let done = tokio::task::spawn_blocking(move || {
            let mut temp = store.temp_file()?;
            while let Some(message) = messages.blocking_recv() {
                let result = match message {
                    Message::Chunk(bytes) => temp.write_all(&bytes),
                    Message::Restart => temp.rewind().and_then(|()| temp.as_file().set_len(0)),
                };
                result.map_err(|source| ArtifactsError::Write {
                    path: temp.path().to_path_buf(),
                    source,
                })?;
            }
            Ok(temp)
        });
        Self { queue, done }
    }

    /// `false` if the writer has stopped; [`Self::finish`] says why.
    async fn send(&self, message: Message) -> bool {
        self.queue.send(message).await.is_ok()
    }

    async fn finish(self, what: &str) -> Result<NamedTempFile, OciError> {
        drop(self.queue);
        match self.done.await {
            Ok(result) => result.map_err(|source| OciError::store(what, source)),
            Err(error) => Err(OciError::GaveUp {
                what: what.to_owned(),
                reason: format!("writer stopped: {error}"),
            }),
        }
    }
}

/// How one attempt ended.
enum Attempt {
    /// Every byte is there.
    Complete,
    /// The connection broke; more is to come.
    Broken(OciError),
    /// The writer stopped.
    WriterStopped,
}

/// Fetches `layer` into the store, verified.
pub(super) async fn download(
    session: &mut Session,
    layer: &Layer,
    store: &Artifacts,
    limits: &OciLimits,
    what: &str,
) -> Result<(), OciError> {
    let writer = Writer::start(store.clone());
    let transferred = transfer(session, layer, &writer, limits, what).await;
    // Waited for even after a failure, so that the partial file is gone when this returns.
    let temp = writer.finish(what).await;
    transferred?;
    let temp = temp?;
    let (store, digest) = (store.clone(), layer.digest.clone());
    let stored = tokio::task::spawn_blocking(move || store.put_file(temp, &digest)).await;
    match stored {
        Ok(result) => result.map_err(|source| OciError::store(what, source)),
        Err(error) => Err(OciError::GaveUp {
            what: what.to_owned(),
            reason: format!("storing stopped: {error}"),
        }),
    }
}

/// Attempts until every byte is with the writer, or the writer has stopped.
async fn transfer(
    session: &mut Session,
    layer: &Layer,
    writer: &Writer,
    limits: &OciLimits,
    what: &str,
) -> Result<(), OciError> {
    let mut have_bytes = 0_u64;
    let mut failures = 0_u32;
    loop {
        let before = have_bytes;
        match attempt(session, layer, writer, &mut have_bytes, what).await? {
            Attempt::Complete | Attempt::WriterStopped => return Ok(()),
            Attempt::Broken(error) => {
                // A transfer that gets on may be cut as often as it likes; the whole pull has a time limit.
                let got_on = have_bytes > before;
                failures = if got_on { 0 } else { failures.saturating_add(1) };
                if failures > limits.attempts_max {
                    return Err(error);
                }
                if !got_on {
                    let pause_ms = limits.retry_pause_ms.saturating_mul(u64::from(failures));
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
            }
        }
    }
}

/// # Errors
/// Only those that another attempt cannot mend.
async fn attempt(
    session: &mut Session,
    layer: &Layer,
    writer: &Writer,
    have_bytes: &mut u64,
    what: &str,
) -> Result<Attempt, OciError> {
    if *have_bytes == layer.size_bytes && layer.size_bytes > 0 {
        return Ok(Attempt::Complete);
    }
    let mut headers = HeaderMap::new();
    if *have_bytes > 0
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={have_bytes}-"))
    {
        headers.insert(RANGE, range);
    }
    let path = format!("blobs/{}", layer.digest);
    let mut response = match session.get(&path, &headers, what).await {
        Ok(response) => response,
        // A registry that says how long to wait is not asked again at once.
        Err(error @ (OciError::Transport { .. } | OciError::Busy { retry_after_ms: None, .. })) => {
            return Ok(Attempt::Broken(error));
        }
        Err(error) => return Err(error),
    };
    let continues = response.status().as_u16() == 206 && starts_at(&response, *have_bytes);
    if *have_bytes > 0 && !continues {
        *have_bytes = 0;
        if !writer.send(Message::Restart).await {
            return Ok(Attempt::WriterStopped);
        }
    }
    if !continues && response.status().as_u16() != 200 {
        let reason = "registry cannot continue the transfer, starting over".to_owned();
        return Ok(Attempt::Broken(OciError::GaveUp { what: what.to_owned(), reason }));
    }
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let count = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                *have_bytes = have_bytes.saturating_add(count);
                if *have_bytes > layer.size_bytes {
                    return Err(OciError::Protocol {
                        what: what.to_owned(),
                        reason: format!("more than the announced {} bytes", layer.size_bytes),
                    });
                }
                if !writer.send(Message::Chunk(chunk)).await {
                    return Ok(Attempt::WriterStopped);
                }
            }
            Ok(None) if *have_bytes == layer.size_bytes => return Ok(Attempt::Complete),
            Ok(None) => {
                let reason = format!("{have_bytes} of {} bytes came", layer.size_bytes);
                return Ok(Attempt::Broken(OciError::GaveUp { what: what.to_owned(), reason }));
            }
            Err(source) => return Ok(Attempt::Broken(transport(what, source))),
        }
    }
}

/// `Content-Range: bytes <start>-…`
fn starts_at(response: &Response, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let found = range.and_then(|text| text.trim().strip_prefix("bytes ")?.split('-').next());
    found.is_some_and(|found| found == start.to_string())
}
