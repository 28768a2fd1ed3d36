//! One partition as a file, put into one state after the other.
//!
//! The file holds what is on the medium for certain; a state's pieces are written over that and taken away again.

use crate::error::ReplayError;
use crate::log::{Entry, Log, file_error};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::{File, OpenOptions};
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// The same, for sums of places.
const SECTOR: u64 = 512;
const COPY_BYTES: usize = 1024 * 1024;

/// Sectors settled at a time: what they were before is kept in memory.
const SETTLED_AT_ONCE: usize = 4096;

/// One sector's worth of a write.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Number of the sector within the partition.
    pub sector: u64,
    data_at: Option<u64>,
}

impl Piece {
    /// What is written.
    ///
    /// # Errors
    /// [`ReplayError::Format`] when the log ends early.
    pub fn bytes(&self, log: &Log) -> Result<[u8; SECTOR_BYTES], ReplayError> {
        let mut bytes = [0; SECTOR_BYTES];
        if let Some(at) = self.data_at {
            log.data(at, &mut bytes)?;
        }
        Ok(bytes)
    }
}

/// The pieces of a write that lie within a place of the disk.
#[must_use]
pub fn pieces_within(entry: &Entry, place: Place) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for index in 0..entry.size_bytes / SECTOR {
        let to = entry.to.saturating_add(index * SECTOR);
        let Some(sector) = to.checked_sub(place.offset).map(|at| at / SECTOR) else { continue };
        if sector < place.size_bytes / SECTOR {
            let data_at = entry.data_at.map(|at| at.saturating_add(index * SECTOR));
            pieces.push(Piece { sector, data_at });
        }
    }
    pieces
}

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}

/// A partition.
#[derive(Debug)]
pub struct Disk<'log> {
    log: &'log Log,
    file: File,
    path: PathBuf,
    place: Place,
    /// Stands for the whole durable content: the states' names are differences to it.
    name: u64,
}

impl<'log> Disk<'log> {
    /// Copies the partition at `offset` of `size_bytes` (to the end if `None`) from the disk image the recording
    /// started with.
    ///
    /// # Errors
    /// [`ReplayError::File`]
    pub fn new(
        log: &'log Log,
        base: &Path,
        offset: u64,
        size_bytes: Option<u64>,
        path: &Path,
    ) -> Result<Self, ReplayError> {
        let error = |source| file_error("copy the partition from", base, source);
        let mut from = File::open(base).map_err(error)?;
        let length = from.metadata().map_err(error)?.len().saturating_sub(offset);
        let size_bytes = size_bytes.unwrap_or(length);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|source| file_error("create", path, source))?;
        file.set_len(size_bytes).map_err(|source| file_error("create", path, source))?;
        from.seek(SeekFrom::Start(offset)).map_err(error)?;
        let mut from = from.take(size_bytes);
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let got = from.read(&mut buffer).map_err(error)?;
            let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
            // Holes stay holes.
            let done = if bytes.iter().all(|byte| *byte == 0) {
                file.seek_relative(i64::try_from(got).unwrap_or(i64::MAX))
            } else {
                file.write_all(bytes)
            };
            done.map_err(|source| file_error("write", path, source))?;
        }
        let path = path.to_path_buf();
        Ok(Self { log, file, path, place: Place { offset, size_bytes }, name: 0 })
    }

    /// The file, as it is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pieces of a write that lie within the partition.
    #[must_use]
    pub fn pieces(&self, entry: &Entry) -> Vec<Piece> {
        pieces_within(entry, self.place)
    }

    /// These pieces are on the medium for good.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn settle(&mut self, pieces: &[Piece]) -> Result<(), ReplayError> {
        for some in pieces.chunks(SETTLED_AT_ONCE) {
            let (_, difference) = self.put(some)?;
            self.name ^= difference;
        }
        Ok(())
    }

    /// Puts the disk into a state; returns a name that is the same for the same content, and how to go back.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn enter(&mut self, pieces: &[Piece]) -> Result<(u64, Undo), ReplayError> {
        let (undo, difference) = self.put(pieces)?;
        Ok((self.name ^ difference, undo))
    }

    /// Goes back to what is on the medium for certain.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn leave(&mut self, undo: Undo) -> Result<(), ReplayError> {
        for (sector, bytes) in undo.0 {
            self.write(sector, &bytes)?;
        }
        Ok(())
    }

    /// Writes a file over the beginning of a place within, for what changes the disk behind this one's back.
    ///
    /// # Errors
    /// [`ReplayError::File`]
    pub fn restore(&self, from: &Path, to: Place) -> Result<(), ReplayError> {
        let error = |source| file_error("copy", from, source);
        let mut from_file = File::open(from).map_err(error)?.take(to.size_bytes);
        let mut buffer = vec![0; COPY_BYTES];
        let mut was = vec![0; COPY_BYTES];
        let mut at = to.offset;
        loop {
            let got = from_file.read(&mut buffer).map_err(error)?;
            let (Some(bytes), Some(was)) = (buffer.get(..got), was.get_mut(..got)) else { break };
            if bytes.is_empty() {
                break;
            }
            self.file.read_exact_at(was, at).map_err(error)?;
            // Holes stay holes.
            if was != bytes {
                self.file.write_all_at(bytes, at).map_err(error)?;
            }
            at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Writes pieces in order; returns what was there, and the difference in the content's name.
    fn put(&mut self, pieces: &[Piece]) -> Result<(Undo, u64), ReplayError> {
        let mut old = BTreeMap::new();
        let mut new = BTreeMap::new();
        for piece in pieces {
            new.insert(piece.sector, piece.bytes(self.log)?);
        }
        let mut difference = 0;
        for (sector, bytes) in &new {
            let mut was = [0; SECTOR_BYTES];
            let read = self.file.read_exact_at(&mut was, sector * SECTOR);
            read.map_err(|source| file_error("read", &self.path, source))?;
            if was != *bytes {
                difference ^= name_of(*sector, &was) ^ name_of(*sector, bytes);
                self.write(*sector, bytes)?;
                old.insert(*sector, was);
            }
        }
        Ok((Undo(old), difference))
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<(), ReplayError> {
        let written = self.file.write_all_at(bytes, sector * SECTOR);
        written.map_err(|source| file_error("write", &self.path, source))
    }
}

/// How to leave a state.
#[derive(Debug)]
#[must_use]
pub struct Undo(BTreeMap<u64, [u8; SECTOR_BYTES]>);

fn name_of(sector: u64, bytes: &[u8; SECTOR_BYTES]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (sector, bytes).hash(&mut hasher);
    hasher.finish()
}
