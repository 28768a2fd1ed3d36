//! Errors of the durable state, named after what was being done.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why the durable state could not be opened or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory could not be made, opened, or given its mode.
    #[error("cannot prepare the state directory {}", path.display())]
    OpenDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the directory.
    #[error(
        "the state directory {} is in use by another margo-agent; stop that one first",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read for a reason that is not damage (for example its permissions).
    #[error("cannot read {file} in the state directory")]
    Read {
        /// File name inside the directory.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file was written by a newer release that says this one cannot read it. Nothing was changed.
    #[error(
        "{file} has schema {found}, readable from schema {readable_by} on; this release knows \
         schema {known}: start the newer release, nothing was changed"
    )]
    NewerSchema {
        /// File name inside the directory.
        file: String,
        /// Schema the file was written with.
        found: u32,
        /// Oldest schema whose readers can read it.
        readable_by: u32,
        /// Schema of this release.
        known: u32,
    },
    /// The document could not be turned into JSON.
    #[error("cannot encode the state")]
    Encode {
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
    /// The document is larger than the store accepts; nothing was written.
    #[error("the state has {size_bytes} bytes, more than the {size_bytes_max} allowed")]
    TooLarge {
        /// Size of the encoded document.
        size_bytes: usize,
        /// [`super::BODY_SIZE_BYTES_MAX`].
        size_bytes_max: usize,
    },
    /// A file could not be written, synced, renamed or removed. The last saved state is untouched.
    #[error("cannot {doing} {file} in the state directory")]
    Write {
        /// Which step: `create`, `write`, `sync`, `rename`, `remove`, `list`.
        doing: &'static str,
        /// File name inside the directory; `.` is the directory itself.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What kind of trouble an error is, for deciding what to tell and whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The storage or its quota is full: may pass.
    NoSpace,
    /// The file system is read-only.
    ReadOnly,
    /// The medium failed.
    Medium,
    /// Anything else.
    Other,
}

impl StoreError {
    /// The kind of trouble behind this error.
    pub fn fault(&self) -> Fault {
        match self {
            Self::OpenDir { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. } => fault_of(source),
            Self::InUse { .. }
            | Self::NewerSchema { .. }
            | Self::Encode { .. }
            | Self::TooLarge { .. } => Fault::Other,
        }
    }
}

/// Sorts a system error.
pub(super) fn fault_of(error: &io::Error) -> Fault {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Fault::NoSpace,
        Some(Errno::ROFS) => Fault::ReadOnly,
        Some(Errno::IO) => Fault::Medium,
        _ => Fault::Other,
    }
}
