//! The asking side of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::protocol::{Command, Reply, SOCKET_NAME};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No lab listens there.
    #[error("no lab runs in {dir}: start one with `margo-lab --dir {dir} up`", dir = dir.display())]
    Connect {
        /// The lab's directory.
        dir: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("lost the connection to the lab")]
    Talk(#[source] io::Error),
    /// The lab ended without an answer.
    #[error("the lab gave no answer")]
    NoAnswer,
    /// The lab is of another version.
    #[error("cannot read the lab's answer")]
    Decode(#[source] serde_json::Error),
    /// The lab refused or failed.
    #[error("{0}")]
    Refused(String),
}

/// Sends one command and returns the answer.
///
/// # Errors
/// When no lab is there, or it refuses.
pub async fn send(dir: &Path, command: &Command) -> Result<Value, ControlError> {
    let mut lines = open(dir, command).await?;
    next(&mut lines).await?.ok_or(ControlError::NoAnswer)
}

/// Sends a command that is answered again and again; `each` says whether to go on.
///
/// # Errors
/// When no lab is there, or it refuses.
pub async fn watch(
    dir: &Path,
    command: &Command,
    mut each: impl FnMut(Value) -> bool,
) -> Result<(), ControlError> {
    let mut lines = open(dir, command).await?;
    while let Some(value) = next(&mut lines).await? {
        if !each(value) {
            break;
        }
    }
    Ok(())
}

type Answers = (Lines<BufReader<OwnedReadHalf>>, tokio::net::unix::OwnedWriteHalf);

async fn open(dir: &Path, command: &Command) -> Result<Answers, ControlError> {
    let stream = UnixStream::connect(dir.join(SOCKET_NAME))
        .await
        .map_err(|source| ControlError::Connect { dir: dir.to_owned(), source })?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_string(command).map_err(ControlError::Decode)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await.map_err(ControlError::Talk)?;
    Ok((BufReader::new(read).lines(), write))
}

async fn next((lines, _open): &mut Answers) -> Result<Option<Value>, ControlError> {
    let Some(line) = lines.next_line().await.map_err(ControlError::Talk)? else {
        return Ok(None);
    };
    match serde_json::from_str(&line).map_err(ControlError::Decode)? {
        Reply::Ok(value) => Ok(Some(value)),
        Reply::Error(text) => Err(ControlError::Refused(text)),
    }
}
