//! OCI image manifests that carry one artifact in one layer.

use crate::artifacts::digest;
use serde::Deserialize;
use state_machine::ids::Digest;
use std::collections::BTreeMap;

/// `artifactType` of a compose component (R160).
pub const COMPOSE_ARTIFACT_TYPE: &str = "application/vnd.org.margo.component.compose+json";
/// Media type of its only layer (R160).
pub const COMPOSE_LAYER_MEDIA_TYPE: &str = "application/vnd.org.margo.component.compose.tar+gzip";
/// `artifactType` of a firmware component.
pub const FIRMWARE_ARTIFACT_TYPE: &str = "application/vnd.margo-agent.firmware.v1";
/// Media type of its only layer: a RAUC bundle as it is.
pub const FIRMWARE_LAYER_MEDIA_TYPE: &str = "application/vnd.rauc.bundle";
/// Media type of the manifest itself.
pub(super) const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Layer annotation that names the component's type.
const TYPE_ANNOTATION: &str = "org.margo.component.type";

/// Which artifact is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactKind {
    /// Accepted `artifactType`s (or `config.mediaType`s, where an old tool left the former out).
    pub artifact_types: Vec<String>,
    /// Accepted media types of the only layer.
    pub layer_media_types: Vec<String>,
    /// Value that the layer's type annotation must have if it is there.
    pub component_type: Option<String>,
    /// Largest layer, in bytes.
    pub layer_bytes_max: u64,
}

impl ArtifactKind {
    /// A compose archive, as the specification defines it.
    pub fn compose(layer_bytes_max: u64) -> Self {
        Self {
            artifact_types: vec![COMPOSE_ARTIFACT_TYPE.to_owned()],
            layer_media_types: vec![COMPOSE_LAYER_MEDIA_TYPE.to_owned()],
            component_type: Some("compose".to_owned()),
            layer_bytes_max,
        }
    }

    /// A firmware bundle, as this agent defines it.
    pub fn firmware(layer_bytes_max: u64) -> Self {
        Self {
            artifact_types: vec![FIRMWARE_ARTIFACT_TYPE.to_owned()],
            layer_media_types: vec![FIRMWARE_LAYER_MEDIA_TYPE.to_owned()],
            component_type: None,
            layer_bytes_max,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Option<Vec<RawDescriptor>>,
    /// Only in an index.
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The layer to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    pub(super) media_type: String,
}

/// Why a manifest does not give a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ManifestFault {
    /// Not the expected kind of artifact, in words.
    Kind(String),
    /// The layer is larger than accepted.
    TooLarge(u64),
}

/// Finds the layer of an artifact of the expected kind.
pub(super) fn layer_of(body: &[u8], expected: &ArtifactKind) -> Result<Layer, ManifestFault> {
    let kind = |reason: String| Err(ManifestFault::Kind(reason));
    let Ok(raw) = serde_json::from_slice::<RawManifest>(body) else {
        return kind("not an OCI image manifest".to_owned());
    };
    if raw.manifests.is_some() {
        return kind("an image index, which an artifact cannot be".to_owned());
    }
    let media_type = raw.media_type.as_deref().unwrap_or(MANIFEST_MEDIA_TYPE);
    if raw.schema_version != 2 || media_type != MANIFEST_MEDIA_TYPE {
        return kind(format!("manifest is of type `{}`", shown(media_type)));
    }
    let config_type = raw.config.as_ref().map(|config| config.media_type.as_str());
    let own_type = raw.artifact_type.as_deref().filter(|own| !own.is_empty()).or(config_type);
    if !own_type.is_some_and(|own| expected.artifact_types.iter().any(|one| one == own)) {
        return kind(format!("artifact is of type `{}`", shown(own_type.unwrap_or_default())));
    }
    let layers = raw.layers.unwrap_or_default();
    let [layer] = layers.as_slice() else {
        return kind(format!("artifact has {} layers, exactly one is required", layers.len()));
    };
    if !expected.layer_media_types.contains(&layer.media_type) {
        return kind(format!("layer is of type `{}`", shown(&layer.media_type)));
    }
    let annotation = layer.annotations.as_ref().and_then(|all| all.get(TYPE_ANNOTATION));
    if let (Some(found), Some(wanted)) = (annotation, &expected.component_type)
        && found != wanted
    {
        return kind(format!("component is of type `{}`", shown(found)));
    }
    let Ok(digest) = digest::parse(&layer.digest) else {
        return kind("layer has no sha256 digest".to_owned());
    };
    if layer.size > expected.layer_bytes_max {
        return Err(ManifestFault::TooLarge(layer.size));
    }
    Ok(Layer { digest, size_bytes: layer.size, media_type: layer.media_type.clone() })
}

fn shown(text: &str) -> String {
    text.escape_debug().take(100).collect()
}
