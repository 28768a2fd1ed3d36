//! The control socket: made with the right owner and mode, and serving a bounded number of clients.

use super::access::Peers;
use super::connection::{self, Context};
use super::events::EventLog;
use super::query::Query;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

/// Name of the socket in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Clients served at once (I11).
pub(super) const CONNECTIONS_MAX: usize = 16;

/// Pause after a failed accept, which is usually a lack of file descriptors and would repeat at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The directory could not be made.
    #[error("cannot make the runtime directory {}", path.display())]
    MakeDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent answers on it.
    #[error("another margo-agent answers on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be made or given its mode.
    #[error("cannot make the control socket {}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The control socket, listening. Dropping it removes it.
#[derive(Debug)]
pub struct LocalApi {
    listener: UnixListener,
    peers: Peers,
    path: PathBuf,
}

impl LocalApi {
    /// Makes `<runtime_dir>/control.sock` with mode 0660 and the given group. Without the group it is for root
    /// only, and that is logged. Must be called inside the runtime.
    ///
    /// # Errors
    /// See [`BindError`]. The agent can run without the socket.
    pub fn bind(runtime_dir: &Path, group: &str) -> Result<Self, BindError> {
        Self::bind_for(runtime_dir, Peers::new(group))
    }

    pub(super) fn bind_for(runtime_dir: &Path, peers: Peers) -> Result<Self, BindError> {
        std::fs::create_dir_all(runtime_dir)
            .map_err(|source| BindError::MakeDir { path: runtime_dir.to_path_buf(), source })?;
        let path = runtime_dir.join(SOCKET_NAME);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(BindError::InUse { path });
        }
        // Under another name until it is ready, so that nobody meets it with the wrong mode.
        let unready = runtime_dir.join(format!(".{SOCKET_NAME}.new"));
        let listener = make(&unready, &peers)
            .and_then(|listener| std::fs::rename(&unready, &path).map(|()| listener))
            .map_err(|source| BindError::Bind { path: path.clone(), source })?;
        Ok(Self { listener, peers, path })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves clients until it is dropped. Questions for the driver go to `queries`, transitions come from
    /// `events`. Cancel-safe: dropping the future ends serving; clients already served end by themselves.
    pub async fn serve(self, queries: mpsc::Sender<Query>, events: EventLog) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a client, retrying");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                connection::refuse_busy(&stream);
                continue;
            };
            let context = Context {
                peers: self.peers.clone(),
                queries: queries.clone(),
                events: events.clone(),
            };
            tokio::spawn(async move {
                connection::serve(stream, context).await;
                drop(place);
            });
        }
    }
}

impl Drop for LocalApi {
    fn drop(&mut self) {
        // A socket left behind is replaced by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn make(path: &Path, peers: &Peers) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    let mut mode = 0o600;
    match peers.gid() {
        Some(gid) => {
            let gid = rustix::fs::Gid::from_raw(gid);
            match rustix::fs::chown(path, None, Some(gid)) {
                Ok(()) => mode = 0o660,
                Err(error) => tracing::warn!(
                    %error,
                    "cannot give the control socket to its group, continuing for the owner only"
                ),
            }
        }
        None => tracing::warn!(
            "the group of local_api.group does not exist, so only root may use margoctl"
        ),
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
