//! Whether a slot's partition holds a complete root image, on the medium and whatever a cut leaves of unflushed writes.
//!
//! Complete means: equal, sector for sector, to an image that a slot can hold. Nothing less would do: a kernel that can be
//! loaded says nothing about the rest of the file system.

use crate::disk::{Piece, Place, SECTOR_BYTES};
use crate::error::ReplayError;
use crate::log::{Log, file_error};
use margo_boot_env::env::Slot;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const CHUNK_BYTES: u64 = 1024 * 1024;

/// What a span writes to the parts that GRUB looks at.
#[derive(Debug)]
pub struct WrittenTo {
    /// To the boot environment's partition.
    pub env: Vec<Piece>,
    /// To slots A and B.
    pub roots: [Vec<Piece>; 2],
}

/// An image, and where a slot differs from it.
#[derive(Debug)]
struct Image {
    file: File,
    path: PathBuf,
    /// By sector of the image.
    differs: Vec<bool>,
    /// How many of these are true.
    differing: usize,
}

/// Both slots.
#[derive(Debug)]
pub struct Slots<'log> {
    log: &'log Log,
    places: [Place; 2],
    /// For each slot all images.
    images: [Vec<Image>; 2],
}

impl<'log> Slots<'log> {
    /// The slots as in the disk `base`.
    ///
    /// # Errors
    /// [`ReplayError::File`], [`ReplayError::Usage`] when an image does not fit into a slot
    pub fn new(
        log: &'log Log,
        base: &Path,
        images: &[PathBuf],
        places: [Place; 2],
    ) -> Result<Self, ReplayError> {
        let of = |place| images.iter().map(|path| Image::new(path, base, place)).collect();
        let [a, b] = places;
        let images: [Result<Vec<Image>, ReplayError>; 2] = [of(a), of(b)];
        let [a, b] = images;
        Ok(Self { log, places, images: [a?, b?] })
    }

    /// Where they are.
    #[must_use]
    pub const fn places(&self) -> [Place; 2] {
        self.places
    }

    /// These pieces are on the medium for good.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn settle(&mut self, pieces: &[Vec<Piece>; 2]) -> Result<(), ReplayError> {
        for (images, pieces) in self.images.iter_mut().zip(pieces) {
            for piece in pieces {
                let bytes = piece.bytes(self.log)?;
                for image in images.iter_mut() {
                    let differs = image.differs(piece.sector, &bytes)?;
                    image.note(piece.sector, differs);
                }
            }
        }
        Ok(())
    }

    /// Whether slots A and B are complete, whichever of these pieces a cut leaves on the medium.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn are_complete(&self, pieces: &[Vec<Piece>; 2]) -> Result<[bool; 2], ReplayError> {
        let [a, b] = &self.images;
        let [to_a, to_b] = pieces;
        Ok([self.is_complete(a, to_a)?, self.is_complete(b, to_b)?])
    }

    fn is_complete(&self, images: &[Image], pieces: &[Piece]) -> Result<bool, ReplayError> {
        for image in images.iter().filter(|image| image.differing == 0) {
            let mut changed = false;
            for piece in pieces {
                changed |= image.differs(piece.sector, &piece.bytes(self.log)?)?;
            }
            if !changed {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The number of a slot in pairs.
#[must_use]
pub const fn number(slot: Slot) -> usize {
    match slot {
        Slot::A => 0,
        Slot::B => 1,
    }
}

impl Image {
    fn new(path: &Path, base: &Path, place: Place) -> Result<Self, ReplayError> {
        let error = |source| file_error("read the root image", path, source);
        let file = File::open(path).map_err(error)?;
        let size_bytes = file.metadata().map_err(error)?.len();
        let sector = u64::try_from(SECTOR_BYTES).unwrap_or(u64::MAX);
        if size_bytes == 0 || size_bytes % sector != 0 || size_bytes > place.size_bytes {
            let text = format!(
                "--slot-image {}: {size_bytes} bytes are no root image for a slot of {} bytes",
                path.display(),
                place.size_bytes
            );
            return Err(ReplayError::Usage(text));
        }
        let mut image = Self { file, path: path.to_path_buf(), differs: Vec::new(), differing: 0 };
        let base_error = |source| file_error("read", base, source);
        let mut slot = File::open(base).map_err(base_error)?;
        slot.seek(SeekFrom::Start(place.offset)).map_err(base_error)?;
        let mut slot = slot.take(size_bytes);
        let mut at = 0;
        while at < size_bytes {
            let length = CHUNK_BYTES.min(size_bytes - at);
            let mut there = vec![0; usize::try_from(length).unwrap_or_default()];
            let mut wanted = there.clone();
            slot.read_exact(&mut there).map_err(base_error)?;
            image.file.read_exact_at(&mut wanted, at).map_err(error)?;
            let sectors = there.chunks(SECTOR_BYTES).zip(wanted.chunks(SECTOR_BYTES));
            image.differs.extend(sectors.map(|(there, wanted)| there != wanted));
            at += length;
        }
        image.differing = image.differs.iter().filter(|differs| **differs).count();
        Ok(image)
    }

    /// Whether a sector with this content would not be the image's. Behind the image anything may lie.
    fn differs(&self, sector: u64, bytes: &[u8; SECTOR_BYTES]) -> Result<bool, ReplayError> {
        if usize::try_from(sector).is_ok_and(|sector| sector >= self.differs.len()) {
            return Ok(false);
        }
        let mut wanted = [0; SECTOR_BYTES];
        let at = sector.saturating_mul(u64::try_from(SECTOR_BYTES).unwrap_or(u64::MAX));
        let read = self.file.read_exact_at(&mut wanted, at);
        read.map_err(|source| file_error("read the root image", &self.path, source))?;
        Ok(wanted != *bytes)
    }

    fn note(&mut self, sector: u64, differs: bool) {
        let Ok(sector) = usize::try_from(sector) else { return };
        if let Some(was) = self.differs.get_mut(sector) {
            self.differing -= usize::from(*was);
            self.differing += usize::from(differs);
            *was = differs;
        }
    }
}
