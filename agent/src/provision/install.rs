//! Installing as a whole: whenever the power goes, the device has the old identity, settings and registry files or the
//! new ones, after the next start all of one kind.
//!
//! Everything is written to `.provision.new` beside its place and synced. Renaming that to `.provision.commit` is the
//! moment from which on the new ones count. Then each part is put in place, which can be repeated: the identity
//! directory is built complete as a sibling and swapped in one step. What was swapped out is deleted last.
//! [`recover`] finishes after a cut what was committed and sweeps up what was not.

use super::disk::Disk;
use super::package::KEY;
use super::places::Places;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const STAGED: &str = ".provision.new";
const COMMITTED: &str = ".provision.commit";
const DONE: &str = ".provision.done";
const IDENTITY: &str = "identity";
const REGISTRY: &str = "registry";
const SETTINGS: &str = "settings.toml";
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const PUBLIC_DIR: u32 = 0o755;
const PUBLIC_FILE: u32 = 0o644;

/// What is to be there. What is empty or absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// All files of the identity directory.
    pub(super) identity: BTreeMap<String, Vec<u8>>,
    /// All files of the registry directory.
    pub(super) registry: BTreeMap<String, Vec<u8>>,
    /// The device's settings.
    pub(super) settings: Option<Vec<u8>>,
}

/// An operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub(super) struct InstallError {
    doing: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

type Result<T> = std::result::Result<T, InstallError>;

/// Names the operation and the path in an error.
trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| InstallError { doing, path: path.to_path_buf(), source })
    }
}

/// Whether everything wanted is there already.
pub(super) fn is_installed(wanted: &Wanted, places: &Places) -> bool {
    let settings = wanted.settings.as_ref();
    (wanted.identity.is_empty() || holds(&places.identity_dir, &wanted.identity))
        && (wanted.registry.is_empty() || holds(&places.registry_dir, &wanted.registry))
        && settings.is_none_or(|text| fs::read(&places.settings_file).is_ok_and(|is| is == *text))
}

/// Installs. After an error or a cut [`recover`] puts things right.
pub(super) fn install(disk: &dyn Disk, wanted: &Wanted, places: &Places) -> Result<()> {
    recover(disk, places)?;
    let staged = places.etc.join(STAGED);
    make_parent(disk, &staged)?;
    stage(disk, wanted, &staged)?;
    let committed = places.etc.join(COMMITTED);
    disk.rename(&staged, &committed).at("renaming to", &committed)?;
    disk.sync_directory(&places.etc).at("syncing", &places.etc)?;
    finish(disk, places)
}

/// Finishes what was committed and sweeps up what was not. True if something was finished.
pub(super) fn recover(disk: &dyn Disk, places: &Places) -> Result<bool> {
    let left = |name: &str| places.etc.join(name).symlink_metadata().is_ok();
    if left(STAGED) {
        let staged = places.etc.join(STAGED);
        disk.remove(&staged).at("removing", &staged)?;
    }
    let is_committed = left(COMMITTED);
    if is_committed {
        finish(disk, places)?;
    }
    let mut leftovers = vec![places.etc.join(DONE)];
    for place in [&places.identity_dir, &places.registry_dir] {
        leftovers.extend([sibling(place), aside(place)]);
    }
    leftovers.push(sibling(&places.settings_file));
    for path in leftovers {
        if path.symlink_metadata().is_ok() {
            disk.remove(&path).at("removing", &path)?;
        }
    }
    Ok(is_committed)
}

fn stage(disk: &dyn Disk, wanted: &Wanted, staged: &Path) -> Result<()> {
    disk.make_directory(staged, PRIVATE_DIR).at("making", staged)?;
    for (name, files) in [(IDENTITY, &wanted.identity), (REGISTRY, &wanted.registry)] {
        if !files.is_empty() {
            write_directory(disk, &staged.join(name), files)?;
        }
    }
    if let Some(settings) = &wanted.settings {
        write_file(disk, &staged.join(SETTINGS), settings, PUBLIC_FILE)?;
    }
    disk.sync_directory(staged).at("syncing", staged)
}

/// Puts the committed parts in place; each step may have been done before. The identity comes last: by then the
/// agent finds everything that goes with it.
fn finish(disk: &dyn Disk, places: &Places) -> Result<()> {
    let committed = places.etc.join(COMMITTED);
    let registry = read_directory(&committed.join(REGISTRY))?;
    if let Some(files) = registry {
        put_directory(disk, &places.registry_dir, &files)?;
    }
    let settings = committed.join(SETTINGS);
    match fs::read(&settings) {
        Ok(text) => put_settings(disk, &places.settings_file, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(source).at("reading", &settings),
    }
    if let Some(files) = read_directory(&committed.join(IDENTITY))? {
        put_directory(disk, &places.identity_dir, &files)?;
    }
    // Half deleted it must not be taken for a commit.
    let done = places.etc.join(DONE);
    disk.remove(&done).at("removing", &done)?;
    disk.rename(&committed, &done).at("renaming to", &done)?;
    disk.sync_directory(&places.etc).at("syncing", &places.etc)?;
    disk.remove(&done).at("removing", &done)
}

fn put_settings(disk: &dyn Disk, place: &Path, text: &[u8]) -> Result<()> {
    if fs::read(place).is_ok_and(|is| is == text) {
        return Ok(());
    }
    let parent = make_parent(disk, place)?;
    let draft = sibling(place);
    disk.remove(&draft).at("removing", &draft)?;
    write_file(disk, &draft, text, PUBLIC_FILE)?;
    disk.rename(&draft, place).at("renaming to", place)?;
    disk.sync_directory(&parent).at("syncing", &parent)
}

fn put_directory(disk: &dyn Disk, place: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    if holds(place, files) {
        return Ok(());
    }
    let parent = make_parent(disk, place)?;
    let draft = sibling(place);
    disk.remove(&draft).at("removing", &draft)?;
    write_directory(disk, &draft, files)?;
    if place.symlink_metadata().is_ok() {
        swap(disk, &draft, place)?;
    } else {
        disk.rename(&draft, place).at("renaming to", place)?;
    }
    disk.sync_directory(&parent).at("syncing", &parent)?;
    // The old key, if there was one.
    disk.remove(&draft).at("removing", &draft)
}

/// In one step where the file system can; else in two, which [`recover`] completes.
fn swap(disk: &dyn Disk, draft: &Path, place: &Path) -> Result<()> {
    let unsupported =
        [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported, io::ErrorKind::CrossesDevices];
    match disk.exchange(draft, place) {
        Err(error) if unsupported.contains(&error.kind()) => {
            let aside = aside(place);
            disk.remove(&aside).at("removing", &aside)?;
            disk.rename(place, &aside).at("renaming", place)?;
            disk.rename(draft, place).at("renaming to", place)?;
            disk.remove(&aside).at("removing", &aside)
        }
        other => other.at("swapping", place),
    }
}

/// Makes the parent and its own parent where they are missing.
fn make_parent(disk: &dyn Disk, place: &Path) -> Result<PathBuf> {
    let parent = place.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
    let mut missing: Vec<&Path> = parent.ancestors().take_while(|path| !path.exists()).collect();
    while let Some(path) = missing.pop() {
        disk.make_directory(path, PUBLIC_DIR).at("making", path)?;
        if let Some(above) = path.parent() {
            disk.sync_directory(above).at("syncing", above)?;
        }
    }
    Ok(parent)
}

fn write_directory(disk: &dyn Disk, path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    disk.make_directory(path, PRIVATE_DIR).at("making", path)?;
    for (name, bytes) in files {
        write_file(disk, &path.join(name), bytes, PRIVATE_FILE)?;
    }
    disk.sync_directory(path).at("syncing", path)
}

fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    disk.write(path, bytes, mode).at("writing", path)?;
    disk.sync_file(path).at("syncing", path)
}

fn aside(place: &Path) -> PathBuf {
    sibling(place).with_extension("old")
}

/// `/etc/margo-agent/.identity.new` for `/etc/margo-agent/identity`: never read as configuration or identity.
fn sibling(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.new"))
}

fn read_directory(path: &Path) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(source).at("listing", path),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let file = entry.at("listing", path)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&file).at("reading", &file)?;
        files.insert(name, bytes);
    }
    Ok(Some(files))
}

/// Whether a directory holds exactly these files, the key for nobody else.
fn holds(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> bool {
    let key_is_private = !files.contains_key(KEY)
        || fs::metadata(path.join(KEY)).is_ok_and(|is| is.permissions().mode() & 0o077 == 0);
    key_is_private && read_directory(path).is_ok_and(|found| found.as_ref() == Some(files))
}
