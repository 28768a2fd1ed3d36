//! Opening, healing and saving the document.
//!
//! Every write goes to the file that is not the newest: temporary file, fsync, rename, fsync of the
//! directory. So at every instant at least one complete state is readable (I2). A save of both copies
//! announces itself in its first file; found unfinished at opening, it is finished before the document is
//! handed out, so what was once seen cannot be taken back by losing one copy (I3).

use super::disk::{Disk, DiskFile as _, RealDisk};
use super::error::{Fault, StoreError, fault_of};
use super::format::{
    self, BODY_SIZE_BYTES_MAX, Defect, FILE_SIZE_BYTES_MAX, Header, Role, SCHEMA, Schema,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

/// Tells "nothing was ever saved" from "it is gone".
const MARKER: &str = "initialized";
const MARKER_TEXT: &[u8] = b"A margo-agent state was saved here. Without this file, missing state \
files would look like a new device.\n";

/// Damaged files kept aside for support, over both names.
const DAMAGED_KEPT_MAX: usize = 3;
const DAMAGED_INFIX: &str = ".damaged-";

/// How many copies a save writes before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// The older file only: the usual case, half the wear.
    One,
    /// Both files: for what must survive the loss of either (the accepted manifest version, I3).
    Both,
}

/// What opening found.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The newest valid document; `None` when [`Condition::Fresh`] or [`Condition::Lost`].
    pub document: Option<T>,
    /// In what state the files were.
    pub condition: Condition,
}

/// In what state the files were found, and what was done about it.
#[derive(Debug)]
pub enum Condition {
    /// Nothing was ever saved here.
    Fresh,
    /// All as it should be (an interrupted save is).
    Intact,
    /// One copy was damaged or missing and has been written anew from the other.
    Healed {
        /// Name of the damaged file.
        damaged_file: String,
        /// What was wrong with it.
        reason: String,
    },
    /// One copy is damaged or missing and could not be written anew (for example a read-only medium).
    Unhealed {
        /// Name of the damaged file.
        damaged_file: String,
        /// What was wrong with it.
        reason: String,
        /// Why it stays so.
        error: StoreError,
    },
    /// Something was saved here, and no copy is readable. Never treated as a new device.
    Lost {
        /// What is wrong with each file.
        reasons: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    const fn file(self) -> &'static str {
        match self {
            Self::A => "state-a",
            Self::B => "state-b",
        }
    }

    const fn temporary(self) -> &'static str {
        match self {
            Self::A => "state-a.tmp",
            Self::B => "state-b.tmp",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// One file, as read.
enum Copy<T> {
    Absent,
    Damaged(String),
    Valid { header: Header, body: Vec<u8>, document: T },
}

/// The durable document. Saving blocks until the disk says it is safe: call it off the event loop.
#[derive(Debug)]
pub struct Store<D: Disk = RealDisk> {
    disk: D,
    schema: Schema,
    /// The file that holds the newest durable state; `None` before the first save.
    newest: Option<Slot>,
    /// Of the last write attempted, whether or not it succeeded, so that no two writes share one.
    generation: u64,
    /// The second half of a save of both copies is still owed.
    mirror_due: bool,
    /// The marker is known to be on disk.
    marked: bool,
}

impl Store<RealDisk> {
    /// Opens, locks and if need be heals the state in `dir`, making the directory if it is missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] and [`StoreError::NewerSchema`] need a person. Damage is not an error: see
    /// [`Condition`].
    pub fn open<T: Serialize + DeserializeOwned>(
        dir: &Path,
    ) -> Result<(Self, Loaded<T>), StoreError> {
        Self::open_on(RealDisk::open(dir)?, SCHEMA)
    }
}

impl<D: Disk> Store<D> {
    /// [`Store::open`] on any disk, for a release with the given schema.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on<T: Serialize + DeserializeOwned>(
        disk: D,
        schema: Schema,
    ) -> Result<(Self, Loaded<T>), StoreError> {
        let marked = read(&disk, MARKER, MARKER_TEXT.len().saturating_mul(2))?.is_some();
        let a = read_copy::<D, T>(&disk, Slot::A, schema)?;
        let b = read_copy::<D, T>(&disk, Slot::B, schema)?;
        let mut store =
            Self { disk, schema, newest: None, generation: 0, mirror_due: false, marked };
        let loaded = match (a, b) {
            (Copy::Absent, Copy::Absent) if !marked => {
                Loaded { document: None, condition: Condition::Fresh }
            }
            (Copy::Valid { header, body, document }, other) => match other {
                Copy::Valid { header: h, body: b, document: d }
                    if h.generation > header.generation =>
                {
                    store.adopt(Slot::B, (h, b, d), None)
                }
                other => store.adopt(Slot::A, (header, body, document), fault(other, marked)),
            },
            (other, Copy::Valid { header, body, document }) => {
                store.adopt(Slot::B, (header, body, document), fault(other, marked))
            }
            (a, b) => store.lose(a, b),
        };
        Ok((store, loaded))
    }

    /// Takes over the newest valid copy, and repairs the other one if it needs it.
    fn adopt<T>(
        &mut self,
        slot: Slot,
        (header, body, document): (Header, Vec<u8>, T),
        other_fault: Option<String>,
    ) -> Loaded<T> {
        self.newest = Some(slot);
        self.generation = header.generation;
        self.mirror_due = header.role == Role::First;
        let damaged_file = slot.other().file().to_owned();
        let repaired = self.repair(slot.other(), &body, other_fault.is_some());
        let condition = match (other_fault, repaired) {
            (None, Ok(())) => Condition::Intact,
            (Some(reason), Ok(())) => Condition::Healed { damaged_file, reason },
            (reason, Err(error)) => Condition::Unhealed {
                damaged_file,
                reason: reason.unwrap_or_else(|| "its save was interrupted".into()),
                error,
            },
        };
        Loaded { document: Some(document), condition }
    }

    /// Writes what is missing. In the usual case that is nothing (I10).
    fn repair(&mut self, slot: Slot, body: &[u8], is_damaged: bool) -> Result<(), StoreError> {
        if is_damaged {
            self.set_aside(slot)?;
        }
        if is_damaged || self.mirror_due {
            self.write(slot, Role::Second, body)?;
            self.mirror_due = false;
        }
        self.mark()
    }

    fn lose<T>(&mut self, a: Copy<T>, b: Copy<T>) -> Loaded<T> {
        let mut reasons = Vec::new();
        for (slot, copy) in [(Slot::A, a), (Slot::B, b)] {
            let Some(reason) = fault(copy, true) else { continue };
            reasons.push(format!("{}: {reason}", slot.file()));
            // Kept for support where possible; the verdict does not depend on it, and the marker keeps
            // the verdict until something is saved.
            let set_aside = self.mark().and_then(|()| self.set_aside(slot));
            if let Err(error) = set_aside {
                reasons.push(error.to_string());
            }
        }
        Loaded { document: None, condition: Condition::Lost { reasons } }
    }

    /// Makes `document` the durable state. When this returns `Ok`, it survives power loss.
    ///
    /// # Errors
    /// The last saved state is untouched; [`StoreError::fault`] tells whether trying again can help.
    pub fn save<T: Serialize>(&mut self, document: &T, copies: Copies) -> Result<(), StoreError> {
        let body = serde_json::to_vec(document).map_err(|source| StoreError::Encode { source })?;
        if body.len() > BODY_SIZE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                size_bytes: body.len(),
                size_bytes_max: BODY_SIZE_BYTES_MAX,
            });
        }
        let target = self.newest.map_or(Slot::A, Slot::other);
        let is_first = self.newest.is_none();
        if copies == Copies::Both || is_first || self.mirror_due {
            self.write(target, Role::First, &body)?;
            self.mirror_due = true;
            self.write(target.other(), Role::Second, &body)?;
            self.mirror_due = false;
        } else {
            self.write(target, Role::Single, &body)?;
        }
        self.mark()
    }

    /// The generation of the last write, for status and logs.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn write(&mut self, slot: Slot, role: Role, body: &[u8]) -> Result<(), StoreError> {
        self.generation = self.generation.saturating_add(1);
        let header = Header { generation: self.generation, role, schema: self.schema };
        self.write_file(slot.temporary(), &format::encode(header, body))?;
        let to = slot.file();
        self.disk.rename(slot.temporary(), to).map_err(|source| failed("rename", to, source))?;
        self.disk.sync_dir().map_err(|source| failed("sync", ".", source))?;
        // Only now: after a failure the file not known to be durable is the one to write again.
        self.newest = Some(slot);
        Ok(())
    }

    fn write_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.disk.create(name).map_err(|source| failed("create", name, source))?;
        let result = file
            .write_all(bytes)
            .map_err(|source| failed("write", name, source))
            .and_then(|()| file.sync().map_err(|source| failed("sync", name, source)));
        if result.is_err() {
            // Gives the space back; the error that matters is the first one.
            let _ = self.disk.remove(name);
        }
        result
    }

    /// Writes the marker unless it is there. Only its existence counts, so it needs no rename; it comes
    /// after the first state, so an interrupted first save is a new device and not a lost one.
    fn mark(&mut self) -> Result<(), StoreError> {
        if self.marked {
            return Ok(());
        }
        self.write_file(MARKER, MARKER_TEXT)?;
        self.disk.sync_dir().map_err(|source| failed("sync", ".", source))?;
        self.marked = true;
        Ok(())
    }

    /// Moves a damaged file out of the way, keeping the newest few. A missing file needs nothing.
    fn set_aside(&mut self, slot: Slot) -> Result<(), StoreError> {
        let names = self.disk.list().map_err(|source| failed("list", ".", source))?;
        if !names.iter().any(|name| name == slot.file()) {
            return Ok(());
        }
        let mut kept: Vec<(u64, String)> = names.into_iter().filter_map(damaged_number).collect();
        kept.sort();
        let number = kept.last().map_or(1, |(number, _)| number.saturating_add(1));
        let aside = format!("{}{DAMAGED_INFIX}{number}", slot.file());
        self.disk
            .rename(slot.file(), &aside)
            .map_err(|source| failed("rename", slot.file(), source))?;
        let surplus = kept.len().saturating_add(1).saturating_sub(DAMAGED_KEPT_MAX);
        for (_, name) in kept.into_iter().take(surplus) {
            self.disk.remove(&name).map_err(|source| failed("remove", &name, source))?;
        }
        self.disk.sync_dir().map_err(|source| failed("sync", ".", source))
    }
}

fn failed(doing: &'static str, file: &str, source: io::Error) -> StoreError {
    StoreError::Write { doing, file: file.to_owned(), source }
}

/// What is wrong with the copy beside a valid one, if anything. Before the marker exists the very first save
/// has not ended, and an absent second file is only its missing half.
fn fault<T>(copy: Copy<T>, marked: bool) -> Option<String> {
    match copy {
        Copy::Absent => marked.then(|| "it is missing".into()),
        Copy::Damaged(reason) => Some(reason),
        Copy::Valid { .. } => None,
    }
}

/// The number of a file kept aside, or `None` for any other file.
fn damaged_number(name: String) -> Option<(u64, String)> {
    let (stem, number) = name.split_once(DAMAGED_INFIX)?;
    let number = number.parse().ok()?;
    Slot::BOTH.iter().any(|slot| slot.file() == stem).then_some((number, name))
}

/// Reads a file. `Err` inside is damage: a failing medium or a file too large to be ours.
fn read<D: Disk>(
    disk: &D,
    file: &str,
    size_bytes_max: usize,
) -> Result<Option<Result<Vec<u8>, String>>, StoreError> {
    match disk.read(file, size_bytes_max) {
        Ok(bytes) => Ok(bytes.map(Ok)),
        Err(error)
            if fault_of(&error) == Fault::Medium || error.kind() == io::ErrorKind::FileTooLarge =>
        {
            Ok(Some(Err(format!("it cannot be read: {error}"))))
        }
        Err(source) => Err(StoreError::Read { file: file.to_owned(), source }),
    }
}

fn read_copy<D: Disk, T: DeserializeOwned>(
    disk: &D,
    slot: Slot,
    schema: Schema,
) -> Result<Copy<T>, StoreError> {
    let bytes = match read(disk, slot.file(), FILE_SIZE_BYTES_MAX)? {
        None => return Ok(Copy::Absent),
        Some(Err(reason)) => return Ok(Copy::Damaged(reason)),
        Some(Ok(bytes)) => bytes,
    };
    match format::decode(&bytes, schema.version) {
        Ok((header, body)) => Ok(match serde_json::from_slice(body) {
            Ok(document) => Copy::Valid { header, body: body.to_vec(), document },
            Err(error) => Copy::Damaged(format!("its content cannot be understood: {error}")),
        }),
        Err(Defect::Damaged(reason)) => Ok(Copy::Damaged(reason)),
        Err(Defect::Newer(found)) => Err(StoreError::NewerSchema {
            file: slot.file().to_owned(),
            found: found.version,
            readable_by: found.readable_by,
            known: schema.version,
        }),
    }
}
