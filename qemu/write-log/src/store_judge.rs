//! The agent's durable state as it finds it after a power cut: ext4's journal is replayed, then its own store opens the
//! files.

use crate::error::ReplayError;
use crate::log::file_error;
use crate::tools::Tools;
use margo_agent::store::{Condition, Store};
use state_machine::state::Durable;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What was found over all states.
#[derive(Debug, Default)]
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
) -> Result<(), ReplayError> {
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
    match Store::open::<Durable>(&out.join(last)) {
        Ok((store, loaded)) => {
            match loaded.condition {
                Condition::Fresh => figures.fresh += 1,
                Condition::Lost { .. } => figures.unreadable += 1,
                Condition::Healed { .. } | Condition::Unhealed { .. } => figures.healed += 1,
                Condition::Intact => {}
            }
            if loaded.document.is_some() {
                *figures.generations.entry(store.generation()).or_default() += 1;
            }
        }
        Err(_) => figures.unreadable += 1,
    }
    Ok(())
}
