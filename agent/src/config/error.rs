//! What can be wrong with the configuration: always with file, line and key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most errors told at once (I11).
pub(super) const ERRORS_MAX: usize = 20;

/// A line of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The fragment.
    pub file: Arc<Path>,
    /// Counting from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A directory of fragments could not be listed.
    #[error("cannot list {}", path.display())]
    ListDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A fragment could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The fragment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory holds too many fragments.
    #[error("{} holds more than {files_max} fragments", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
        /// The limit.
        files_max: usize,
    },
    /// A fragment is too large.
    #[error("{} is larger than {size_bytes_max} bytes", path.display())]
    TooLarge {
        /// The fragment.
        path: PathBuf,
        /// The limit.
        size_bytes_max: usize,
    },
    /// A fragment is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key {key}{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key, with its tables.
        key: String,
        /// A known key of nearly the same name.
        suggestion: Option<String>,
    },
    /// A key has a value of the wrong type.
    #[error("{place}: {key} must be {expected}, not {found}")]
    WrongType {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: &'static str,
    },
    /// A number is out of its range.
    #[error("{place}: {key} is {value}, but must be {min} to {max}")]
    OutOfRange {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Least allowed.
        min: String,
        /// Most allowed.
        max: String,
    },
    /// A value does not follow its rule.
    #[error("{place}: {key} is {value:?}: {why}")]
    Invalid {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The value, cut if long.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A table lacks a key it needs.
    #[error("{place}: {key} is missing")]
    Missing {
        /// Where the table is.
        place: Place,
        /// The key.
        key: String,
    },
    /// Values that are right alone do not fit together.
    #[error("{place}: {why}")]
    Conflict {
        /// Where the later of them was set.
        place: Place,
        /// Which ones, and how.
        why: String,
    },
    /// The agent asks for a key in a way its own table does not allow.
    #[error("the agent's table of keys does not fit {key}; this is a mistake in the agent")]
    Table {
        /// The key.
        key: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

/// Everything that is wrong, at most so many that a person can read it. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", crate::logging::ErrorChain(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
