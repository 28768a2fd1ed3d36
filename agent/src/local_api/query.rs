//! What the driver is asked, and how it answers.
//!
//! The driver takes queries from a channel beside its other events. A reply that nobody waits for any more may
//! be dropped; a query that is dropped unanswered is told to the client as "the agent is stopping".

use super::firmware::FirmwareStatus;
use super::protocol::{Accepted, ApiError, LogsRequest};
use super::status::{DeploymentStatus, LogLine, Status};
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// Where log lines go. Closed when the client hung up: stop reading then. Drop it to end the stream. Bounded:
/// waiting for room is what slows a fast container down to a slow client.
pub type LogLines = mpsc::Sender<Result<LogLine, ApiError>>;

/// A question to the driver.
#[derive(Debug)]
pub enum Query {
    /// The whole agent.
    Status {
        /// Answer.
        reply: Reply<Status>,
    },
    /// All deployments.
    Deployments {
        /// Answer.
        reply: Reply<Vec<DeploymentStatus>>,
    },
    /// One deployment; see [`super::select_deployment`].
    Deployment {
        /// Id, beginning of an id, or name.
        deployment: String,
        /// Answer.
        reply: Reply<DeploymentStatus>,
    },
    /// Output of containers. Answer first, then send lines from a task of its own.
    Logs {
        /// Which.
        request: LogsRequest,
        /// Where they go.
        lines: LogLines,
        /// Whether there will be any.
        reply: Reply<()>,
    },
    /// Poll the fleet manager now.
    SyncNow {
        /// Answer.
        reply: Reply<Accepted>,
    },
    /// Try a failed deployment again now.
    Retry {
        /// Id, beginning of an id, or name.
        deployment: String,
        /// Answer.
        reply: Reply<Accepted>,
    },
    /// The firmware and its slots.
    Firmware {
        /// Answer.
        reply: Reply<FirmwareStatus>,
    },
    /// An order about the firmware.
    FirmwareOrder {
        /// Which.
        order: FirmwareOrder,
        /// Answer.
        reply: Reply<Accepted>,
    },
}

/// What an operator may want of the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareOrder {
    /// Install this bundle.
    Install {
        /// Path or URL.
        location: String,
    },
    /// Go to the other slot; of a trial, leave it.
    Rollback,
    /// Judge the trial.
    Mark {
        /// Commit it, or leave it.
        good: bool,
    },
}
