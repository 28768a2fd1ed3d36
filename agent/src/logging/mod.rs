//! Structured logs: journald with stable message ids, or plain stderr.
//!
//! - `init`: sets up where logs go and how much.  - `catalog`: named messages with ids and explanations.
//! - `error_chain`: an error with its causes.  - `clip`: bounded text for values that peers control.

pub mod catalog;
mod clip;
mod error_chain;
mod init;
mod plain;

pub use clip::{FIELD_SIZE_BYTES_MAX, clip, field};
pub use error_chain::ErrorChain;
pub use init::{LevelHandle, LogError, LogTarget, init};

#[cfg(test)]
mod tests;
