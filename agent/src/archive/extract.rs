//! The second pass: writes a checked archive beside its destination, syncs it, renames it into place.
//!
//! Every write is relative to a directory handle, one component at a time and without following links, so it
//! cannot leave the staging directory even if the archive changed between the two passes.

use super::check::{Plan, check};
use super::error::{ArchiveError, Rule};
use super::limits::ArchiveLimits;
use super::path::EntryPath;
use super::scan::{Kind, Member, read_error, scan};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// What unfinished extractions are called.
const STAGING_PREFIX: &str = ".extract-";

/// A complete, durable extraction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// Absolute or relative as `dest` was: the archive's top directory, which holds `compose.yaml`.
    pub top_dir: PathBuf,
}

/// Checks the whole archive, then extracts it to `dest`, which is replaced in one step if it exists.
///
/// Blocks on the disk: call it from a blocking thread. `dest`'s parent must exist.
///
/// # Errors
/// A broken rule, an unreadable archive, or a failed write; `dest` is then as it was before.
pub fn check_and_extract(
    mut tar_gz: impl Read + Seek,
    dest: &Path,
    limits: &ArchiveLimits,
) -> Result<Extracted, ArchiveError> {
    tar_gz.seek(SeekFrom::Start(0)).map_err(read_error)?;
    let plan = check(&mut tar_gz, limits)?;
    tar_gz.seek(SeekFrom::Start(0)).map_err(read_error)?;

    let parent = match dest.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Removed again when it goes out of scope, whatever happens below.
    let staging = tempfile::Builder::new()
        .prefix(STAGING_PREFIX)
        .tempdir_in(parent)
        .map_err(|source| ArchiveError::write(parent, source))?;
    let tree = staging.path().join("tree");
    std::fs::create_dir(&tree).map_err(|source| ArchiveError::write(&tree, source))?;
    write_tree(&mut tar_gz, &tree, &plan, limits)?;
    swap_into_place(&tree, dest, parent)?;
    Ok(Extracted { top_dir: dest.join(plan.top_dir()) })
}

/// Deletes what extractions into `parent` left behind when power was lost. Call it at start, before the first one.
///
/// # Errors
/// The directory cannot be read, or something in it cannot be deleted.
pub fn remove_leftovers(parent: &Path) -> Result<(), ArchiveError> {
    let fault = |source| ArchiveError::write(parent, source);
    for entry in std::fs::read_dir(parent).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(|source| ArchiveError::write(path, source))?;
        }
    }
    Ok(())
}

fn write_tree(
    tar_gz: &mut impl Read,
    tree: &Path,
    plan: &Plan,
    limits: &ArchiveLimits,
) -> Result<(), ArchiveError> {
    let writer = TreeWriter {
        root: File::open(tree).map_err(|source| ArchiveError::write(tree, source))?.into(),
        root_path: tree,
    };
    writer.set_mode(&writer.root, DIRECTORY_MODE, &EntryPath::root())?;
    // BTreeMap order: a parent is a prefix of its children and comes first.
    for (path, kind) in plan.entries() {
        if *kind == Kind::Directory {
            writer.make_directory(path)?;
        }
    }
    scan(tar_gz, limits, &mut |Member { path, kind }, content| {
        if path.is_root() {
            return Ok(());
        }
        if plan.entries().get(&path) != Some(&kind) {
            // Only possible when the file was exchanged under us.
            return Err(ArchiveError::entry(path.to_string().as_bytes(), Rule::Duplicate));
        }
        match &kind {
            Kind::Directory => Ok(()),
            Kind::File { executable, .. } => writer.write_file(&path, *executable, content),
            Kind::HardLink(target) => writer.make_hard_link(&path, target),
            Kind::Symlink(target) => writer.make_symlink(&path, target),
        }
    })?;
    for (path, kind) in plan.entries() {
        if *kind == Kind::Directory {
            let directory = writer.open_directory(path.components(), path)?;
            writer.sync(&directory, path)?;
        }
    }
    writer.sync(&writer.root, &EntryPath::root())
}

/// After this returns the tree is at `dest` for good.
fn swap_into_place(tree: &Path, dest: &Path, parent: &Path) -> Result<(), ArchiveError> {
    let cwd = rustix::fs::CWD;
    let moved = rustix::fs::renameat_with(cwd, tree, cwd, dest, RenameFlags::NOREPLACE);
    match moved {
        Ok(()) => {}
        // The old tree lands in the staging directory and goes with it.
        Err(rustix::io::Errno::EXIST) => {
            rustix::fs::renameat_with(cwd, tree, cwd, dest, RenameFlags::EXCHANGE)
                .map_err(|source| ArchiveError::write(dest, source))?;
        }
        Err(source) => return Err(ArchiveError::write(dest, source)),
    }
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| ArchiveError::write(parent, source))
}

struct TreeWriter<'a> {
    root: OwnedFd,
    root_path: &'a Path,
}

impl TreeWriter<'_> {
    fn error(&self, path: &EntryPath, source: impl Into<std::io::Error>) -> ArchiveError {
        ArchiveError::write(self.root_path.join(path.to_string()), source)
    }

    fn open_directory(
        &self,
        components: &[String],
        path: &EntryPath,
    ) -> Result<OwnedFd, ArchiveError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = self.root.try_clone().map_err(|source| self.error(path, source))?;
        for component in components {
            at = rustix::fs::openat(&at, component.as_str(), flags, Mode::empty())
                .map_err(|source| self.error(path, source))?;
        }
        Ok(at)
    }

    /// The handle of the directory that holds `path`, and the last component.
    fn place<'p>(&self, path: &'p EntryPath) -> Result<(OwnedFd, &'p str), ArchiveError> {
        let Some((name, parents)) = path.components().split_last() else {
            return Err(ArchiveError::entry(b"", Rule::BadName));
        };
        Ok((self.open_directory(parents, path)?, name))
    }

    fn make_directory(&self, path: &EntryPath) -> Result<(), ArchiveError> {
        let (parent, name) = self.place(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY_MODE))
            .map_err(|source| self.error(path, source))?;
        let made = self.open_directory(path.components(), path)?;
        self.set_mode(&made, DIRECTORY_MODE, path)
    }

    fn write_file(
        &self,
        path: &EntryPath,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let (parent, name) = self.place(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(FILE_MODE))
            .map_err(|source| self.error(path, source))?;
        // setuid, setgid and sticky are never taken over; of the rest only "executable" is (R158).
        self.set_mode(&made, if executable { DIRECTORY_MODE } else { FILE_MODE }, path)?;
        let mut file = File::from(made);
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            let count = content.read(&mut buffer).map_err(read_error)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            file.write_all(bytes).map_err(|source| self.error(path, source))?;
        }
        file.sync_all().map_err(|source| self.error(path, source))
    }

    fn make_hard_link(&self, path: &EntryPath, target: &EntryPath) -> Result<(), ArchiveError> {
        let (from_parent, from) = self.place(target)?;
        let (to_parent, to) = self.place(path)?;
        rustix::fs::linkat(&from_parent, from, &to_parent, to, AtFlags::empty())
            .map_err(|source| self.error(path, source))
    }

    fn make_symlink(&self, path: &EntryPath, target: &str) -> Result<(), ArchiveError> {
        let (parent, name) = self.place(path)?;
        rustix::fs::symlinkat(target, &parent, name).map_err(|source| self.error(path, source))
    }

    fn set_mode(&self, of: &OwnedFd, mode: u32, path: &EntryPath) -> Result<(), ArchiveError> {
        // Explicit, because the process's umask takes bits away from a mode given at creation.
        rustix::fs::fchmod(of, Mode::from_raw_mode(mode)).map_err(|source| self.error(path, source))
    }

    fn sync(&self, of: &OwnedFd, path: &EntryPath) -> Result<(), ArchiveError> {
        rustix::fs::fsync(of).map_err(|source| self.error(path, source))
    }
}
