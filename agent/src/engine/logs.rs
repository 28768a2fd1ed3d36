//! A container's output.

use super::docker::Engine;
use super::error::EngineError;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use std::time::Duration;
use tokio::time::timeout;

/// Lines looked at for the message of a failed start, and characters kept of them.
const LAST_LINES: &str = "20";
const LAST_CHARS: usize = 300;
/// The log of a container that has ended is on disk: longer than this means a stuck log driver.
const LAST_LONGEST: Duration = Duration::from_secs(5);
/// Longest piece of output handed on at once, in bytes (I11).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Which part of a log to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what the container writes from now on.
    pub follow: bool,
    /// Only so many of the last lines; `None` = all.
    pub tail: Option<u32>,
    /// Only what was written since, in seconds since 1970.
    pub since_secs: Option<i32>,
}

/// One piece of output, usually a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Written to standard error.
    pub stderr: bool,
    /// The bytes, with their line end; cut to 64 KiB.
    pub bytes: Bytes,
}

impl Engine {
    /// Reads a container's output. The stream ends with the log, or when `follow` with the container.
    ///
    /// # Errors
    /// Items: `Api` for an unknown container or a log driver that cannot be read, `Unavailable`.
    pub fn logs(
        &self,
        container: &str,
        options: &LogOptions,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + use<> {
        let (engine, container, options) = (self.clone(), container.to_owned(), options.clone());
        stream::once(async move {
            let lines = match engine.api().await {
                Ok(docker) => {
                    let engine = engine.clone();
                    let lines = read(&docker, &container, &options);
                    lines.map(move |line| engine.seen("read a log", line)).boxed()
                }
                Err(error) => stream::once(future::ready(Err(error))).boxed(),
            };
            lines.map(|line| line.map(log_line))
        })
        .flatten()
    }

    /// The end of a container's output on one line, for a failure's message.
    pub(crate) async fn last_lines(&self, docker: &Docker, container: &str) -> String {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LAST_LINES).build();
        let mut lines = Box::pin(docker.logs(container, Some(options)));
        let mut text = String::new();
        let collect = async {
            while let Some(Ok(line)) = lines.next().await {
                let line = String::from_utf8_lossy(&line.into_bytes()).trim().to_owned();
                if !line.is_empty() {
                    text.push_str(if text.is_empty() { "" } else { " | " });
                    text.push_str(&line);
                }
            }
        };
        // Half a log is better than no answer.
        let _ = timeout(LAST_LONGEST, collect).await;
        if text.is_empty() {
            return "(none)".to_owned();
        }
        // The end says what went wrong.
        let skipped = text.chars().count().saturating_sub(LAST_CHARS);
        text.chars().skip(skipped).collect()
    }
}

fn read(
    docker: &Docker,
    container: &str,
    options: &LogOptions,
) -> impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + use<> {
    let mut query = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(options.follow);
    if let Some(tail) = options.tail {
        query = query.tail(&tail.to_string());
    }
    if let Some(since) = options.since_secs {
        query = query.since(since);
    }
    docker.logs(container, Some(query.build()))
}

fn log_line(output: LogOutput) -> LogLine {
    let stderr = matches!(output, LogOutput::StdErr { .. });
    let mut bytes = output.into_bytes();
    bytes.truncate(LINE_BYTES_MAX);
    LogLine { stderr, bytes }
}
