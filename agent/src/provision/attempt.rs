//! What the last attempt came to: kept until the next boot, for `margoctl status`.

use super::defect::Defect;
use super::package::read_file;
use super::places::Places;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Most defects kept and told (I11).
pub(super) const DEFECTS_MAX: usize = 32;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The package was installed.
    Installed,
    /// Everything in it was there already; nothing was written.
    Unchanged,
    /// The package is right and no news; the device stays as it is.
    Kept,
    /// It is right; it was only checked.
    Valid,
    /// It is wrong, or could not be installed.
    Refused,
}

impl Outcome {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Valid => "valid",
            Self::Refused => "refused",
        }
    }
}

/// One attempt to provision the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Where the package came from.
    pub source: String,
    /// When, by the wall clock, right or wrong; milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The identity in the package, if it could be read.
    pub spiffe_id: Option<String>,
    /// Everything that is wrong with it.
    pub defects: Vec<Defect>,
    /// What is worth knowing all the same.
    pub notes: Vec<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.outcome.as_str())?;
        if let Some(id) = &self.spiffe_id {
            write!(f, " ({id})")?;
        }
        for defect in &self.defects {
            write!(f, "\n{defect}\n  next: {}", defect.code.next_action())?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl Places {
    /// The last attempt since the boot; `None` if there was none, or its record cannot be read.
    pub fn last_attempt(&self) -> Option<Attempt> {
        let bytes = read_file(&self.attempt_file()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps an attempt until the next boot. Not synced: the directory is in memory.
    pub(super) fn keep_attempt(&self, attempt: &Attempt) -> io::Result<()> {
        let file = self.attempt_file();
        let draft = file.with_extension("new");
        std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
        std::fs::write(&draft, serde_json::to_vec(attempt)?)?;
        std::fs::rename(&draft, &file)
    }
}
