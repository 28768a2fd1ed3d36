//! What can go wrong with local artifacts.

use super::digest::DigestError;
use state_machine::failure::{Code, Failure};
use state_machine::ids::Digest;
use std::io;
use std::path::PathBuf;

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// The name is not a usable digest.
    #[error("artifact name `{digest}`")]
    Name {
        /// As given.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// A record's kind or name is not usable as a file name.
    #[error("record name `{name}` may only hold letters, digits, `.`, `_`, `-` and `:`")]
    RecordName {
        /// As given, cut.
        name: String,
    },
    /// The store has no such artifact.
    #[error("artifact {digest} is not on this device")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// Content on the disk is not what was written. It was moved aside and now counts as absent.
    #[error("{path} is damaged and was moved aside")]
    Damaged {
        /// Where it was.
        path: PathBuf,
    },
    /// Bytes to be stored do not have the digest they should have (R122).
    #[error("expected {expected}, got {actual}")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// A record is larger than permitted.
    #[error("record {path} is larger than {size_bytes_max} bytes")]
    RecordTooLarge {
        /// Its file.
        path: PathBuf,
        /// The limit.
        size_bytes_max: u64,
    },
    /// A record does not have the shape the caller expects.
    #[error("encoding or decoding record {path}")]
    RecordShape {
        /// Its file.
        path: PathBuf,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// A file or directory could not be read.
    #[error("reading {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("writing {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

/// True if storage is full, by space or by quota.
pub(crate) fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl ArtifactsError {
    pub(super) fn read(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    pub(super) fn write(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }

    /// True if the device's storage is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Write { source, .. } if is_full(source))
    }

    /// True if the content is gone and has to be fetched again.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Damaged { .. })
    }

    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        let code = match self {
            Self::Missing { .. } | Self::Damaged { .. } => Code::ArtifactLost,
            Self::Mismatch { .. } => Code::ArtifactDigestMismatch,
            Self::Write { source, .. } if is_full(source) => Code::NoSpace,
            Self::Read { .. } | Self::Write { .. } => Code::StorageFailed,
            Self::Name { .. }
            | Self::RecordName { .. }
            | Self::RecordTooLarge { .. }
            | Self::RecordShape { .. } => Code::Internal,
        };
        let message = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Failure::new(code, message)
    }
}
