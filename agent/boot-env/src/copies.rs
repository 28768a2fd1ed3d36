//! The two copies: reading what counts, and changing it so that at every moment one of them is whole.
//!
//! The first copy counts as long as it can be read, for GRUB as for us. A change writes the first copy, waits until it
//! is on the medium, and then the second. A second copy that is damaged or stale is brought up to date before that.

use crate::block::SIZE_BYTES;
use crate::disk::{Copy, Disk};
use crate::env::Env;
use crate::error::CopiesError;

/// Both files as they are.
#[derive(Debug)]
pub struct Found {
    first: Side,
    second: Side,
}

/// One file as it is.
#[derive(Debug)]
struct Side {
    /// What it says, if it can be read.
    env: Result<Env, String>,
    /// Its bytes; `None` when it is missing.
    bytes: Option<Vec<u8>>,
}

impl Side {
    /// Whether the file has exactly these bytes.
    fn is(&self, bytes: &[u8]) -> bool {
        self.bytes.as_deref() == Some(bytes)
    }

    /// Whether it is what the other copy can be lost against: readable, and of the size that belongs there.
    fn is_whole(&self) -> bool {
        self.env.is_ok() && self.bytes.as_ref().is_some_and(|bytes| bytes.len() == SIZE_BYTES)
    }
}

impl Found {
    /// What counts, and the copy it is from: exactly what GRUB takes.
    ///
    /// # Errors
    /// [`CopiesError::BothDamaged`]
    pub fn current(&self) -> Result<(&Env, Copy), CopiesError> {
        match (&self.first.env, &self.second.env) {
            (Ok(env), _) => Ok((env, Copy::First)),
            (Err(_), Ok(env)) => Ok((env, Copy::Second)),
            (Err(first), Err(second)) => {
                Err(CopiesError::BothDamaged { first: first.clone(), second: second.clone() })
            }
        }
    }

    /// What is wrong with a copy, for people; `None` when nothing is.
    #[must_use]
    pub fn damage(&self, copy: Copy) -> Option<String> {
        let side = self.side(copy);
        match (&side.env, &side.bytes) {
            (Err(why), _) => Some(why.clone()),
            (Ok(_), Some(bytes)) if bytes.len() != SIZE_BYTES => Some(format!(
                "{}: it has {} bytes, not {SIZE_BYTES}",
                copy.file_name(),
                bytes.len()
            )),
            _ => None,
        }
    }

    /// Whether both copies are whole and say the same.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        let same = self.first.bytes == self.second.bytes;
        same && self.first.is_whole() && self.second.is_whole()
    }

    const fn side(&self, copy: Copy) -> &Side {
        match copy {
            Copy::First => &self.first,
            Copy::Second => &self.second,
        }
    }
}

/// Reads both copies.
///
/// # Errors
/// [`CopiesError::File`] when neither can be looked at for another reason than damage. One that cannot be read while the
/// other can counts as damaged.
pub fn read(disk: &impl Disk) -> Result<Found, CopiesError> {
    let side = |copy: Copy| match disk.read(copy) {
        Ok(Some(bytes)) => {
            let env = Env::parse(&bytes).map_err(|why| format!("{}: {why}", copy.file_name()));
            Ok(Side { env, bytes: Some(bytes) })
        }
        Ok(None) => Ok(Side { env: Err(format!("{} is missing", copy.file_name())), bytes: None }),
        Err(source) => Err(CopiesError::File { doing: "read", path: disk.path(copy), source }),
    };
    let unreadable = |error: &CopiesError| {
        let why = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
        // Not `None`: the file is there, and is written over when it is repaired.
        Side { env: Err(format!("{error}: {why}")), bytes: Some(Vec::new()) }
    };
    match (side(Copy::First), side(Copy::Second)) {
        (Ok(first), Ok(second)) => Ok(Found { first, second }),
        (Ok(first), Err(error)) => Ok(Found { first, second: unreadable(&error) }),
        (Err(error), Ok(second)) => Ok(Found { first: unreadable(&error), second }),
        (Err(error), Err(_)) => Err(error),
    }
}

/// What a change did.
#[derive(Debug)]
#[must_use]
pub enum Written {
    /// Everything was as it should be; nothing was written.
    Nothing,
    /// Both copies have the new content.
    Both,
    /// The first copy has it and that counts, but the second could not be written.
    FirstOnly(CopiesError),
}

/// Makes both copies say `env`. Writes only what differs.
///
/// # Errors
/// [`CopiesError::Encode`] before anything is written. [`CopiesError::File`] when the first copy could not be written:
/// then what counted before counts still, unless the medium tore a sector.
pub fn write(disk: &mut impl Disk, found: &Found, env: &Env) -> Result<Written, CopiesError> {
    let bytes = env.to_bytes()?;
    let [first_is_right, second_is_right] = Copy::ALL.map(|copy| found.side(copy).is(&bytes));
    if first_is_right && second_is_right {
        return Ok(Written::Nothing);
    }
    let mut second_failed = None;
    if !first_is_right && !second_is_right {
        // Should the first copy be torn, the second must say what counts now, and not what counted earlier. Should,
        // not must: a partition with one bad sector can still be written, as a sector is written whole or not at all.
        if let Ok(old) = &found.first.env {
            let old = old.to_bytes()?;
            if !found.second.is(&old) {
                second_failed = put(disk, Copy::Second, found, &old).err();
            }
        }
    }
    if !first_is_right {
        put(disk, Copy::First, found, &bytes)?;
    }
    if second_failed.is_none() && !second_is_right {
        second_failed = put(disk, Copy::Second, found, &bytes).err();
    }
    Ok(second_failed.map_or(Written::Both, Written::FirstOnly))
}

/// One copy, in place, on the medium when this returns.
fn put(
    disk: &mut impl Disk,
    copy: Copy,
    found: &Found,
    bytes: &[u8; SIZE_BYTES],
) -> Result<(), CopiesError> {
    let path = disk.path(copy);
    let failed = |doing| {
        let path = path.clone();
        move |source| CopiesError::File { doing, path, source }
    };
    let old = found.side(copy).bytes.as_ref();
    if old.is_none() {
        disk.create(copy).map_err(failed("create"))?;
    }
    disk.write(copy, bytes).map_err(failed("write"))?;
    if old.is_some_and(|old| old.len() > SIZE_BYTES) {
        disk.cut(copy, SIZE_BYTES).map_err(failed("cut"))?;
    }
    disk.sync(copy).map_err(failed("sync"))?;
    if old.is_none() {
        disk.sync_dir().map_err(failed("sync the directory of"))?;
    }
    Ok(())
}
