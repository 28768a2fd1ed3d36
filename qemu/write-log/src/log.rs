//! The log's format: a super block, then entries of one sector each, followed by what was written.
//!
//! Reads sizes and places, never the data itself: logs of whole devices are large.

use crate::error::ReplayError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The first eight bytes, little-endian.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// More entries are not believed (I11).
const ENTRIES_MAX: u64 = 50_000_000;

/// One thing the guest asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk, in bytes.
    pub to: u64,
    /// How many bytes.
    pub size_bytes: u64,
    /// Where in the log the data is, in bytes; `None` when zeros are meant.
    pub data_at: Option<u64>,
    /// All that was completed before is on the medium now.
    pub flush: bool,
    /// This write is on the medium when it completes.
    pub fua: bool,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    sector_bytes: u64,
    entries: u64,
}

impl Log {
    /// Opens a log and reads its super block.
    ///
    /// # Errors
    /// [`ReplayError::File`], [`ReplayError::Format`]
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|source| file_error("open", path, source))?;
        let mut log = Self { path: path.to_path_buf(), file, sector_bytes: 512, entries: 0 };
        let [magic, version, entries, sector_bytes] = log.words(0)?;
        // The last word has 32 bits; what follows is padding.
        let sector_bytes = sector_bytes & u64::from(u32::MAX);
        if magic != MAGIC || version != 1 {
            return Err(log.format(format!("it begins with {magic:#x}, version {version}")));
        }
        if !(512..=4096).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
            return Err(log.format(format!("sectors of {sector_bytes} bytes")));
        }
        if entries > ENTRIES_MAX {
            return Err(log.format(format!("{entries} entries")));
        }
        log.sector_bytes = sector_bytes;
        log.entries = entries;
        Ok(log)
    }

    /// All entries, in order.
    ///
    /// # Errors
    /// [`ReplayError::Format`] when the log ends early.
    pub fn entries(&self) -> Result<Vec<Entry>, ReplayError> {
        let mut at = self.sector_bytes;
        let mut entries = Vec::new();
        for index in 0..self.entries {
            let [sector, sectors, flags, data_bytes] = self.words(at)?;
            at = at.saturating_add(self.sector_bytes);
            let sizes =
                (sector.checked_mul(self.sector_bytes), sectors.checked_mul(self.sector_bytes));
            let (Some(to), Some(size_bytes)) = sizes else {
                return Err(self.format(format!("entry {index} writes beyond every disk")));
            };
            let has_data = flags & (DISCARD | MARK) == 0;
            entries.push(Entry {
                to,
                size_bytes: if flags & MARK == 0 { size_bytes } else { 0 },
                data_at: has_data.then_some(at),
                flush: flags & FLUSH != 0,
                fua: flags & FUA != 0,
            });
            if has_data {
                at = at.saturating_add(size_bytes);
            } else if flags & MARK != 0 {
                at = at.saturating_add(data_bytes.next_multiple_of(self.sector_bytes));
            }
        }
        Ok(entries)
    }

    /// Bytes of the log itself.
    ///
    /// # Errors
    /// [`ReplayError::Format`] when the log ends early.
    pub fn data(&self, at: u64, into: &mut [u8]) -> Result<(), ReplayError> {
        let read = self.file.read_exact_at(into, at);
        read.map_err(|source| self.format(format!("it ends before byte {at}: {source}")))
    }

    fn words(&self, at: u64) -> Result<[u64; 4], ReplayError> {
        let mut bytes = [0; 32];
        self.data(at, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let mut all = words.iter().map(|word| u64::from_le_bytes(*word));
        Ok(std::array::from_fn(|_| all.next().unwrap_or_default()))
    }

    fn format(&self, why: String) -> ReplayError {
        ReplayError::Format { path: self.path.clone(), why }
    }
}

/// An error with the file's name.
pub(crate) fn file_error(doing: &'static str, path: &Path, source: io::Error) -> ReplayError {
    ReplayError::File { doing, path: path.to_path_buf(), source }
}
