//! How much of an archive this device is willing to read, and the reader that enforces it.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Limits of one archive (I11). The defaults suit compose projects: text, configuration, a few small files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Entries of any kind.
    pub entries_max: usize,
    /// Decompressed bytes of the whole tar stream, headers and padding included.
    pub total_size_bytes_max: u64,
    /// Bytes of one file.
    pub file_size_bytes_max: u64,
    /// Bytes of one entry's whole path or link target.
    pub path_bytes_max: usize,
    /// Components of one entry's path.
    pub depth_max: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            entries_max: 4096,
            total_size_bytes_max: 64 << 20,
            file_size_bytes_max: 32 << 20,
            path_bytes_max: 1024,
            depth_max: 16,
        }
    }
}

/// Passes bytes through until the limit, then fails and remembers that the limit was the reason.
pub(super) struct BoundedReader<R> {
    inner: R,
    left_bytes: u64,
    exceeded: Rc<Cell<bool>>,
}

impl<R: Read> BoundedReader<R> {
    pub(super) fn new(inner: R, size_bytes_max: u64, exceeded: Rc<Cell<bool>>) -> Self {
        Self { inner, left_bytes: size_bytes_max, exceeded }
    }
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left_bytes.checked_sub(u64::try_from(count).unwrap_or(u64::MAX)) {
            Some(left) => {
                self.left_bytes = left;
                Ok(count)
            }
            None => {
                self.exceeded.set(true);
                Err(io::Error::other("archive is larger than permitted"))
            }
        }
    }
}
