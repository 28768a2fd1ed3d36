//! The state manifest after validation (section 3.1 of the interface): everything in it is usable as it stands.

use super::wire::{BUNDLE_MEDIA_TYPE, RawBundleRef, RawDeploymentRef, RawManifest};
use crate::artifacts::digest::{self, DigestError};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{DeploymentId, Digest, ManifestVersion};
use std::collections::BTreeSet;

/// Longest `url` accepted, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Why a manifest is refused as a whole. The previous desired state stays.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of the right shape; also a version that is not a whole number from 0 to 2^64-1.
    #[error("state manifest is malformed")]
    Json {
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// Versions start at 1.
    #[error("manifestVersion is 0")]
    VersionZero,
    /// More deployments than this device accepts.
    #[error("{count} deployments, at most {count_max} are accepted")]
    TooManyDeployments {
        /// How many there are.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A digest that cannot be checked (R127, R128).
    #[error("{field}")]
    Digest {
        /// Which one.
        field: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// `bundle` must be present, and `null` exactly when there are no deployments.
    #[error("bundle is {found} although there are {count} deployments")]
    BundleRule {
        /// `absent`, `null` or `present`.
        found: &'static str,
        /// How many deployments there are.
        count: usize,
    },
    /// An unknown kind of archive.
    #[error("bundle.mediaType is `{media_type}`")]
    BundleMediaType {
        /// As given, cut.
        media_type: String,
    },
    /// A deployment id that is not a UUID.
    #[error("deployments[{index}].deploymentId is not a UUID")]
    DeploymentId {
        /// Position in the list.
        index: usize,
    },
    /// Two entries with one id or one digest.
    #[error("deployments[{index}] repeats the id or digest of an earlier one")]
    Repeated {
        /// Position of the second one.
        index: usize,
    },
    /// A `url` that is not content-addressed as it must be.
    #[error("{field} does not end in {expected}")]
    Url {
        /// Which one.
        field: String,
        /// The path it must end in.
        expected: String,
    },
}

impl ManifestError {
    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        let message = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Failure::new(Code::ManifestInvalid, message)
    }
}

/// Something to fetch: its digest, the path below the WFM's base, and the URL the WFM gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRef {
    /// Of the exact bytes.
    pub digest: Digest,
    /// `/api/v1/…`, built by us.
    pub path: String,
    /// As given; only a fallback, because it ignores a base path the WFM may be mounted under.
    pub url: String,
}

/// One deployment of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRef {
    /// The deployment.
    pub id: DeploymentId,
    /// Its document.
    pub artifact: ArtifactRef,
}

/// A valid state manifest. Whether it is newer than the last one is the machine's question (R125).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateManifest {
    /// Its version, at least 1.
    pub version: ManifestVersion,
    /// The archive with all documents; `None` exactly when there are no deployments.
    pub bundle: Option<ArtifactRef>,
    /// Everything that should run, in the WFM's order.
    pub deployments: Vec<DeploymentRef>,
}

impl StateManifest {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// The first rule it breaks; nothing of it may then be used (R127).
    pub fn parse(body: &[u8], deployments_max: usize) -> Result<Self, ManifestError> {
        let raw: RawManifest =
            serde_json::from_slice(body).map_err(|source| ManifestError::Json { source })?;
        if raw.manifest_version == 0 {
            return Err(ManifestError::VersionZero);
        }
        let count = raw.deployments.len();
        if count > deployments_max {
            return Err(ManifestError::TooManyDeployments { count, count_max: deployments_max });
        }
        let deployments = deployments(raw.deployments)?;
        let bundle = match (raw.bundle, count) {
            (Some(None), 0) => None,
            (Some(Some(bundle)), 1..) => Some(bundle_ref(bundle)?),
            (None, _) => return Err(ManifestError::BundleRule { found: "absent", count }),
            (Some(None), _) => return Err(ManifestError::BundleRule { found: "null", count }),
            (Some(Some(_)), _) => {
                return Err(ManifestError::BundleRule { found: "present", count });
            }
        };
        Ok(Self { version: ManifestVersion(raw.manifest_version), bundle, deployments })
    }

    /// A manifest that names one document: for fetching it again after it was lost on this device.
    pub fn of_one(deployment: &DeploymentId, revision: &Digest) -> Self {
        let path = format!("/api/v1/deployments/{deployment}/{revision}");
        let artifact = ArtifactRef { digest: revision.clone(), url: path.clone(), path };
        let deployments = vec![DeploymentRef { id: deployment.clone(), artifact }];
        Self { version: ManifestVersion(0), bundle: None, deployments }
    }

    /// The digests of all deployment documents.
    pub fn digests(&self) -> BTreeSet<Digest> {
        self.deployments.iter().map(|deployment| deployment.artifact.digest.clone()).collect()
    }
}

fn deployments(raw: Vec<RawDeploymentRef>) -> Result<Vec<DeploymentRef>, ManifestError> {
    let (mut ids, mut digests) = (BTreeSet::new(), BTreeSet::new());
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            if !is_uuid(&raw.deployment_id) {
                return Err(ManifestError::DeploymentId { index });
            }
            let digest = parse_digest(&raw.digest, || format!("deployments[{index}].digest"))?;
            // Letter case does not make a second deployment. One document cannot serve two ids, since it names one.
            if !ids.insert(raw.deployment_id.to_ascii_lowercase())
                || !digests.insert(digest.clone())
            {
                return Err(ManifestError::Repeated { index });
            }
            let path = format!("/api/v1/deployments/{}/{digest}", raw.deployment_id);
            check_url(&raw.url, &path, || format!("deployments[{index}].url"))?;
            Ok(DeploymentRef {
                id: DeploymentId::new(raw.deployment_id),
                artifact: ArtifactRef { digest, path, url: raw.url },
            })
        })
        .collect()
}

fn bundle_ref(raw: RawBundleRef) -> Result<ArtifactRef, ManifestError> {
    if raw.media_type != BUNDLE_MEDIA_TYPE {
        let media_type = raw.media_type.escape_debug().take(100).collect();
        return Err(ManifestError::BundleMediaType { media_type });
    }
    let digest = parse_digest(&raw.digest, || "bundle.digest".to_owned())?;
    let path = format!("/api/v1/bundles/{digest}");
    check_url(&raw.url, &path, || "bundle.url".to_owned())?;
    Ok(ArtifactRef { digest, path, url: raw.url })
}

fn parse_digest(text: &str, field: impl Fn() -> String) -> Result<Digest, ManifestError> {
    digest::parse(text).map_err(|source| ManifestError::Digest { field: field(), source })
}

/// WFMs that are mounted under a base path write it or leave it out; both end the same way.
fn check_url(url: &str, path: &str, field: impl Fn() -> String) -> Result<(), ManifestError> {
    if url.len() <= URL_BYTES_MAX && url.ends_with(path) {
        return Ok(());
    }
    Err(ManifestError::Url { field: field(), expected: path.to_owned() })
}

/// Hyphenated UUID in either letter case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
