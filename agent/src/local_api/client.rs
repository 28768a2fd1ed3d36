//! The client's end of the control socket, blocking: `margoctl` does one thing at a time.

use super::protocol::{
    ApiError, ApiErrorKind, Envelope, RESPONSE_SIZE_BYTES_MAX, Request, Response, VERSION,
};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than the agent takes to give up on its own driver.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody listens on it.
    #[error("cannot reach margo-agent on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This user may not open the socket.
    #[error("not permitted to open {}", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The agent said no.
    #[error("margo-agent answered: {0}")]
    Refused(ApiError),
    /// The connection broke or was silent for too long.
    #[error("no answer from margo-agent")]
    Broken {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The answer cannot be understood.
    #[error(
        "margo-agent's answer cannot be understood; do margoctl and margo-agent differ in version?"
    )]
    Strange {
        /// What the decoder said.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The kind of trouble, if the agent itself told it.
    pub fn api_kind(&self) -> Option<ApiErrorKind> {
        match self {
            Self::Refused(error) => Some(error.kind),
            Self::NotRunning { .. }
            | Self::Denied { .. }
            | Self::Broken { .. }
            | Self::Strange { .. } => None,
        }
    }
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] or [`ClientError::Denied`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| {
            let path = path.to_path_buf();
            if source.kind() == io::ErrorKind::PermissionDenied {
                ClientError::Denied { path, source }
            } else {
                ClientError::NotRunning { path, source }
            }
        })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks for one thing and gives the one answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call(&mut self, request: Request) -> Result<Response, ClientError> {
        let mut answer = None;
        self.stream(request, false, |response| {
            answer.get_or_insert(response);
            true
        })?;
        let empty = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is empty");
        answer.ok_or_else(|| ClientError::Broken { source: empty() })
    }

    /// Asks for a stream and hands each line to `take`, until the end or until `take` says `false`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn stream(
        &mut self,
        request: Request,
        is_endless: bool,
        mut take: impl FnMut(Response) -> bool,
    ) -> Result<(), ClientError> {
        let broken = |source| ClientError::Broken { source };
        let timeout = (!is_endless).then_some(ANSWER_TIMEOUT);
        self.stream.get_ref().set_read_timeout(timeout).map_err(broken)?;
        let envelope = Envelope { version: VERSION, request };
        let mut line =
            serde_json::to_vec(&envelope).map_err(|source| ClientError::Strange { source })?;
        line.push(b'\n');
        match self.stream.get_mut().write_all(&line) {
            // Turned away before asking: the reason is waiting to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.map_err(broken)?,
        }
        loop {
            match self.response().map_err(broken)?? {
                Response::End => return Ok(()),
                Response::Error(error) => return Err(ClientError::Refused(error)),
                response => {
                    if !take(response) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn response(&mut self) -> io::Result<Result<Response, ClientError>> {
        let mut line = Vec::new();
        let limit = u64::try_from(RESPONSE_SIZE_BYTES_MAX).unwrap_or(u64::MAX);
        (&mut self.stream).take(limit).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            let why = if line.len() >= RESPONSE_SIZE_BYTES_MAX {
                "the answer is too long"
            } else {
                "the agent closed the connection"
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Ok(serde_json::from_slice(&line).map_err(|source| ClientError::Strange { source }))
    }
}
