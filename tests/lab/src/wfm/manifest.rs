//! The state manifest and the bundle: what a version is made of, and its scripted defects.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::archive::{self, ArchiveError, Entries, Entry};
use crate::fault::{FaultKind, Hits, ManifestDefect};
use crate::ids::{DeploymentId, sha256_digest};

pub(super) const MANIFEST_TYPE: &str = "application/vnd.margo.manifest.v1+json";
pub(super) const BUNDLE_TYPE: &str = "application/vnd.margo.bundle.v1+tar+gzip";
/// Size of the manifest served by the `oversize` defect.
const OVERSIZE_BYTES: usize = 64 * 1024 * 1024;

/// One published version of a client's desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) version: u64,
    pub(super) bundle: Option<Object>,
    pub(super) deployments: Vec<Listed>,
    /// Set once it was served with wrong sizes, so that the body of a version stays the same.
    pub(super) are_sizes_wrong: bool,
}

/// A digest with the size of what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) digest: String,
    pub(super) size_bytes: u64,
}

/// One deployment as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) id: DeploymentId,
    pub(super) yaml: Object,
}

impl Object {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { digest: sha256_digest(bytes), size_bytes }
    }
}

/// Packs documents into a bundle: `<deploymentId>.yaml` each, at the root.
pub(super) fn pack<'a>(
    documents: impl Iterator<Item = (&'a DeploymentId, &'a [u8])>,
    extra: Option<(&str, &[u8])>,
) -> Result<Vec<u8>, ArchiveError> {
    let mut entries: Entries = documents
        .map(|(id, yaml)| (PathBuf::from(format!("{id}.yaml")), Entry::text(yaml)))
        .collect();
    if let Some((name, bytes)) = extra {
        entries.insert(PathBuf::from(name), Entry::text(bytes));
    }
    archive::tar_gz(&entries)
}

impl Published {
    fn empty(version: u64) -> Self {
        Self { version, bundle: None, deployments: Vec::new(), are_sizes_wrong: false }
    }

    /// The manifest as served when these faults hit.
    pub(super) fn render(&self, previous: Option<&Self>, hits: &Hits) -> Vec<u8> {
        if hits.has(&FaultKind::OldVersion) {
            let none = Self::empty(self.version.saturating_sub(1));
            return previous.unwrap_or(&none).json().to_string().into_bytes();
        }
        if hits.has(&FaultKind::EqualVersion) {
            return Self::empty(self.version).json().to_string().into_bytes();
        }
        match hits.manifest_defect() {
            None => self.json().to_string().into_bytes(),
            Some(ManifestDefect::Garbage) => b"{\"manifestVersion\": 7, \"bund".to_vec(),
            Some(ManifestDefect::Oversize) => {
                let mut body = self.json().to_string().into_bytes();
                body.resize(body.len().max(OVERSIZE_BYTES), b' ');
                body
            }
            Some(defect) => self.broken(defect).to_string().into_bytes(),
        }
    }

    fn json(&self) -> Value {
        let size = |object: &Object| if self.are_sizes_wrong { 1 } else { object.size_bytes };
        let bundle = self.bundle.as_ref().map(|bundle| {
            json!({
                "mediaType": BUNDLE_TYPE,
                "digest": bundle.digest,
                "sizeBytes": size(bundle),
                "url": format!("/api/v1/bundles/{}", bundle.digest),
            })
        });
        let deployments: Vec<Value> = self
            .deployments
            .iter()
            .map(|listed| {
                json!({
                    "deploymentId": listed.id,
                    "digest": listed.yaml.digest,
                    "sizeBytes": size(&listed.yaml),
                    "url": format!("/api/v1/deployments/{}/{}", listed.id, listed.yaml.digest),
                })
            })
            .collect();
        json!({ "manifestVersion": self.version, "bundle": bundle, "deployments": deployments })
    }

    /// Breaks one rule. A defect that needs a deployment invents one when there is none.
    fn broken(&self, defect: ManifestDefect) -> Value {
        let mut manifest = self.json();
        let Value::Object(members) = &mut manifest else {
            return manifest;
        };
        let mut listed = members.get("deployments").and_then(Value::as_array).cloned();
        let listed = listed.get_or_insert_default();
        if listed.is_empty() {
            listed.push(json!({
                "deploymentId": "00000000-0000-4000-a000-000000000000",
                "digest": sha256_digest(b""),
                "url": "/api/v1/deployments/00000000-0000-4000-a000-000000000000/none",
            }));
        }
        match defect {
            ManifestDefect::BadAlgorithm => {
                if let Some(Value::Object(first)) = listed.first_mut() {
                    first.insert("digest".to_owned(), json!(format!("sha512:{}", "0".repeat(128))));
                }
                members.insert("deployments".to_owned(), json!(listed));
            }
            ManifestDefect::DuplicateIds => {
                listed.extend(listed.first().cloned());
                members.insert("deployments".to_owned(), json!(listed));
            }
            ManifestDefect::NullBundle => {
                members.insert("bundle".to_owned(), Value::Null);
                members.insert("deployments".to_owned(), json!(listed));
            }
            ManifestDefect::MissingBundle => {
                members.remove("bundle");
            }
            ManifestDefect::FloatVersion => {
                members.insert("manifestVersion".to_owned(), json!(1_000_000.5));
            }
            ManifestDefect::ZeroVersion => {
                members.insert("manifestVersion".to_owned(), json!(0));
            }
            ManifestDefect::Garbage | ManifestDefect::Oversize => {}
        }
        manifest
    }
}
