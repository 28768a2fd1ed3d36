//! The Margo compose artifact: archive and manifest.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::RegistryError;
use crate::archive::{self, ArchiveError, Entries, Entry};
use crate::ids::sha256_digest;

/// `artifactType` of a compose artifact.
pub const ARTIFACT_TYPE: &str = "application/vnd.org.margo.component.compose+json";
/// Media type of its only layer.
pub const LAYER_TYPE: &str = "application/vnd.org.margo.component.compose.tar+gzip";
/// `artifactType` of a firmware artifact, as margo-agent takes it.
pub const FIRMWARE_TYPE: &str = "application/vnd.margo-agent.firmware.v1";
/// Media type of its only layer: a RAUC bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.rauc.bundle";
/// The empty config of an artifact.
pub(super) const EMPTY_CONFIG: &[u8] = b"{}";
/// The top directory in the archive; its name means nothing to a device.
const TOP: &str = "app";
/// Stands for the registry's `host:port` in a compose file.
const PLACEHOLDER: &str = "${LAB_REGISTRY}";

/// Packs a directory.
pub(super) fn compose_archive(dir: &Path, registry: &str) -> Result<Vec<u8>, RegistryError> {
    let mut entries = archive::read_dir(dir, Path::new(TOP))?;
    entries.insert(PathBuf::from(TOP), Entry::Dir { mode: 0o755 });
    match entries.get_mut(&compose_path()) {
        Some(Entry::File { bytes, .. }) => *bytes = substituted(bytes, registry),
        _ => {
            let why = "a compose archive needs a file of exactly this name";
            let path = dir.join("compose.yaml");
            return Err(ArchiveError::Missing { path, why }.into());
        }
    }
    Ok(archive::tar_gz(&entries)?)
}

/// Packs a compose file alone.
pub(super) fn compose_archive_of_text(
    compose: &str,
    registry: &str,
) -> Result<Vec<u8>, RegistryError> {
    let mut entries = Entries::new();
    entries.insert(PathBuf::from(TOP), Entry::Dir { mode: 0o755 });
    let bytes = substituted(compose.as_bytes(), registry);
    entries.insert(compose_path(), Entry::text(bytes));
    Ok(archive::tar_gz(&entries)?)
}

fn compose_path() -> PathBuf {
    Path::new(TOP).join("compose.yaml")
}

/// Bytes that are no text have no placeholder.
fn substituted(bytes: &[u8], registry: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(PLACEHOLDER, registry).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// The manifest of an artifact with one layer.
pub(super) fn manifest(
    repository: &str,
    tag: &str,
    (layer_digest, layer_bytes): (&str, usize),
    (artifact_type, layer_type): (&str, &str),
) -> Value {
    let title = repository.rsplit('/').next().unwrap_or(repository);
    let mut annotations = json!({
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.version": tag,
    });
    if artifact_type == ARTIFACT_TYPE
        && let Value::Object(members) = &mut annotations
    {
        members.insert("org.margo.component.type".to_owned(), json!("compose"));
        members.insert("org.margo.component.version".to_owned(), json!(tag));
    }
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": artifact_type,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": sha256_digest(EMPTY_CONFIG),
            "size": EMPTY_CONFIG.len(),
        },
        "layers": [{
            "mediaType": layer_type,
            "digest": layer_digest,
            "size": layer_bytes,
            "annotations": annotations,
        }],
    })
}
