//! The boot environment as GRUB finds it: GRUB's own file-system code reads the files, our library judges them.

use crate::error::ReplayError;
use crate::tools::Tools;
use margo_boot_env::block::{Block, SIZE_BYTES};
use margo_boot_env::env::Env;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What was found over all states.
#[derive(Debug, Default, Serialize)]
pub struct EnvFigures {
    /// States in which the first copy cannot be used.
    pub first_unreadable: usize,
    /// States in which neither can: GRUB has nothing but its defaults.
    pub unreadable: usize,
    /// How often each content was what counts.
    pub contents: BTreeMap<String, usize>,
}

/// Whose environment is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours: two copies, all variables there.
    Margo,
    /// `grub-editenv`'s: one file with a header and RAUC's variables.
    Stock,
}

/// Judges the partition in `image`.
///
/// # Errors
/// [`ReplayError::Tools`]
pub fn judge(
    tools: &mut Tools,
    image: &Path,
    kind: Kind,
    figures: &mut EnvFigures,
) -> Result<(), ReplayError> {
    let first = content(tools, image, "grubenv", kind)?;
    figures.first_unreadable += usize::from(first.is_none());
    let counts = match (first, kind) {
        (Some(content), _) => Some(content),
        (None, Kind::Stock) => None,
        (None, Kind::Margo) => content(tools, image, "grubenv.bak", kind)?,
    };
    match counts {
        Some(content) => *figures.contents.entry(content).or_default() += 1,
        None => figures.unreadable += 1,
    }
    Ok(())
}

/// What a file says, in one line; `None` when GRUB cannot use it.
fn content(
    tools: &mut Tools,
    image: &Path,
    name: &str,
    kind: Kind,
) -> Result<Option<String>, ReplayError> {
    let output = tools.run(&format!("grub-fstest '{}' cat /{name}", image.display()))?;
    if output.status != 0 || output.stdout.len() != SIZE_BYTES {
        return Ok(None);
    }
    Ok(match kind {
        Kind::Margo => Env::parse(&output.stdout).ok().map(|env| {
            let state =
                |state: margo_boot_env::env::State| format!("{}/{}", state.name(), state.tries());
            format!("first={} a={} b={}", env.first, state(env.a), state(env.b))
        }),
        Kind::Stock => Block::parse(&output.stdout).ok().and_then(|block| {
            let names = ["ORDER", "A_OK", "B_OK", "A_TRY", "B_TRY"];
            let values = names.map(|name| block.get(name).map(String::from_utf8_lossy));
            let all: Option<Vec<_>> = values.into_iter().collect();
            all.map(|values| values.join(" "))
        }),
    })
}
