//! The agent's durable state as it finds it after a power cut: ext4's journal is replayed, then its own store opens the
//! files.

use crate::error::ReplayError;
use crate::log::file_error;
use crate::tools::Tools;
use margo_agent::store::{Condition, Store};
use serde::Serialize;
use state_machine::state::Durable;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What was found over all states.
#[derive(Debug, Default, Serialize)]
pub struct StoreFigures {
    /// States without a readable document, though there was one.
    pub unreadable: usize,
    /// States before the first save.
    pub fresh: usize,
    /// States in which one of the two files had to be healed.
    pub healed: usize,
    /// States whose file system the replay alone does not make right: it was repaired before the store was opened.
    pub unclean: usize,
    /// How often each generation was the newest.
    pub generations: BTreeMap<u64, usize>,
}

/// What the store says of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was a document, and none can be read.
    Unreadable,
    /// Nothing was saved yet.
    Fresh,
    /// This generation, from one file; the other one was damaged.
    Healed(u64),
    /// This generation (before a repair of an interrupted save of both files: the one after it).
    Intact(u64),
}

/// Judges the store in the directory `inside` of the ext4 partition in `image`; `dir` is a scratch directory the tools
/// see. The image itself is not changed.
///
/// # Errors
/// [`ReplayError`]
pub fn judge(
    tools: &mut Tools,
    image: &Path,
    inside: &str,
    dir: &Path,
    figures: &mut StoreFigures,
) -> Result<Found, ReplayError> {
    let (image, copy) = (image.display(), dir.join("replayed"));
    let copy = copy.display();
    let out = dir.join("store");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|source| file_error("empty", &out, source))?;
    }
    fs::create_dir(&out).map_err(|source| file_error("create", &out, source))?;
    let copied = tools.run(&format!("cp --sparse=always --reflink=auto '{image}' '{copy}'"))?;
    // 0: nothing to do; 1: the journal was replayed. More is a file system no kernel would mount.
    let replay = tools.run(&format!("e2fsck -y -E journal_only '{copy}'"))?;
    let clean = tools.run(&format!("e2fsck -fn '{copy}'"))?;
    if replay.status > 1 || clean.status != 0 {
        // For example a torn super block. The device's boot repairs that too, by `fsck.repair=yes`.
        figures.unclean += 1;
        tools.run(&format!("e2fsck -fy '{copy}'"))?;
    }
    let dumped = tools.run(&format!("debugfs -R 'rdump {inside} {}' '{copy}'", out.display()))?;
    if dumped.status != 0 || copied.status != 0 {
        let why = format!("status {} and {}", dumped.status, copied.status);
        return Err(ReplayError::Tools { command: "cp, debugfs".to_owned(), why });
    }
    // A directory that is not there yet is an empty one.
    let last = inside.rsplit('/').next().unwrap_or(inside);
    let (condition, document, generation) = match Store::open::<Durable>(&out.join(last)) {
        Ok((store, loaded)) => {
            (Some(loaded.condition), loaded.document.is_some(), store.generation())
        }
        Err(_) => (None, false, 0),
    };
    let found = match condition {
        None | Some(Condition::Lost { .. }) => Found::Unreadable,
        Some(Condition::Fresh) => Found::Fresh,
        Some(Condition::Healed { .. } | Condition::Unhealed { .. }) => Found::Healed(generation),
        Some(Condition::Intact) => Found::Intact(generation),
    };
    match found {
        Found::Unreadable => figures.unreadable += 1,
        Found::Fresh => figures.fresh += 1,
        Found::Healed(_) => figures.healed += 1,
        Found::Intact(_) => {}
    }
    if document {
        *figures.generations.entry(generation).or_default() += 1;
    }
    Ok(found)
}
