//! The connection: lazy, version-negotiated, and indifferent to restarts of the daemon.
//!
//! bollard opens a socket for each request, so a daemon that went away and came back needs nothing but
//! the next request. The negotiated version is kept until the engine stops answering or refuses it.

use super::error::{EngineError, is_transport, message};
use bollard::{API_DEFAULT_VERSION, Docker};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time for an answer's head. Long calls (stop, pull, wait) set their own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The container engine behind one unix socket. Clones are cheap and share the connection state.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: String,
    session: Mutex<Session>,
}

/// What is known of the daemon that answers now; forgotten when it stops answering.
#[derive(Debug, Default)]
struct Session {
    client: Option<Docker>,
    /// Containers seen running since this daemon answers: if one of them ends with 0, it ended by itself.
    witnessed: BTreeSet<String>,
}

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    /// Release, for example `26.1.5`.
    pub release: String,
    /// The API version spoken, for example `1.41`.
    pub api: String,
}

impl Engine {
    /// An engine behind a unix socket. Nothing is sent yet, and the socket need not exist.
    ///
    /// # Errors
    /// When the path is not UTF-8.
    pub fn connect(socket: &Path) -> Result<Self, EngineError> {
        let socket = socket.to_str().ok_or_else(|| EngineError::Local {
            doing: format!("use engine socket `{}`", socket.display()),
            source: std::io::Error::other("path is not UTF-8"),
        })?;
        let session = Mutex::new(Session::default());
        Ok(Self { inner: Arc::new(Inner { socket: socket.to_owned(), session }) })
    }

    /// Asks the engine for its version, and negotiates the API version anew.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer.
    pub async fn ping(&self) -> Result<EngineVersion, EngineError> {
        self.session().client = None;
        let api = self.api().await?;
        let version = self.seen("ask for the version", api.version().await)?;
        Ok(EngineVersion {
            release: version.version.unwrap_or_default(),
            api: api.client_version().to_string(),
        })
    }

    /// The negotiated client.
    pub(crate) async fn api(&self) -> Result<Docker, EngineError> {
        if let Some(client) = &self.session().client {
            return Ok(client.clone());
        }
        let socket = &self.inner.socket;
        let doing = || format!("connect to `{socket}`");
        let client =
            Docker::connect_with_unix(socket, ANSWER_TIMEOUT.as_secs(), API_DEFAULT_VERSION)
                .map_err(|error| EngineError::api(doing(), error))?;
        let client = self.seen("negotiate the API version", client.negotiate_version().await)?;
        self.session().client = Some(client.clone());
        Ok(client)
    }

    /// Names what was being done, and forgets the session when the engine has gone.
    pub(crate) fn seen<T>(
        &self,
        doing: &str,
        result: Result<T, bollard::errors::Error>,
    ) -> Result<T, EngineError> {
        result.map_err(|error| {
            self.note(&error);
            EngineError::api(doing, error)
        })
    }

    /// Forgets the session when the error says that the daemon went away or changed its version.
    pub(crate) fn note(&self, error: &bollard::errors::Error) {
        if is_transport(error) || message(error).contains("client version") {
            *self.session() = Session::default();
        }
    }

    /// Remembers that a container ran under this daemon.
    pub(crate) fn witness(&self, container: &str) {
        self.session().witnessed.insert(container.to_owned());
    }

    /// True when the container ran under this daemon, as far as we saw.
    pub(crate) fn has_witnessed(&self, container: &str) -> bool {
        self.session().witnessed.contains(container)
    }

    /// Forgets a removed container.
    pub(crate) fn forget(&self, container: &str) {
        self.session().witnessed.remove(container);
    }

    /// Forgets everything that depends on the daemon having run without interruption.
    pub(crate) fn daemon_lost(&self) {
        *self.session() = Session::default();
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // The data is replaced as a whole, so a panic elsewhere cannot leave it half-changed.
        self.inner.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when containers can be created with all their networks at once (engine 25 and later).
pub(crate) fn creates_with_all_networks(docker: &Docker) -> bool {
    let version = docker.client_version();
    (version.major_version, version.minor_version) >= (1, 44)
}
