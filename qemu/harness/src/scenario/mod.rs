//! Scenario files: their words, their parser, and the fault points they cover.

pub(crate) mod action;
pub(crate) mod coverage;
pub(crate) mod docs;
pub(crate) mod files;
pub(crate) mod line;
pub(crate) mod parse;
pub(crate) mod table;

use action::Action;
use std::path::PathBuf;
use std::time::Duration;

/// One step: a line of the file.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Line number in the file, from 1.
    pub(crate) line: usize,
    /// The line as written.
    pub(crate) text: String,
    /// What to do.
    pub(crate) action: Action,
    /// How long it may take.
    pub(crate) within: Duration,
}

/// A scenario as read from its file.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// What it shows, in one sentence.
    pub(crate) title: String,
    /// Fault points and invariants.
    pub(crate) covers: Vec<String>,
    /// What of the device it needs that not every image has.
    pub(crate) needs: Vec<String>,
    /// Too long, or too much like others, for every change; left out by `--quick`.
    pub(crate) is_nightly: bool,
    /// What it does.
    pub(crate) steps: Vec<Step>,
}
