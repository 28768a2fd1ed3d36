//! Archives with the same bytes for the same content: sorted entries, no times, no owners.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Total size of a directory that is packed as an archive.
const PACKED_SIZE_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Entries of such a directory.
const ENTRIES_MAX: usize = 100_000;
/// Depth of such a directory.
const DEPTH_MAX: usize = 64;
/// gzip's "unknown" operating system, so that the header does not tell where it was made.
const GZIP_OS_UNKNOWN: u8 = 255;

/// Why a directory could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or directory could not be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written (to memory).
    #[error("cannot pack {path}", path = path.display())]
    Pack {
        /// The entry at fault.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// More than the lab packs.
    #[error("{path} has more than {limit}", path = path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// The limit that was exceeded.
        limit: &'static str,
    },
    /// The directory lacks a file it must have.
    #[error("{path} does not exist: {why}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why it is needed.
        why: &'static str,
    },
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory with its permission bits.
    Dir {
        /// Permission bits, such as 0o755.
        mode: u32,
    },
    /// A file.
    File {
        /// Permission bits, such as 0o644.
        mode: u32,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: PathBuf,
    },
}

impl Entry {
    /// An ordinary file that everyone may read.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self::File { mode: 0o644, bytes: bytes.into() }
    }

    /// A file that everyone may run.
    pub fn program(bytes: impl Into<Vec<u8>>) -> Self {
        Self::File { mode: 0o755, bytes: bytes.into() }
    }
}

/// Entries by their path in the archive; the order of the map is the order in the archive.
pub type Entries = BTreeMap<PathBuf, Entry>;

/// Packs entries into a tar archive.
///
/// # Errors
/// When an entry's path or link does not fit the format.
pub fn tar(entries: &Entries) -> Result<Vec<u8>, ArchiveError> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in entries {
        append(&mut builder, path, entry)
            .map_err(|source| ArchiveError::Pack { path: path.clone(), source })?;
    }
    builder.into_inner().map_err(|source| ArchiveError::Pack { path: PathBuf::new(), source })
}

fn append(builder: &mut Builder<Vec<u8>>, path: &Path, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Dir { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            builder.append_data(&mut header, path, io::empty())
        }
        Entry::File { mode, bytes } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            builder.append_data(&mut header, path, bytes.as_slice())
        }
        Entry::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path, target)
        }
    }
}

/// Compresses bytes without a time or name in the header.
///
/// # Errors
/// Never in practice: the target is memory.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let builder = GzBuilder::new().mtime(0).operating_system(GZIP_OS_UNKNOWN);
    let mut encoder = builder.write(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|source| ArchiveError::Pack { path: PathBuf::new(), source })
}

/// Packs entries into a gzip-compressed tar archive.
///
/// # Errors
/// When an entry's path or link does not fit the format.
pub fn tar_gz(entries: &Entries) -> Result<Vec<u8>, ArchiveError> {
    gzip(&tar(entries)?)
}

/// Reads the files of a small gzip-compressed tar archive that the lab itself packed.
///
/// # Errors
/// When it is no such archive.
pub(crate) fn read_files(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: PathBuf::from("an archive"), source };
    let mut files = BTreeMap::new();
    let decoder = GzDecoder::new(bytes).take(PACKED_SIZE_MAX_BYTES);
    let mut archive = tar::Archive::new(decoder);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(failed)?;
        files.insert(name, content);
    }
    Ok(files)
}

/// Reads a directory tree below `prefix`; modes keep their rwx bits only, links are kept as they are, other files are left out.
///
/// # Errors
/// When something cannot be read or is more than the lab packs.
pub fn read_dir(dir: &Path, prefix: &Path) -> Result<Entries, ArchiveError> {
    let mut walk = Walk { root: dir, entries: Entries::new(), size_bytes: 0 };
    walk.descend(dir, prefix, 0)?;
    Ok(walk.entries)
}

struct Walk<'a> {
    root: &'a Path,
    entries: Entries,
    size_bytes: u64,
}

impl Walk<'_> {
    fn descend(&mut self, dir: &Path, prefix: &Path, depth: usize) -> Result<(), ArchiveError> {
        if depth > DEPTH_MAX {
            return Err(self.too_large("64 levels"));
        }
        let failed = |source| ArchiveError::Read { path: dir.to_owned(), source };
        for item in fs::read_dir(dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            let (path, name) = (item.path(), prefix.join(item.file_name()));
            let failed = |source| ArchiveError::Read { path: path.clone(), source };
            let meta = fs::symlink_metadata(&path).map_err(failed)?;
            let mode = meta.permissions().mode() & 0o777;
            if self.entries.len() >= ENTRIES_MAX {
                return Err(self.too_large("100000 entries"));
            }
            if meta.is_dir() {
                self.entries.insert(name.clone(), Entry::Dir { mode });
                self.descend(&path, &name, depth + 1)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(failed)?;
                self.entries.insert(name, Entry::Symlink { target });
            } else if meta.is_file() {
                self.size_bytes = self.size_bytes.saturating_add(meta.len());
                if self.size_bytes > PACKED_SIZE_MAX_BYTES {
                    return Err(self.too_large("1 GiB"));
                }
                let bytes = fs::read(&path).map_err(failed)?;
                self.entries.insert(name, Entry::File { mode, bytes });
            }
        }
        Ok(())
    }

    fn too_large(&self, limit: &'static str) -> ArchiveError {
        ArchiveError::TooLarge { path: self.root.to_owned(), limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_bytes_wherever_and_whenever_it_is_packed() {
        let pack = || {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("sub")).unwrap();
            fs::write(dir.path().join("sub/b"), "two").unwrap();
            fs::write(dir.path().join("a"), "one").unwrap();
            std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
            tar_gz(&read_dir(dir.path(), Path::new("app")).unwrap()).unwrap()
        };
        assert_eq!(pack(), pack());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = read_dir(Path::new("/nonexistent/x"), Path::new("app")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }
}
