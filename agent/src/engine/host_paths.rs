//! Host paths that containers may see: symlinks resolved, then checked against the permitted roots.
//!
//! The loader has checked the text of each path; only here is it known where it leads on this device.
//! A container that can write into a permitted root could swap a symlink between this check and the
//! mount, therefore the engine is given the resolved path, never the one that was written.

use super::error::EngineError;
use super::unit::Unit;
use crate::compose::model::{MountSource, Volume};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Symlinks and missing directories followed before a path counts as a loop.
const ANCESTORS_MAX: usize = 128;
/// Largest file mounted from an archive, in bytes; the archive's own limits are tighter.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where the unit's host paths lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostPaths {
    /// Bind sources as written, to what is mounted.
    binds: BTreeMap<PathBuf, PathBuf>,
    /// Archive files by their path in the archive.
    files: BTreeMap<PathBuf, ArchiveFile>,
}

/// A file of the archive as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveFile {
    /// Absolute path.
    pub(crate) path: PathBuf,
    /// SHA-256 of its content, in hex: part of the config hash, so that a changed file is noticed.
    pub(crate) content: String,
}

impl HostPaths {
    /// The resolved source of a bind mount.
    pub(crate) fn bind(&self, written: &Path) -> Option<&Path> {
        self.binds.get(written).map(PathBuf::as_path)
    }

    /// A file of the archive.
    pub(crate) fn file(&self, archive_path: &Path) -> Option<&ArchiveFile> {
        self.files.get(archive_path)
    }
}

/// Resolves and checks all host paths of a unit. Blocks on the file system.
///
/// # Errors
/// `HostPath` for a path outside the roots, `ArchiveFile` for a missing file.
pub(crate) fn resolve(unit: &Unit) -> Result<HostPaths, EngineError> {
    // A root may be a symlink itself (`/var/run`): what counts is where it leads.
    let roots: Vec<PathBuf> = unit
        .bind_roots
        .iter()
        .map(|root| fs::canonicalize(root).unwrap_or_else(|_| root.clone()))
        .collect();
    let mut paths = HostPaths::default();
    for (name, service) in &unit.project.services {
        let what = || format!("service `{name}`");
        for mount in &service.mounts {
            if let MountSource::Bind { path, .. } = &mount.source {
                paths.binds.insert(path.clone(), permitted(path, &roots, what())?);
            }
        }
        for file in service.files.iter().filter(|file| file.content.is_none()) {
            let resolved =
                archive_file(&unit.archive_dir, &file.archive_path).map_err(|source| {
                    EngineError::ArchiveFile {
                        service: name.clone(),
                        path: file.archive_path.clone(),
                        source,
                    }
                })?;
            paths.files.insert(file.archive_path.clone(), resolved);
        }
    }
    for (key, volume) in &unit.project.volumes {
        check_volume(key, volume, &roots)?;
    }
    Ok(paths)
}

fn permitted(path: &Path, roots: &[PathBuf], what: String) -> Result<PathBuf, EngineError> {
    let refuse = |reason: String| EngineError::HostPath {
        what: what.clone(),
        path: path.to_owned(),
        reason,
    };
    let resolved = real_path(path).map_err(|error| refuse(error.to_string()))?;
    if resolved.to_str().is_none_or(|text| text.contains(':')) {
        return Err(refuse("it must be UTF-8 without colons".to_owned()));
    }
    if roots.iter().any(|root| resolved.starts_with(root)) {
        return Ok(resolved);
    }
    Err(refuse(format!("it leads to `{}`, outside the permitted directories", resolved.display())))
}

/// Resolves the part that exists and keeps the rest, for the engine makes missing directories.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::other("it must be absolute, without `..`"));
    }
    let mut missing = Vec::new();
    let mut at = path;
    for _ in 0..ANCESTORS_MAX {
        match fs::canonicalize(at) {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A dangling symlink would lead the engine somewhere we cannot check.
                if fs::symlink_metadata(at).is_ok() {
                    return Err(io::Error::other("it is a symlink to nothing"));
                }
                let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
                    return Err(error);
                };
                missing.push(name);
                at = parent;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("it is too deep"))
}

fn archive_file(archive_dir: &Path, archive_path: &Path) -> io::Result<ArchiveFile> {
    let top = fs::canonicalize(archive_dir)?;
    let path = fs::canonicalize(top.join(archive_path))?;
    if !path.starts_with(&top) {
        return Err(io::Error::other("it leads out of the archive"));
    }
    if path.to_str().is_none() {
        return Err(io::Error::other("its path is not UTF-8"));
    }
    let content = if path.is_dir() { tree_digest(&path)? } else { file_digest(&path)? };
    Ok(ArchiveFile { path, content })
}

fn file_digest(path: &Path) -> io::Result<String> {
    let mut context = Context::new(&SHA256);
    let mut file = File::open(path)?.take(FILE_BYTES_MAX.saturating_add(1));
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut total: u64 = 0;
    loop {
        let count = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            return Ok(hex::encode(context.finish()));
        };
        total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if total > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        context.update(chunk);
    }
}

/// Names and contents of a directory's direct entries; deeper ones are covered by the archive's path.
fn tree_digest(dir: &Path) -> io::Result<String> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    names.sort();
    let mut context = Context::new(&SHA256);
    for path in names {
        context.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        context.update(&[0]);
        if path.is_file() {
            context.update(file_digest(&path)?.as_bytes());
        }
    }
    Ok(hex::encode(context.finish()))
}

/// A `local` volume with driver options can be a bind mount in disguise: same rule, same roots.
fn check_volume(key: &str, volume: &Volume, roots: &[PathBuf]) -> Result<(), EngineError> {
    if volume.external || volume.driver.as_deref().is_some_and(|driver| driver != "local") {
        return Ok(());
    }
    let option = |name: &str| volume.driver_opts.get(name).map_or("", String::as_str);
    let (kind, device, options) = (option("type"), option("device"), option("o"));
    let what = format!("volume `{key}`");
    if device.starts_with('/') {
        let resolved = permitted(Path::new(device), roots, what.clone())?;
        if resolved != Path::new(device) {
            return Err(EngineError::HostPath {
                what,
                path: device.into(),
                reason: "a volume's device must not contain symlinks".to_owned(),
            });
        }
    }
    // Others (`overlay`, block file systems) name host paths in ways that cannot be checked here.
    if !matches!(kind, "" | "none" | "bind" | "tmpfs" | "nfs" | "nfs4" | "cifs")
        || options.contains("dir=")
    {
        return Err(EngineError::HostPath {
            what,
            path: device.into(),
            reason: format!("volume type `{kind}` with options `{options}` is not permitted"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn roots(dir: &Path) -> Vec<PathBuf> {
        vec![fs::canonicalize(dir).unwrap()]
    }

    #[test]
    fn a_path_below_a_root_is_permitted_even_if_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = roots(dir.path());
        let wanted = root[0].join("a/b");
        assert_eq!(permitted(&wanted, &root, "x".into()).unwrap(), wanted);
    }

    #[test]
    fn symlinks_are_followed_before_the_check() {
        let dir = tempfile::tempdir().unwrap();
        let root = roots(dir.path());
        fs::create_dir(root[0].join("real")).unwrap();
        symlink(root[0].join("real"), root[0].join("inside")).unwrap();
        symlink("/etc", root[0].join("outside")).unwrap();
        symlink("/nowhere/at/all", root[0].join("dangling")).unwrap();

        let inside = permitted(&root[0].join("inside/x"), &root, "x".into()).unwrap();
        assert_eq!(inside, root[0].join("real/x"));
        for name in ["outside", "outside/passwd", "outside/missing", "dangling", "dangling/x"] {
            let error = permitted(&root[0].join(name), &root, "x".into()).unwrap_err();
            assert!(matches!(error, EngineError::HostPath { .. }), "{name}");
        }
    }

    #[test]
    fn nothing_is_permitted_without_roots_or_by_dots() {
        let dir = tempfile::tempdir().unwrap();
        let root = roots(dir.path());
        assert!(permitted(&root[0], &[], "x".into()).is_err());
        assert!(permitted(&root[0].join("../x"), &root, "x".into()).is_err());
        assert!(permitted(Path::new("relative"), &root, "x".into()).is_err());
        // A sibling that merely shares the prefix of the name.
        let sibling = PathBuf::from(format!("{}x", root[0].display()));
        assert!(permitted(&sibling, &root, "x".into()).is_err());
    }

    #[test]
    fn archive_files_stay_in_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.conf"), "one").unwrap();
        symlink("/etc/passwd", dir.path().join("leak")).unwrap();
        let first = archive_file(dir.path(), Path::new("a.conf")).unwrap();
        assert!(first.path.ends_with("a.conf"));
        fs::write(dir.path().join("a.conf"), "two").unwrap();
        let second = archive_file(dir.path(), Path::new("a.conf")).unwrap();
        assert_ne!(first.content, second.content);
        for bad in ["leak", "../x", "missing"] {
            assert!(archive_file(dir.path(), Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_are_not_a_way_around() {
        let dir = tempfile::tempdir().unwrap();
        let root = roots(dir.path());
        let volume = |options: &[(&str, &str)]| Volume {
            driver_opts: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Volume::default()
        };
        let inside = root[0].display().to_string();
        let check = |v: &Volume| check_volume("v", v, &root);
        assert!(check(&volume(&[])).is_ok());
        assert!(check(&volume(&[("type", "none"), ("o", "bind"), ("device", &inside)])).is_ok());
        assert!(
            check(&volume(&[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/x")])).is_ok()
        );
        assert!(check(&volume(&[("type", "none"), ("o", "bind"), ("device", "/etc")])).is_err());
        assert!(
            check(&volume(&[("type", "overlay"), ("o", "lowerdir=/etc"), ("device", "overlay")]))
                .is_err()
        );
        assert!(check(&volume(&[("type", "ext4"), ("device", "/dev/sda1")])).is_err());
    }
}
