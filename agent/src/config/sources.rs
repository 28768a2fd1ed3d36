//! Which files are the configuration.
//!
//! `/usr/lib` (the image) < `/run` (this boot) < `/etc` (this device), as systemd does it: a file replaces
//! the one with the same name in a lower directory; a link to `/dev/null` masks it; what remains is read in
//! the order of file names, whatever the directory, and a later file wins key by key.

use super::error::{ConfigError, ConfigErrors};
use super::fragment::Fragment;
use super::host::HostFacts;
use super::settings::Settings;
use super::{build, merged::Merged};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Lowest first.
const DIRS: [&str; 3] = ["usr/lib/margo-agent/config.d", "run/margo-agent/config.d", DIR_OF_DEVICE];
const DIR_OF_DEVICE: &str = "etc/margo-agent/config.d";
const PROVISIONED_FILE: &str = "50-provisioned.toml";

/// Environment variable that stands in for `--root`.
const ROOT_VARIABLE: &str = "MARGO_ROOT";

const FILES_MAX: usize = 128;
const FILE_SIZE_BYTES_MAX: usize = 256 * 1024;

/// Where configuration and facts about the host are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    root: PathBuf,
}

impl Sources {
    /// The system itself, or what `MARGO_ROOT` names.
    pub fn system() -> Self {
        Self::under(
            std::env::var_os(ROOT_VARIABLE).map_or_else(|| PathBuf::from("/"), PathBuf::from),
        )
    }

    /// Below which everything is looked for.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The same tree below another root. Paths *inside* the configuration are not moved.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Reads, merges and checks the whole configuration.
    ///
    /// # Errors
    /// Everything that is wrong, with file, line and key. Nothing is applied then.
    pub fn load(&self) -> Result<Settings, ConfigErrors> {
        self.load_with(None)
    }

    /// The same as if this device's `50-provisioned.toml` held that text.
    ///
    /// # Errors
    /// As for [`Sources::load`].
    pub fn load_provisioned(&self, text: &str) -> Result<Settings, ConfigErrors> {
        self.load_with(Some(text))
    }

    /// What provisioning writes: the fragment of this device with its settings.
    pub fn provisioned_file(&self) -> PathBuf {
        self.root.join(DIR_OF_DEVICE).join(PROVISIONED_FILE)
    }

    fn load_with(&self, provisioned: Option<&str>) -> Result<Settings, ConfigErrors> {
        let mut errors = Vec::new();
        let mut merged = Merged::default();
        let mut files = self.files(&mut errors);
        let own = self.provisioned_file();
        if provisioned.is_some() && !files.contains(&own) {
            // One of the same name in a lower directory would be replaced.
            files.retain(|path| path.file_name() != own.file_name());
            files.push(own.clone());
            files.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
        }
        for path in files {
            let text = match provisioned {
                Some(text) if path == own => Ok(text.to_owned()),
                Some(_) | None => read(&path),
            };
            match text {
                Ok(text) => merged.add(Fragment::parse(&path, &text, &mut errors)),
                Err(error) => errors.push(error),
            }
        }
        let settings = build::settings(&merged, &HostFacts::read(&self.root), &mut errors);
        if errors.is_empty() {
            return Ok(settings);
        }
        errors.truncate(super::error::ERRORS_MAX);
        Err(ConfigErrors(errors))
    }

    /// The fragments that count, in the order in which they are merged.
    fn files(&self, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
        let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for dir in DIRS {
            let dir = self.root.join(dir);
            match fragments_in(&dir) {
                Ok(paths) => {
                    files.extend(
                        paths.into_iter().filter_map(|p| Some((p.file_name()?.to_owned(), p))),
                    );
                }
                Err(error) => errors.push(error),
            }
        }
        files.into_values().filter(|path| !is_masked(path)).collect()
    }
}

/// Everything that is wrong with the text of one fragment; `name` stands for it in the errors.
pub fn check_fragment(name: &Path, text: &str) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    Fragment::parse(name, text, &mut errors);
    errors.truncate(super::error::ERRORS_MAX);
    errors
}

fn fragments_in(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::ListDir { path: dir.to_path_buf(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        if paths.len() == FILES_MAX {
            return Err(ConfigError::TooManyFiles {
                path: dir.to_path_buf(),
                files_max: FILES_MAX,
            });
        }
        paths.push(path);
    }
    Ok(paths)
}

fn is_masked(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    // A pipe or device would never end.
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut text = String::new();
    let limit = u64::try_from(FILE_SIZE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    if text.len() > FILE_SIZE_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_path_buf(),
            size_bytes_max: FILE_SIZE_BYTES_MAX,
        });
    }
    Ok(text)
}
