//! The file operations the boot environment is made of, and the real ones.
//!
//! The trait is small on purpose: tests replace it with a disk that loses or keeps each sector that was not synced.
//! Nothing here truncates a file that holds something, and nothing renames: GRUB reads the file system as it is on the
//! medium at that moment, without a journal.

use crate::block::READ_BYTES_MAX;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// `grubenv`: what counts as long as it can be read.
    First,
    /// `grubenv.bak`
    Second,
}

impl Copy {
    /// Both, in the order in which they are read.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// Name of the file, as in grub.cfg.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::First => "grubenv",
            Self::Second => "grubenv.bak",
        }
    }
}

/// A directory with the two files.
pub trait Disk {
    /// A file's bytes, at most [`READ_BYTES_MAX`] of them, or `None` when there is no such file.
    ///
    /// # Errors
    /// The system's error.
    fn read(&self, copy: Copy) -> io::Result<Option<Vec<u8>>>;

    /// Makes an empty file; a file that is there already is left as it is.
    ///
    /// # Errors
    /// The system's error.
    fn create(&mut self, copy: Copy) -> io::Result<()>;

    /// Writes over the file's beginning, in place.
    ///
    /// # Errors
    /// The system's error; nothing is known about these bytes then.
    fn write(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what lies behind `size_bytes`.
    ///
    /// # Errors
    /// The system's error.
    fn cut(&mut self, copy: Copy, size_bytes: usize) -> io::Result<()>;

    /// Makes the file's content and size durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync(&mut self, copy: Copy) -> io::Result<()>;

    /// Makes names durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&mut self) -> io::Result<()>;

    /// A file's path, for messages.
    fn path(&self, copy: Copy) -> PathBuf;
}

/// A directory of a mounted file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// The files in `dir`. Looks at nothing yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// A file open for writing in place: no `O_TRUNC`, or a power cut would find it empty.
    fn open(&self, copy: Copy) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path(copy))
    }
}

impl Disk for RealDisk {
    fn read(&self, copy: Copy) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(copy)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(u64::try_from(READ_BYTES_MAX).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn create(&mut self, copy: Copy) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.path(copy)).map(drop)
    }

    fn write(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()> {
        self.open(copy)?.write_all_at(bytes, 0)
    }

    fn cut(&mut self, copy: Copy, size_bytes: usize) -> io::Result<()> {
        self.open(copy)?.set_len(u64::try_from(size_bytes).unwrap_or(u64::MAX))
    }

    fn sync(&mut self, copy: Copy) -> io::Result<()> {
        // Another descriptor than the one that wrote: the kernel syncs files, not descriptors.
        self.open(copy)?.sync_data()
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, copy: Copy) -> PathBuf {
        self.dir.join(copy.file_name())
    }
}
