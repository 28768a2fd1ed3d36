//! Errors of replaying a write log.

use std::io;
use std::path::PathBuf;

/// Why a write log could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file operation failed.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no write log, or one of another kind.
    #[error("{} is no write log: {why}; record it with QEMU's blklogwrites and log-sector-size=512", path.display())]
    Format {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The image tools do not answer.
    #[error("the command {command:?} of the image tools failed: {why}; check --tools")]
    Tools {
        /// What was run.
        command: String,
        /// What it said.
        why: String,
    },
    /// A word on the command line.
    #[error("{0}; --help lists the options")]
    Usage(String),
}
