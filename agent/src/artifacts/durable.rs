//! Writing a file so that after a power cut it is either absent, old or complete.

use super::error::ArtifactsError;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Readable by the agent's user and group: the support tool runs in that group.
const FILE_MODE: u32 = 0o640;

/// A new file in `tmp`, removed when dropped.
pub(super) fn temp_file(tmp: &Path) -> Result<NamedTempFile, ArtifactsError> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("part-")
        .permissions(fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(tmp)
        .map_err(|source| ArtifactsError::write(tmp, source))
}

/// Syncs `temp` and renames it to `dest`, replacing what was there.
pub(super) fn persist(temp: NamedTempFile, dest: &Path) -> Result<(), ArtifactsError> {
    temp.as_file().sync_all().map_err(|source| ArtifactsError::write(temp.path(), source))?;
    temp.persist(dest).map_err(|error| ArtifactsError::write(dest, error.error))?;
    sync_parent(dest)
}

/// Writes `bytes` to `dest` through a temporary file.
pub(super) fn write(tmp: &Path, dest: &Path, bytes: &[u8]) -> Result<(), ArtifactsError> {
    let mut temp = temp_file(tmp)?;
    temp.write_all(bytes).map_err(|source| ArtifactsError::write(temp.path(), source))?;
    persist(temp, dest)
}

/// Removes a file for good; an absent one is fine.
pub(super) fn remove(path: &Path) -> Result<bool, ArtifactsError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ArtifactsError::write(path, source)),
    }
}

/// Makes a directory and its parents, durably.
pub(super) fn make_directory(path: &Path) -> Result<(), ArtifactsError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(ArtifactsError::write(path, source)),
    }
}

/// Makes a rename, creation or removal of `path` durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), ArtifactsError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| ArtifactsError::write(parent, source))
}

/// The files directly inside a directory, without their order.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, ArtifactsError> {
    let read = |source| ArtifactsError::read(directory, source);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(read(source)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(read)).collect()
}
