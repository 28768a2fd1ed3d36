//! Blobs by digest.

use super::digest::{self, Hasher};
use super::durable;
use super::error::ArtifactsError;
use state_machine::ids::Digest;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Damaged files kept for a person to look at; more are deleted.
const DAMAGED_KEPT_MAX: usize = 8;

/// The store. Cheap to clone; several clones may be used at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    root: PathBuf,
}

impl Artifacts {
    /// Opens or makes the store below `root` and removes what interrupted writes left behind.
    ///
    /// # Errors
    /// The directories cannot be made or read. Nothing can be applied without them; try again later.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ArtifactsError> {
        let store = Self { root: root.into() };
        for directory in [store.blobs(), store.tmp(), store.damaged(), store.root.join("records")] {
            durable::make_directory(&directory)?;
        }
        for stale in durable::list(&store.tmp())? {
            durable::remove(&stale)?;
        }
        Ok(store)
    }

    /// Stores bytes and returns their digest. Bytes that are already there are not written again.
    ///
    /// # Errors
    /// A failed write; the store is as before.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ArtifactsError> {
        let digest = digest::of(bytes);
        if self.is_intact(&digest)? {
            return Ok(digest);
        }
        durable::write(&self.tmp(), &self.path(&digest)?, bytes)?;
        Ok(digest)
    }

    /// Stores a finished file made by [`Self::temp_file`], after checking that it hashes to `expected`.
    ///
    /// # Errors
    /// [`ArtifactsError::Mismatch`] (the file is deleted), or a failed read or write.
    pub fn put_file(&self, temp: NamedTempFile, expected: &Digest) -> Result<(), ArtifactsError> {
        let dest = self.path(expected)?;
        let mut reader =
            temp.reopen().map_err(|source| ArtifactsError::read(temp.path(), source))?;
        let actual =
            hash(&mut reader).map_err(|source| ArtifactsError::read(temp.path(), source))?;
        if actual != *expected {
            return Err(ArtifactsError::Mismatch { expected: expected.clone(), actual });
        }
        durable::persist(temp, &dest)
    }

    /// A new file on the store's own file system, deleted when dropped.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn temp_file(&self) -> Result<NamedTempFile, ArtifactsError> {
        durable::temp_file(&self.tmp())
    }

    /// The bytes with this digest, verified.
    ///
    /// # Errors
    /// [`ArtifactsError::Missing`] or [`ArtifactsError::Damaged`]: fetch it again.
    pub fn get(&self, wanted: &Digest) -> Result<Vec<u8>, ArtifactsError> {
        let (mut file, path) = self.open_blob(wanted)?;
        let mut bytes = Vec::new();
        match file.read_to_end(&mut bytes) {
            Ok(_) if digest::of(&bytes) == *wanted => Ok(bytes),
            Ok(_) | Err(_) => Err(self.set_aside(&path)),
        }
    }

    /// The blob with this digest as a file at its start, its whole content verified just now.
    ///
    /// # Errors
    /// [`ArtifactsError::Missing`] or [`ArtifactsError::Damaged`]: fetch it again.
    pub fn open_verified(&self, wanted: &Digest) -> Result<File, ArtifactsError> {
        let (mut file, path) = self.open_blob(wanted)?;
        match hash(&mut file) {
            Ok(actual) if actual == *wanted => {}
            Ok(_) | Err(_) => return Err(self.set_aside(&path)),
        }
        file.seek(SeekFrom::Start(0)).map_err(|source| ArtifactsError::read(path, source))?;
        Ok(file)
    }

    /// True if a file with this name exists; its content is not looked at.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_ok_and(|path| path.is_file())
    }

    /// True if the blob exists and its content is right; a damaged one is moved aside.
    ///
    /// # Errors
    /// A bad name, or a file that exists but cannot be opened.
    pub fn is_intact(&self, digest: &Digest) -> Result<bool, ArtifactsError> {
        match self.open_verified(digest) {
            Ok(_) => Ok(true),
            Err(error) if error.is_lost() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the blob is or would be.
    ///
    /// # Errors
    /// `digest` is not of the one permitted form, and must not become a file name.
    pub fn path(&self, digest: &Digest) -> Result<PathBuf, ArtifactsError> {
        match digest::parse(digest.as_str()) {
            Ok(_) => Ok(self.blobs().join(digest::hex_of(digest).unwrap_or_default())),
            Err(source) => Err(ArtifactsError::Name { digest: digest.clone(), source }),
        }
    }

    /// Deletes every blob that is not in `keep` and returns how many were deleted.
    ///
    /// # Errors
    /// The first file that could not be deleted, after trying all of them.
    pub fn gc(&self, keep: &BTreeSet<Digest>) -> Result<usize, ArtifactsError> {
        let kept: BTreeSet<&str> = keep.iter().filter_map(digest::hex_of).collect();
        let mut removed = 0_usize;
        let mut first_error = None;
        for path in durable::list(&self.blobs())? {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| kept.contains(name)) {
                continue;
            }
            match durable::remove(&path) {
                Ok(_) => removed = removed.saturating_add(1),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.trim_damaged()?;
        first_error.map_or(Ok(removed), Err)
    }

    fn open_blob(&self, wanted: &Digest) -> Result<(File, PathBuf), ArtifactsError> {
        let path = self.path(wanted)?;
        match File::open(&path) {
            Ok(file) => Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ArtifactsError::Missing { digest: wanted.clone() })
            }
            Err(source) => Err(ArtifactsError::read(path, source)),
        }
    }

    /// Moves a damaged file out of the way, so that it counts as absent, and says so.
    pub(super) fn set_aside(&self, path: &Path) -> ArtifactsError {
        let name = path.file_name().unwrap_or_default();
        let moved = std::fs::rename(path, self.damaged().join(name));
        match moved.map_err(|source| ArtifactsError::write(path, source)) {
            Ok(()) => match durable::sync_parent(path) {
                Ok(()) => ArtifactsError::Damaged { path: path.to_path_buf() },
                Err(error) => error,
            },
            Err(error) => error,
        }
    }

    fn trim_damaged(&self) -> Result<(), ArtifactsError> {
        for path in durable::list(&self.damaged())?.into_iter().skip(DAMAGED_KEPT_MAX) {
            durable::remove(&path)?;
        }
        Ok(())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

fn hash(reader: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        match buffer.get(..count) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            _ => return Ok(hasher.finish()),
        }
    }
}
