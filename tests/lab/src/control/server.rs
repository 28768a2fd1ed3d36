//! The answering side of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::orders;
use super::protocol::{Command, Reply, SOCKET_NAME};
use crate::lab::Lab;

/// Largest command.
const COMMAND_MAX_BYTES: u64 = 1024 * 1024;

/// Why the control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeControlError {
    /// Another lab uses the directory.
    #[error("another lab is running with {path}", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be made; a path longer than about 100 bytes is a usual reason.
    #[error("cannot listen on {path}", path = path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// An open control socket; dropping it closes it.
#[derive(Debug)]
pub struct ControlServer {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        // A socket file without a listener only confuses; if it cannot go, the next start replaces it.
        let _removed = std::fs::remove_file(&self.path);
    }
}

impl ControlServer {
    /// Opens the socket in the lab's directory, for this user only.
    ///
    /// # Errors
    /// When another lab answers there, or the socket cannot be made.
    pub async fn open(lab: Arc<Lab>) -> Result<Self, ServeControlError> {
        let path = lab.dir().join(SOCKET_NAME);
        if UnixStream::connect(&path).await.is_ok() {
            return Err(ServeControlError::InUse { path });
        }
        let failed = |source| ServeControlError::Listen { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).map_err(failed)?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                tokio::spawn(answer(Arc::clone(&lab), stream));
            }
        });
        Ok(Self { task, path })
    }
}

async fn answer(lab: Arc<Lab>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    // Whoever asked may have gone; there is nobody else to tell.
    let _sent = match command(read).await {
        Ok((Command::Watch, read)) => watch(&lab, read, &mut write).await,
        Ok((command, _read)) => {
            let reply = match orders::carry_out(&lab, command).await {
                Ok(value) => Reply::Ok(value),
                Err(error) => Reply::Error(error_chain(&error)),
            };
            send(&mut write, &reply).await
        }
        Err(error) => send(&mut write, &Reply::Error(error)).await,
    };
}

async fn command(read: OwnedReadHalf) -> Result<(Command, BufReader<OwnedReadHalf>), String> {
    let mut reader = BufReader::new(read);
    let mut line = String::new();
    let read = (&mut reader).take(COMMAND_MAX_BYTES).read_line(&mut line).await;
    read.map_err(|error| format!("cannot read the command: {error}"))?;
    let command = serde_json::from_str(&line).map_err(|error| format!("bad command: {error}"))?;
    Ok((command, reader))
}

async fn watch(
    lab: &Lab,
    mut read: BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let mut bell = lab.bell();
    let mut last = Value::Null;
    let mut nothing = [0; 1];
    loop {
        bell.borrow_and_update();
        let now = orders::status(lab);
        if now != last {
            send(write, &Reply::Ok(now.clone())).await?;
            last = now;
        }
        tokio::select! {
            // Cancel-safe: only the count is watched.
            rung = bell.changed() => if rung.is_err() { return Ok(()) },
            // Cancel-safe: the asker sends nothing more; this only sees it leave.
            _ = read.read(&mut nothing) => return Ok(()),
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}

/// An error with its causes in one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
