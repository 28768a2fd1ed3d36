//! A provisioning package in memory: a few small files, wherever they came from.

use super::defect::{Defect, DefectCode};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The settings.
pub(super) const SETTINGS: &str = "margo-provision.toml";
/// The certificate chain.
pub(super) const SVID: &str = "svid.pem";
/// The private key.
pub(super) const KEY: &str = "svid.key";
/// The trust bundle.
pub(super) const BUNDLE: &str = "bundle.json";
/// Further settings, as fragments.
pub(super) const FRAGMENTS: &str = "config.d/";
/// Passwords and authorities of registries.
pub(super) const REGISTRY: &str = "registry/";

/// Largest file of a package, in bytes: a trust bundle may be as large.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Most files of a package.
pub(super) const FILES_MAX: usize = 64;
/// Most bytes of a package as it travels, an archive unpacked.
pub(super) const PACKAGE_BYTES_MAX: u64 = 16 << 20;
/// Longest name of a file in one of the two directories.
const NAME_BYTES_MAX: usize = 128;

/// Files by their name in the package, with `/` between directory and file.
#[derive(Clone, Default)]
pub struct Package {
    /// Where it came from, for people.
    pub(super) source: String,
    /// What was read.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// What could not be taken.
    pub(super) defects: Vec<Defect>,
    /// The address of the fleet manager, where it is given by itself.
    pub(super) url: Option<String>,
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds a private key and passwords.
        let names: Vec<_> = self.files.keys().collect();
        f.debug_struct("Package").field("source", &self.source).field("files", &names).finish()
    }
}

impl Package {
    /// An empty package.
    pub(super) fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), ..Self::default() }
    }

    /// Reads a directory or an archive (`.tar`, `.tar.gz`). Never fails: what cannot be read is a defect.
    pub fn read(path: &Path) -> Self {
        let source = path.display().to_string();
        if path.is_dir() {
            return Self::read_directory(path, &source);
        }
        match super::from_archive::read(path, &source) {
            Ok(package) => package,
            Err(error) => Self::unreadable(&source, &error.to_string()),
        }
    }

    /// A package of which nothing could be read.
    pub(super) fn unreadable(source: &str, why: &str) -> Self {
        let mut package = Self::new(source);
        package.defects.push(Defect::new(DefectCode::PackageUnreadable, source, why));
        package
    }

    /// Reads the known files of a directory; `source` is what people call it.
    pub(super) fn read_directory(directory: &Path, source: &str) -> Self {
        let mut package = Self::new(source);
        package.add_directory(directory, "");
        package
    }

    fn add_directory(&mut self, directory: &Path, prefix: &str) {
        let shown = if prefix.is_empty() { self.source.clone() } else { prefix.to_owned() };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                let code = DefectCode::PackageUnreadable;
                return self.defects.push(Defect::new(code, shown, error.to_string()));
            }
        };
        let mut names: Vec<(String, PathBuf)> = Vec::new();
        for entry in entries.take(FILES_MAX.saturating_mul(4)).flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            names.push((name, entry.path()));
        }
        names.sort();
        for (name, path) in names {
            if path.is_dir() && prefix.is_empty() {
                let inner = format!("{name}/");
                if inner == FRAGMENTS || inner == REGISTRY {
                    self.add_directory(&path, &inner);
                } else if !is_clutter(&name) {
                    self.unknown(&name);
                }
            } else if is_known(&name) {
                self.add_read(&name, &path);
            } else if !is_clutter(&name) {
                self.unknown(&name);
            }
        }
    }

    fn unknown(&mut self, name: &str) {
        let what = "is not one of the files that provisioning knows";
        self.defects.push(Defect::new(DefectCode::FileUnknown, name, what));
    }

    fn add_read(&mut self, name: &str, path: &Path) {
        match read_file(path) {
            Ok(bytes) => self.add(name, bytes),
            Err(error) => {
                let defect = Defect::new(DefectCode::FileUnreadable, name, error.to_string());
                self.defects.push(defect);
            }
        }
    }

    /// Adds a file; an unknown one or one too many is a defect.
    pub(super) fn add(&mut self, name: &str, bytes: Vec<u8>) {
        if !is_known(name) {
            if !is_clutter(name) {
                self.unknown(name);
            }
        } else if bytes.len() > FILE_BYTES_MAX {
            let what = format!("is larger than {FILE_BYTES_MAX} bytes");
            self.defects.push(Defect::new(DefectCode::FileTooLarge, name, what));
        } else if self.files.len() >= FILES_MAX {
            let what = format!("holds more than {FILES_MAX} files");
            let source = self.source.clone();
            let defect = Defect::new(DefectCode::PackageTooLarge, source, what);
            if !self.defects.contains(&defect) {
                self.defects.push(defect);
            }
        } else {
            self.files.insert(name.to_owned(), bytes);
        }
    }

    /// Whether a file is there, or was there and could not be taken.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.defects.iter().any(|defect| defect.file == name)
    }
}

/// A regular file's content, up to one byte more than allowed.
pub(super) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    // A pipe or device would never end.
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files of a package.
fn is_known(name: &str) -> bool {
    if [SETTINGS, SVID, KEY, BUNDLE].contains(&name) {
        return true;
    }
    let inside = |directory| name.strip_prefix(directory).filter(|name| is_plain_name(name));
    inside(REGISTRY).is_some() || inside(FRAGMENTS).is_some_and(|name| name.ends_with(".toml"))
}

/// Letters, digits, `.`, `_`, `-`, and not hidden.
fn is_plain_name(name: &str) -> bool {
    let permitted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(permitted)
}

/// What desktops leave on every stick, what file systems bring, and what helps people.
fn is_clutter(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    let lower = last.to_ascii_lowercase();
    last.starts_with('.')
        || lower.starts_with("readme")
        || ["lost+found", "system volume information", "$recycle.bin"].contains(&lower.as_str())
}
