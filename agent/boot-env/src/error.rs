//! Errors, named after what was being done; each says which file and what to do next.

use std::io;
use std::path::PathBuf;

/// Why 1024 bytes are no environment block, or variables cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The header is missing: GRUB says "invalid environment block".
    #[error("it does not begin with the header of a GRUB environment block")]
    NoHeader,
    /// The variables do not fit into the first sector.
    #[error(
        "the variables need {size_bytes} bytes and 512 is the most that a power cut cannot tear: \
         remove variables that are not ours"
    )]
    TooLong {
        /// Size of header and variables.
        size_bytes: usize,
    },
    /// A name that GRUB would read as something else.
    #[error("{name:?} cannot be the name of a variable")]
    BadName {
        /// The name.
        name: String,
    },
}

/// Why a readable block is not a boot environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The bytes are no block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A variable is missing or has a value that does not exist.
    #[error("the variable {name} is {found}, not {expected}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it holds.
        found: String,
        /// What it could hold.
        expected: &'static str,
    },
}

/// Why the boot environment could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// A file operation failed.
    #[error("cannot {doing} {}: check that the partition env is mounted there and writable", path.display())]
    File {
        /// `read`, `create`, `write`, `cut` or `sync`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Neither copy can be read. Nothing was written.
    #[error(
        "neither copy can be read ({first}; {second}): run `margo-boot-env heal`, which makes new ones"
    )]
    BothDamaged {
        /// What is wrong with the first.
        first: String,
        /// What is wrong with the second.
        second: String,
    },
    /// The new content cannot be written as a block. Nothing was written.
    #[error("cannot encode the boot environment")]
    Encode(#[from] BlockError),
}

/// Why another writer was not waited for any longer.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file cannot be made.
    #[error("cannot open the lock file {}: check that its directory exists and is writable", path.display())]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process held it all the time.
    #[error(
        "another process has held the lock {} for {waited_secs} s: look for a hanging margo-boot-env and end it",
        path.display()
    )]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        waited_secs: u64,
    },
}
