//! Structured logs: journald with stable message ids, or plain stderr.

mod clip;
mod error_chain;

pub use clip::{FIELD_SIZE_BYTES_MAX, clip, field};
pub use error_chain::ErrorChain;
