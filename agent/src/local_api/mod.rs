//! The local socket that `margoctl` talks to.
//!
//! - `protocol`: requests and responses, one JSON object per line.  - `status`, `firmware`: what they carry.
//! - `server`: the socket; `connection`: one client.  - `access`: who may do what.
//! - `query`: what the driver is asked.  - `events`: the recent transitions, answered without the driver.
//! - `client`: the other end.

mod access;
mod client;
mod connection;
mod events;
mod firmware;
mod protocol;
mod query;
mod server;
mod status;

pub use access::{Access, Peers};
pub use client::{Client, ClientError};
pub use events::{EVENTS_KEPT_MAX, EventLog, NewEvent};
pub use firmware::{
    FirmwareAttempt, FirmwareProgress, FirmwareSlot, FirmwareStatus, FirmwareUpdate,
};
pub use protocol::{
    Accepted, ApiError, ApiErrorKind, Envelope, LogsRequest, REQUEST_SIZE_BYTES_MAX, Request,
    Response, VERSION,
};
pub use query::{FirmwareOrder, LogLines, Query, Reply};
pub use server::{BindError, LocalApi, SOCKET_NAME};
pub use status::{
    ClockStatus, ComponentStatus, ContainerStatus, DeploymentStatus, Event, FailureStatus,
    IdentityStatus, LogLine, LogStream, Stage, Status, StoreStatus, WfmStatus, WorkloadsSummary,
    select_deployment,
};

#[cfg(test)]
mod tests;
