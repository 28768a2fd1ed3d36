//! Compose archives: checked before a byte is extracted, then extracted safely.
//!
//! The archive comes from a registry, so nothing in it is believed. [`check`] reads it once and builds a [`Plan`];
//! [`check_and_extract`] does that, then writes exactly the planned entries beside the destination, syncs them
//! and renames the whole tree into place, so that a destination is either absent, old or complete.

mod check;
mod error;
mod extract;
mod limits;
mod path;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

pub use check::{Plan, check};
pub use error::{ArchiveError, Rule};
pub use extract::{Extracted, check_and_extract, remove_leftovers};
pub use limits::ArchiveLimits;
pub use path::EntryPath;

/// The only file name a compose component is read from (R159).
pub const COMPOSE_FILE: &str = "compose.yaml";
