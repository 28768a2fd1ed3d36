//! The durable state: one document in two checksummed files, of which the newest valid one wins (I2).
//!
//! - `document`: opening, healing and saving; the only place that decides what is written where.
//! - `format`: the bytes of one file.
//! - `disk`: the few file operations the store needs, so that tests can cut the power between any two.
//! - `error`: what can go wrong, and whether it is the disk's fault.

mod disk;
mod document;
mod error;
mod format;

pub use disk::{Disk, DiskFile, RealDisk};
pub use document::{Condition, Copies, Loaded, Store};
pub use error::{Fault, StoreError};
pub use format::{BODY_SIZE_BYTES_MAX, SCHEMA, Schema};

#[cfg(test)]
mod tests;
