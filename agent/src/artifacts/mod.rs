//! Content-addressed store of everything a desired state needs, and small named records beside it.
//!
//! Blobs are found by their SHA-256 and verified whenever they are read, so that what is applied after a power cut
//! is what the WFM promised (I2). Records are JSON documents with a checksum of their own. Every write is
//! temp → fsync → rename → fsync(directory). All calls block on the disk: call them from a blocking thread.
//!
//! Layout below the root: `blobs/sha256/<hex>`, `records/<kind>/<name>`, `damaged/`, `tmp/`.

pub mod digest;
mod durable;
mod error;
mod records;
mod store;
#[cfg(test)]
mod tests;

pub use error::ArtifactsError;
pub use store::Artifacts;
