//! What can go wrong with a pull, told apart by what someone can do about it.

use super::reference::ReferenceError;
use super::registries::RegistrySetupError;
use crate::artifacts::ArtifactsError;
use crate::identity::error_chain;
use state_machine::failure::{Code, Failure, FailureClass};
use state_machine::ids::Digest;

/// A failed pull. What was already complete stays in the store.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The deployment's repository or revision is malformed.
    #[error("reference")]
    Reference {
        /// What is wrong.
        #[source]
        source: ReferenceError,
    },
    /// The registry's settings are unusable.
    #[error("registry settings")]
    Setup {
        /// What is wrong.
        #[source]
        source: RegistrySetupError,
    },
    /// No connection, a broken one, or an untrusted certificate.
    #[error("{what}")]
    Transport {
        /// What was being fetched from where.
        what: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke too often, or the whole pull took too long.
    #[error("{what}: gave up: {reason}")]
    GaveUp {
        /// What was being fetched from where.
        what: String,
        /// Why.
        reason: String,
    },
    /// The registry is busy or broken.
    #[error("{what}: registry answered {status}: {detail}")]
    Busy {
        /// What was being fetched from where.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the registry said, cut.
        detail: String,
        /// Not before this many milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// 401 or 403, also from the token server.
    #[error("{what}: access denied ({status}): {detail}")]
    Denied {
        /// What was being fetched from where.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the registry said, cut.
        detail: String,
    },
    /// No such repository, tag, manifest or blob.
    #[error("{what}: not found: {detail}")]
    NotFound {
        /// What was being fetched from where.
        what: String,
        /// What the registry said, cut.
        detail: String,
    },
    /// Another answer that makes no sense.
    #[error("{what}: {reason}")]
    Protocol {
        /// What was being fetched from where.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Content does not have the promised digest (R156).
    #[error("{what}: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was being fetched from where.
        what: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Larger than this device accepts.
    #[error("{what}: {size_bytes} bytes, at most {size_bytes_max} are accepted")]
    TooLarge {
        /// What was being fetched from where.
        what: String,
        /// Its size, as far as it is known.
        size_bytes: u64,
        /// The limit.
        size_bytes_max: u64,
    },
    /// The manifest is not of the kind of artifact that was asked for (R160).
    #[error("{what}: {reason}")]
    WrongKind {
        /// What was being fetched from where.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The artifact store failed.
    #[error("storing {what}")]
    Store {
        /// What was being stored.
        what: String,
        /// What is wrong.
        #[source]
        source: ArtifactsError,
    },
}

impl OciError {
    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        let message = error_chain(self);
        match self {
            Self::Reference { .. } => Failure::new(Code::DeploymentInvalid, message),
            Self::Setup { .. } => {
                Failure::new(Code::ArtifactPullFailed, message).with_class(FailureClass::Permanent)
            }
            Self::Transport { .. } | Self::GaveUp { .. } => {
                Failure::new(Code::ArtifactPullFailed, message)
            }
            Self::Busy { retry_after_ms, .. } => {
                Failure::new(Code::ArtifactPullFailed, message).retry_after(*retry_after_ms)
            }
            Self::Denied { .. } => Failure::new(Code::ArtifactAuthFailed, message),
            Self::NotFound { .. } => Failure::new(Code::ArtifactNotFound, message),
            Self::Protocol { .. } => {
                Failure::new(Code::ArtifactPullFailed, message).with_class(FailureClass::Permanent)
            }
            Self::DigestMismatch { .. } => Failure::new(Code::ArtifactDigestMismatch, message),
            Self::TooLarge { .. } => Failure::new(Code::ArtifactTooLarge, message),
            Self::WrongKind { .. } => Failure::new(Code::ArchiveInvalid, message),
            Self::Store { source, .. } => {
                let inner = source.to_failure();
                Failure::new(inner.code, message).with_class(inner.class)
            }
        }
    }

    pub(super) fn store(what: &str, source: ArtifactsError) -> Self {
        match source {
            ArtifactsError::Mismatch { expected, actual } => {
                Self::DigestMismatch { what: what.to_owned(), expected, actual }
            }
            source => Self::Store { what: what.to_owned(), source },
        }
    }
}
