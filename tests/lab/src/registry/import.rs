//! Images from archives that other tools wrote: `docker save`, `skopeo copy docker-archive:`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::RegistryError;
use super::image::{Image, ImageFormat};
use crate::archive;

/// Total size of an archive's entries.
const ARCHIVE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Entries of an archive.
const ENTRIES_MAX: usize = 10_000;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
}

/// Reads the first image of an archive.
pub(super) fn image(path: &Path) -> Result<Image, RegistryError> {
    let failed = |source| RegistryError::Read { path: path.to_owned(), source };
    let wrong = |reason: String| RegistryError::Import { path: path.to_owned(), reason };
    let mut files = entries(path).map_err(failed)?;
    let listed = files.remove("manifest.json").ok_or_else(|| {
        wrong("no manifest.json (give a directory, or an archive made by `docker save`)".to_owned())
    })?;
    let listed: Vec<Listed> = serde_json::from_slice(&listed)
        .map_err(|error| wrong(format!("manifest.json: {error}")))?;
    let listed = listed.into_iter().next();
    let listed = listed.ok_or_else(|| wrong("manifest.json lists no image".to_owned()))?;
    let take =
        |name: &str| files.get(name).cloned().ok_or_else(|| wrong(format!("`{name}` is missing")));
    let config = take(&listed.config)?;
    let mut layers = Vec::new();
    for name in &listed.layers {
        let layer = take(name)?;
        layers.push(if layer.starts_with(GZIP_MAGIC) { layer } else { archive::gzip(&layer)? });
    }
    Ok(Image { format: ImageFormat::Docker, config, layers })
}

/// All files of a tar archive, compressed or not; links point to the file they name.
fn entries(path: &Path) -> io::Result<HashMap<String, Vec<u8>>> {
    let mut magic = [0; 2];
    let read = File::open(path)?.read(&mut magic)?;
    let file = File::open(path)?;
    let is_gzip = read == magic.len() && magic == GZIP_MAGIC;
    let reader: Box<dyn Read> =
        if is_gzip { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut files = HashMap::new();
    let mut links = Vec::new();
    for entry in tar::Archive::new(reader.take(ARCHIVE_MAX_BYTES)).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if files.len() >= ENTRIES_MAX {
            return Err(io::Error::other("more than 10000 entries"));
        }
        if entry.header().entry_type().is_symlink() {
            let target = entry.link_name()?.unwrap_or_default();
            let parent = Path::new(&name).parent().unwrap_or_else(|| Path::new(""));
            links.push((name.clone(), normal(&parent.join(target))));
        } else if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(name, content);
        }
    }
    for (name, target) in links {
        if let Some(content) = files.get(&target).cloned() {
            files.insert(name, content);
        }
    }
    Ok(files)
}

/// A path inside the archive without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}
