//! Small named JSON documents beside the blobs, for example which image digest a deployment is pinned to.
//!
//! File format: the digest of the JSON text, a newline, the JSON text.

use super::digest;
use super::durable;
use super::error::ArtifactsError;
use super::store::Artifacts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Largest record, in bytes.
const RECORD_BYTES_MAX: u64 = 256 * 1024;
/// Longest kind or name, in bytes.
const NAME_BYTES_MAX: usize = 160;

impl Artifacts {
    /// Writes or replaces a record. An unchanged record is not written again (I10).
    ///
    /// # Errors
    /// A bad name, a value that does not serialise or is too large, or a failed write.
    pub fn write_record(
        &self,
        kind: &str,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), ArtifactsError> {
        let path = self.record_path(kind, name)?;
        let json = serde_json::to_vec(value)
            .map_err(|source| ArtifactsError::RecordShape { path: path.clone(), source })?;
        let mut bytes = format!("{}\n", digest::of(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > RECORD_BYTES_MAX {
            return Err(ArtifactsError::RecordTooLarge { path, size_bytes_max: RECORD_BYTES_MAX });
        }
        if std::fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            durable::make_directory(parent)?;
        }
        durable::write(&self.tmp(), &path, &bytes)
    }

    /// Reads a record; `None` if there is none.
    ///
    /// # Errors
    /// [`ArtifactsError::Damaged`]: it was moved aside and is absent from now on. Or the file cannot be read, or
    /// is intact but of another shape.
    pub fn read_record<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, ArtifactsError> {
        let path = self.record_path(kind, name)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ArtifactsError::read(path, source)),
        };
        let mut bytes = Vec::new();
        let read = file.take(RECORD_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes);
        let Some(json) = read.ok().and_then(|_| intact_json(&bytes)) else {
            return Err(self.set_aside(&path));
        };
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|source| ArtifactsError::RecordShape { path, source })
    }

    /// Deletes a record; `false` if there was none.
    ///
    /// # Errors
    /// A bad name or a failed write.
    pub fn remove_record(&self, kind: &str, name: &str) -> Result<bool, ArtifactsError> {
        durable::remove(&self.record_path(kind, name)?)
    }

    /// Names of all records of a kind.
    ///
    /// # Errors
    /// A bad kind or an unreadable directory.
    pub fn record_names(&self, kind: &str) -> Result<BTreeSet<String>, ArtifactsError> {
        let directory = self.kind_path(kind)?;
        let paths = durable::list(&directory)?;
        Ok(paths
            .iter()
            .filter_map(|path| path.file_name().and_then(|name| name.to_str()))
            .map(str::to_owned)
            .collect())
    }

    fn kind_path(&self, kind: &str) -> Result<PathBuf, ArtifactsError> {
        Ok(self.root().join("records").join(checked_name(kind)?))
    }

    fn record_path(&self, kind: &str, name: &str) -> Result<PathBuf, ArtifactsError> {
        Ok(self.kind_path(kind)?.join(checked_name(name)?))
    }
}

fn checked_name(name: &str) -> Result<&str, ArtifactsError> {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    let good = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(permitted);
    if good {
        Ok(name)
    } else {
        let name = name.escape_debug().take(NAME_BYTES_MAX).collect();
        Err(ArtifactsError::RecordName { name })
    }
}

fn intact_json(bytes: &[u8]) -> Option<&[u8]> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n')?;
    let checksum = std::str::from_utf8(bytes.get(..line_end)?).ok()?;
    let json = bytes.get(line_end.saturating_add(1)..)?;
    (digest::of(json).as_str() == checksum).then_some(json)
}
