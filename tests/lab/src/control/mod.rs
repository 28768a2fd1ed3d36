//! The local control socket of a running lab: one JSON command per connection, answered by JSON lines.

mod client;
mod orders;
mod protocol;
mod server;

pub use client::{ControlError, send, watch};
pub use protocol::{Command, DeployOrder, FirmwareOrder, ImageOrder, ImageSource, SOCKET_NAME};
pub use server::{ControlServer, ServeControlError};
