//! Requests and responses of the control socket.
//!
//! The client sends one request a line: `{"version":1,"request":"status"}`. Each is answered by one or more
//! lines `{"kind":…,"data":…}`, the last of which is `end` or `error`. A connection may ask again after that.
//! A release only adds: fields and kinds that a client does not know are to be ignored.

use super::firmware::FirmwareStatus;
use super::status::{DeploymentStatus, Event, LogLine, Status};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of this protocol. Another one is refused.
pub const VERSION: u32 = 1;

/// Longest request, in bytes with its line end (I11).
pub const REQUEST_SIZE_BYTES_MAX: usize = 16 * 1024;

/// Longest response line, in bytes.
pub(super) const RESPONSE_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A request with the version its sender speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// The whole agent: one [`Response::Status`].
    Status,
    /// All deployments: one [`Response::Deployments`].
    Deployments,
    /// One deployment: one [`Response::Deployment`].
    Deployment {
        /// Id, beginning of an id, or name.
        deployment: String,
    },
    /// Recent transitions: a [`Response::Event`] each.
    Events {
        /// Only those after this `seq`; `None` = all that are kept.
        #[serde(default)]
        since: Option<u64>,
        /// Go on with new ones until the client hangs up.
        #[serde(default)]
        follow: bool,
    },
    /// Output of containers: a [`Response::Log`] for each line.
    Logs(LogsRequest),
    /// Poll the fleet manager now. Changes something.
    SyncNow,
    /// Try a failed deployment again now. Changes something.
    Retry {
        /// Id, beginning of an id, or name.
        deployment: String,
    },
    /// The firmware and its slots: one [`Response::Firmware`].
    Firmware,
    /// Install this bundle. Changes something.
    FirmwareInstall {
        /// Path on the device, from the root, or URL.
        location: String,
    },
    /// Go to the other slot; of a trial, leave it. Changes something.
    FirmwareRollback,
    /// Judge the trial in place of the gate. Changes something.
    FirmwareMark {
        /// Commit it, or leave it.
        good: bool,
    },
}

impl Request {
    /// Whether it makes the agent do something, and so needs more than the right to look.
    pub const fn is_mutating(&self) -> bool {
        match self {
            Self::SyncNow
            | Self::Retry { .. }
            | Self::FirmwareInstall { .. }
            | Self::FirmwareRollback
            | Self::FirmwareMark { .. } => true,
            Self::Status
            | Self::Firmware
            | Self::Deployments
            | Self::Deployment { .. }
            | Self::Events { .. }
            | Self::Logs(_) => false,
        }
    }
}

/// Which output is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsRequest {
    /// Id, beginning of an id, or name.
    pub deployment: String,
    /// Only this component.
    #[serde(default)]
    pub component: Option<String>,
    /// Only this service.
    #[serde(default)]
    pub service: Option<String>,
    /// Go on with new lines until the client hangs up.
    #[serde(default)]
    pub follow: bool,
    /// Start with so many last lines of each container; `None` = all.
    #[serde(default)]
    pub tail: Option<u32>,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Response {
    /// Answer to [`Request::Status`].
    Status(Box<Status>),
    /// Answer to [`Request::Deployments`].
    Deployments(Vec<DeploymentStatus>),
    /// Answer to [`Request::Deployment`].
    Deployment(Box<DeploymentStatus>),
    /// Answer to [`Request::Firmware`].
    Firmware(Box<FirmwareStatus>),
    /// One transition.
    Event(Event),
    /// So many transitions came too fast for this client and are missing here.
    EventsLost(u64),
    /// One line of output.
    Log(LogLine),
    /// Answer to what changes something.
    Accepted(Accepted),
    /// It did not work; nothing follows.
    Error(ApiError),
    /// Nothing follows.
    End,
}

/// What the agent will do about a request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// For a person.
    pub message: String,
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of trouble.
    pub kind: ApiErrorKind,
    /// For a person.
    pub message: String,
}

impl ApiError {
    /// An error.
    pub fn new(kind: ApiErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Kinds of trouble; `margoctl` turns them into exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiErrorKind {
    /// The request cannot be understood.
    BadRequest,
    /// The two ends speak different versions.
    Version,
    /// This user may not ask that.
    Denied,
    /// There is no such deployment, component or service.
    NotFound,
    /// Too many clients, or the driver is not keeping up.
    Busy,
    /// The agent cannot do that now; the message says why.
    Refused,
    /// The agent is stopping, or a part it needs does not answer.
    Unavailable,
}

impl fmt::Display for ApiErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRequest => "bad request",
            Self::Version => "version",
            Self::Denied => "denied",
            Self::NotFound => "not found",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        })
    }
}
