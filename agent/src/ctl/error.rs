//! What can go wrong in `margoctl`, what to do about it, and the exit code it ends with.

use crate::config::ConfigErrors;
use crate::local_api::{ApiErrorKind, ClientError, FailureStatus};
use crate::provision::KeyRequestError;
use std::io;

/// How `margoctl` ends. Documented in its help; never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The checked application, or the provisioning package, is refused.
    Refused,
    /// The command line is wrong.
    Usage,
    /// The agent is not running, or does not answer.
    NoAgent,
    /// Not permitted.
    Denied,
    /// No such deployment, component, service or code.
    NotFound,
    /// Another error.
    Failed,
}

impl Exit {
    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::NoAgent => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Failed => 6,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CtlError {
    /// The agent did not answer as hoped. Its own words say enough.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration is wrong.
    #[error("the configuration is wrong:\n{0}")]
    Config(ConfigErrors),
    /// The checked path does not exist or cannot be read.
    #[error("cannot read {path}")]
    ReadApp {
        path: String,
        #[source]
        source: io::Error,
    },
    /// This program was built without the checker.
    #[error("this margoctl was built without the application checker")]
    NoChecker,
    /// There is no such failure code.
    #[error("there is no failure code {code:?}{}", did_you_mean(suggestion.as_deref()))]
    UnknownCode { code: String, suggestion: Option<String> },
    /// The firmware that was waited for was not installed.
    #[error("{}: {}", .0.code, .0.message)]
    FirmwareFailed(Box<FailureStatus>),
    /// There is no such command to print the manual page of.
    #[error("margoctl has no command {name:?}")]
    UnknownCommand { name: String },
    /// There is no certificate request.
    #[error("no certificate request could be made")]
    KeyRequest(#[source] KeyRequestError),
    /// The certificate request could not be written.
    #[error("cannot write {path}")]
    WriteRequest {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The agent answered something else than was asked.
    #[error("margo-agent answered something else than was asked")]
    Unexpected,
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

impl CtlError {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => match error {
                ClientError::NotRunning { .. } | ClientError::Broken { .. } => Exit::NoAgent,
                ClientError::Denied { .. } => Exit::Denied,
                ClientError::Strange { .. } => Exit::Failed,
                ClientError::Refused(error) => match error.kind {
                    ApiErrorKind::Denied => Exit::Denied,
                    ApiErrorKind::NotFound => Exit::NotFound,
                    ApiErrorKind::BadRequest
                    | ApiErrorKind::Version
                    | ApiErrorKind::Busy
                    | ApiErrorKind::Refused
                    | ApiErrorKind::Unavailable => Exit::Failed,
                },
            },
            Self::UnknownCode { .. } | Self::UnknownCommand { .. } => Exit::NotFound,
            Self::ReadApp { .. } | Self::Config(_) | Self::NoChecker => Exit::Failed,
            Self::KeyRequest(KeyRequestError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Denied
            }
            Self::KeyRequest(_) | Self::WriteRequest { .. } => Exit::Failed,
            Self::Unexpected | Self::Output(_) | Self::FirmwareFailed(_) => Exit::Failed,
        }
    }

    /// The next step, where there is one.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Client(ClientError::NotRunning { .. }) => Some(
                "is it running? `systemctl status margo-agent` and `journalctl -u margo-agent` tell".into(),
            ),
            Self::Client(ClientError::Denied { .. }) => Some(denied()),
            Self::Client(ClientError::Broken { .. }) => {
                Some("`journalctl -u margo-agent` may tell why".into())
            }
            Self::Client(ClientError::Refused(error)) => match error.kind {
                ApiErrorKind::Denied => Some(denied()),
                ApiErrorKind::NotFound => Some("`margoctl deployments` lists what there is".into()),
                ApiErrorKind::Version => {
                    Some("use the margoctl that was installed with the agent".into())
                }
                ApiErrorKind::BadRequest
                | ApiErrorKind::Busy
                | ApiErrorKind::Refused
                | ApiErrorKind::Unavailable => None,
            },
            Self::FirmwareFailed(failure) => Some(failure.next_action.clone()),
            Self::UnknownCode { .. } => Some("`margoctl explain` lists all codes".into()),
            Self::UnknownCommand { .. } => Some("`margoctl help` lists all commands".into()),
            Self::KeyRequest(KeyRequestError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("the key belongs to root: use sudo".into())
            }
            Self::Client(ClientError::Strange { .. })
            | Self::KeyRequest(_)
            | Self::WriteRequest { .. }
            | Self::Config(_)
            | Self::ReadApp { .. }
            | Self::NoChecker
            | Self::Unexpected
            | Self::Output(_) => None,
        }
    }
}

fn denied() -> String {
    "use sudo, or become a member of the agent's group: `sudo usermod -aG margo $USER`, then log in again"
        .into()
}
