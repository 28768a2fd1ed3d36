//! What can be wrong with an archive, always naming the entry.

use state_machine::failure::{Code, Failure};
use std::io;
use std::path::PathBuf;

/// Longest entry name that is repeated in a message, in characters.
const SHOWN_NAME_CHARS_MAX: usize = 160;

/// The rule an archive or one of its entries breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Names start at the archive's root (R157).
    #[error("absolute path")]
    AbsolutePath,
    /// Names do not climb (R157).
    #[error("path contains `..`")]
    ParentComponent,
    /// Names are readable text.
    #[error("name is empty, not UTF-8, or contains a control character")]
    BadName,
    /// Names have limits (I11).
    #[error("name is too long or too deep")]
    NameTooLong,
    /// A path is said once.
    #[error("the same path appears twice")]
    Duplicate,
    /// Only files, directories, symbolic and hard links.
    #[error("entry is neither a file, a directory nor a link")]
    BadKind,
    /// Something other than a directory is used as one.
    #[error("a parent of this entry is not a directory")]
    ParentNotDirectory,
    /// Links stay inside the top directory (R157).
    #[error("link target leaves the top directory")]
    LinkEscapes,
    /// Links can be resolved.
    #[error("symbolic links form a loop or are nested too deeply")]
    LinkLoop,
    /// Hard links name an earlier file.
    #[error("hard link does not name an earlier file of this archive")]
    HardLinkTarget,
    /// Files have a size limit (I11).
    #[error("file is larger than permitted")]
    FileTooLarge,
    /// Extension headers that tools read differently are refused.
    #[error("ambiguous or oversized extension header")]
    BadExtension,
    /// Everything lives in one directory (R157).
    #[error("archive must hold exactly one top-level directory")]
    SeveralTops,
    /// The top-level entry is a directory.
    #[error("top-level entry is not a directory")]
    TopNotDirectory,
    /// The file is named exactly `compose.yaml` (R159).
    #[error("top-level directory has no regular file named exactly `compose.yaml`")]
    NoComposeFile,
    /// Archives have an entry limit (I11).
    #[error("archive has too many entries")]
    TooManyEntries,
    /// Archives have a size limit once decompressed (I11).
    #[error("archive is larger than permitted when decompressed")]
    TooLarge,
    /// Nothing hides behind the end.
    #[error("data follows the end of the archive")]
    TrailingData,
}

/// Why an archive was not extracted. Nothing is left behind at the destination.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// One entry breaks a rule.
    #[error("archive entry `{entry}`: {rule}")]
    Entry {
        /// The entry's name, escaped and cut.
        entry: String,
        /// What it breaks.
        rule: Rule,
    },
    /// The archive as a whole breaks a rule.
    #[error("{rule}")]
    Layout {
        /// What it breaks.
        rule: Rule,
    },
    /// Not a gzip-compressed tar, or cut short.
    #[error("reading archive")]
    Read {
        /// What the decompressor or tar reader said.
        #[source]
        source: io::Error,
    },
    /// The device could not write.
    #[error("writing {path}")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    pub(super) fn entry(name: &[u8], rule: Rule) -> Self {
        let text = String::from_utf8_lossy(name);
        let entry = text.escape_debug().take(SHOWN_NAME_CHARS_MAX).collect();
        Self::Entry { entry, rule }
    }

    pub(super) fn layout(rule: Rule) -> Self {
        Self::Layout { rule }
    }

    pub(super) fn write(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Write { path: path.into(), source: source.into() }
    }

    /// What the machine needs to know: a bad archive is refused, a full disk is retried.
    pub fn to_failure(&self) -> Failure {
        match self {
            Self::Entry { .. } | Self::Layout { .. } => {
                Failure::new(Code::ArchiveInvalid, self.to_string())
            }
            Self::Read { source } => {
                Failure::new(Code::ArchiveInvalid, format!("{self}: {source}"))
            }
            Self::Write { source, .. } => {
                let code = if source.kind() == io::ErrorKind::StorageFull
                    || source.kind() == io::ErrorKind::QuotaExceeded
                {
                    Code::NoSpace
                } else {
                    Code::Internal
                };
                Failure::new(code, format!("{self}: {source}"))
            }
        }
    }
}
