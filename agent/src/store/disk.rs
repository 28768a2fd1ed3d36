//! The file operations the store is made of, and the real ones.
//!
//! The trait is small on purpose: tests replace it with a disk that forgets whatever was not synced.
//! The real disk holds an exclusive lock on its directory for as long as it lives.

use super::error::StoreError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Most directory entries looked at (I11).
const ENTRIES_MAX: usize = 4096;

/// One flat directory of files.
pub trait Disk {
    /// A file open for writing.
    type File: DiskFile;

    /// A file's bytes, or `None` when there is no such file.
    ///
    /// # Errors
    /// The system's error; a file longer than `size_bytes_max` is `FileTooLarge`.
    fn read(&self, name: &str, size_bytes_max: usize) -> io::Result<Option<Vec<u8>>>;

    /// Makes an empty file with mode 0600, or empties an existing one.
    ///
    /// # Errors
    /// The system's error.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Replaces `to` by `from` in one step. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The system's error.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&mut self) -> io::Result<()>;

    /// Names of all files.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self) -> io::Result<Vec<String>>;
}

/// A file open for writing.
pub trait DiskFile {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// The system's error; a part may have been written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The system's error; nothing is known about the content then.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory on a real file system, locked against other processes.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// Carries the lock and is what `sync_dir` syncs.
    dir: File,
}

impl RealDisk {
    /// Makes `path` (mode 0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process holds it, [`StoreError::OpenDir`] otherwise.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::OpenDir { path: path.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
        let dir = File::open(path).map_err(error)?;
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse { path: path.to_path_buf() }),
            Err(errno) => return Err(error(errno.into())),
        }
        let mode = dir.metadata().map_err(error)?.permissions().mode();
        // An existing directory may be open to others; what it holds is not for them. Written only when
        // needed, so that a read-only file system can still be read.
        if mode & 0o077 != 0 {
            dir.set_permissions(Permissions::from_mode(0o700)).map_err(error)?;
        }
        Ok(Self { path: path.to_path_buf(), dir })
    }
}

impl Disk for RealDisk {
    type File = File;

    fn read(&self, name: &str, size_bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(size_bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > size_bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)?.take(ENTRIES_MAX) {
            // Names that are not text are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

impl DiskFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)?;
        self.flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
