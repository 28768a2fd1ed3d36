//! Why a trust bundle cannot be used. The bundle in use stays in use (R067).

use super::leaf::LeafRule;
use state_machine::failure::{Code, Failure};
use std::io;
use std::path::PathBuf;

/// A rejected trust bundle.
#[derive(Debug, thiserror::Error)]
pub enum TrustBundleError {
    /// The file cannot be read.
    #[error("reading trust bundle {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A file that was read does not hold a usable bundle.
    #[error("trust bundle {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        #[source]
        source: Box<Self>,
    },
    /// Larger than permitted.
    #[error("trust bundle is larger than {size_bytes_max} bytes")]
    TooLarge {
        /// The limit.
        size_bytes_max: usize,
    },
    /// Not a JWK Set.
    #[error("trust bundle is not a SPIFFE bundle document")]
    Json {
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// More keys than permitted.
    #[error("trust bundle has more than {keys_max} keys")]
    TooManyKeys {
        /// The limit.
        keys_max: usize,
    },
    /// An `x509-svid` key whose `x5c` is not one base64 certificate of an authority.
    #[error("trust bundle key {index}: {reason}")]
    Key {
        /// Position in `keys`, from 0.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// An anchor whose certificate is unreadable or whose key is not accepted.
    #[error("trust bundle key {index}")]
    Anchor {
        /// Position in `keys`, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        source: LeafRule,
    },
    /// There is nothing to trust (R065).
    #[error("trust bundle has no usable X.509 anchor")]
    NoAnchors,
}

impl TrustBundleError {
    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        Failure::new(Code::IdentityInvalid, chain(self))
    }
}

/// An error with everything below it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
