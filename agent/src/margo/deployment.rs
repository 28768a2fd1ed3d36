//! The ApplicationDeployment document after validation (section 4.1 of the interface).
//!
//! Tolerant of what it does not know (extensions, new keys), strict about what it uses.

use super::device_id::{DeviceId, DeviceIdError, DevicePattern};
use super::manifest::is_uuid;
use super::parameters::{self, Parameters};
use super::wire::{DeviceConstraints, RawComponent, RawDeployment, RawMetadata, RawProfile};
use semver::Version;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId};
use std::collections::{BTreeMap, BTreeSet};

/// Most components of one deployment.
pub const COMPONENTS_MAX: usize = 32;
/// Longest component name, in bytes: it becomes part of a container's name.
const COMPONENT_NAME_BYTES_MAX: usize = 63;
/// Longest of the other names, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 253;
/// Longest repository reference, in bytes.
const REPOSITORY_BYTES_MAX: usize = 512;
/// Longest revision, as OCI limits tags.
const REVISION_BYTES_MAX: usize = 128;
/// Longest timeout accepted: one week, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Why a document cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Not YAML, beyond the parser's limits, or a value of the wrong type.
    #[error("deployment is not readable: {message}")]
    Yaml {
        /// What the parser said and where, on one line, cut.
        message: String,
    },
    /// An envelope of an earlier preview of the specification.
    #[error(
        "deployment is of an older specification preview ({sign}); this device implements 1.0.0-rc.3"
    )]
    Legacy {
        /// What gave it away.
        sign: &'static str,
    },
    /// A required field is absent.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field.
        field: String,
    },
    /// A field breaks its rule.
    #[error("{field}: {reason}")]
    Field {
        /// Path of the field.
        field: String,
        /// The rule.
        reason: String,
    },
    /// `metadata.deviceId` is not a device id or pattern.
    #[error("metadata.deviceId")]
    DeviceId {
        /// What is wrong with it.
        #[source]
        source: DeviceIdError,
    },
    /// The document is of another deployment than the manifest says.
    #[error("id is {found}, the manifest says {expected}")]
    OtherId {
        /// In the document.
        found: String,
        /// In the manifest.
        expected: DeploymentId,
    },
}

impl DeploymentError {
    pub(super) fn missing(field: impl Into<String>) -> Self {
        Self::Missing { field: field.into() }
    }

    pub(super) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { field: field.into(), reason: reason.into() }
    }

    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        let message = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        Failure::new(Code::DeploymentInvalid, message)
    }
}

/// `spec.deploymentProfile.type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileKind {
    /// Compose archives.
    Compose,
    /// Helm charts.
    Helm,
    /// Agreed between suppliers; here: a firmware bundle.
    Custom,
    /// Something this version does not know.
    Other(String),
}

impl ProfileKind {
    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Compose => "compose",
            Self::Helm => "helm",
            Self::Custom => "custom",
            Self::Other(text) => text,
        }
    }
}

/// One component, in its place in the order of installation (R150).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Unique in the deployment.
    pub name: ComponentName,
    /// `oci://host[:port]/path`.
    pub repository: String,
    /// OCI tag.
    pub revision: String,
    /// The revision as SemVer; always there for compose and helm.
    pub version: Option<Version>,
    /// The next component waits for this one (R151).
    pub wait: bool,
    /// Longest time to come up, in milliseconds (R152).
    pub timeout_ms: u64,
}

/// A valid deployment document.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplicationDeployment {
    /// The deployment.
    pub id: DeploymentId,
    /// `metadata.name`, the source of deployment errors (R185).
    pub name: String,
    /// The target.
    pub device: DevicePattern,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.applicationId`.
    pub application_id: String,
    /// How it is deployed.
    pub profile: ProfileKind,
    /// At least one, in order.
    pub components: Vec<Component>,
    /// Where it may run (R136).
    pub constraints: Option<DeviceConstraints>,
    parameters: Parameters,
}

impl ApplicationDeployment {
    /// Reads and validates a document. `expected` is the manifest's `deploymentId`.
    ///
    /// # Errors
    /// The first rule it breaks. The deployment cannot be applied as it is; others are not affected.
    pub fn parse(
        yaml: &[u8],
        expected: Option<&DeploymentId>,
        default_timeout_ms: u64,
    ) -> Result<Self, DeploymentError> {
        let raw: RawDeployment = serde_saphyr::from_slice_with_options(yaml, yaml_options())
            .map_err(|error| DeploymentError::Yaml { message: one_line(&error.to_string()) })?;
        refuse_legacy(&raw)?;
        let id = raw.id.ok_or_else(|| DeploymentError::missing("id"))?;
        if !is_uuid(&id) {
            return Err(DeploymentError::field("id", "not a UUID"));
        }
        if let Some(expected) = expected.filter(|expected| expected.as_str() != id) {
            return Err(DeploymentError::OtherId { found: id, expected: expected.clone() });
        }
        let RawMetadata { name, namespace: _, device_id, labels } =
            raw.metadata.ok_or_else(|| DeploymentError::missing("metadata"))?;
        let spec = raw.spec.ok_or_else(|| DeploymentError::missing("spec"))?;
        let profile = spec
            .deployment_profile
            .ok_or_else(|| DeploymentError::missing("spec.deploymentProfile"))?;
        let (profile, components, constraints) = profile_parts(profile, default_timeout_ms)?;
        let names: BTreeSet<&str> = components.iter().map(|one| one.name.as_str()).collect();
        let parameters = parameters::check(spec.parameters.unwrap_or_default(), &profile, &names)?;
        let device_id = device_id.ok_or_else(|| DeploymentError::missing("metadata.deviceId"))?;
        Ok(Self {
            id: DeploymentId::new(id),
            name: text(name, "metadata.name", NAME_BYTES_MAX)?,
            device: DevicePattern::parse(&device_id)
                .map_err(|source| DeploymentError::DeviceId { source })?,
            labels: labels.unwrap_or_default(),
            application_id: application_id(spec.application_id)?,
            profile,
            components,
            constraints,
            parameters,
        })
    }

    /// True if this device is the target.
    pub fn is_for(&self, device: &DeviceId) -> bool {
        self.device.matches(device)
    }

    /// The variables that the compose file of a component may refer to (section 4.3 of the interface).
    pub fn environment_for(&self, component: &str) -> BTreeMap<String, String> {
        self.parameters.environment_for(component)
    }
}

/// The parser's limits (I11). A digest-verified document is still only as good as the WFM that made it.
pub(super) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000,
            max_nodes: 20_000,
            max_depth: 32,
            max_documents: 1,
            max_aliases: 256,
            max_anchors: 256,
            max_total_scalar_bytes: 1 << 20,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn refuse_legacy(raw: &RawDeployment) -> Result<(), DeploymentError> {
    let legacy = |sign| Err(DeploymentError::Legacy { sign });
    if raw.api_version.is_some() || raw.kind.is_some() {
        return legacy("it has `apiVersion` or `kind`");
    }
    let profile = raw.spec.as_ref().and_then(|spec| spec.deployment_profile.as_ref());
    if profile.and_then(|profile| profile.kind.as_deref()) == Some("helm.v3") {
        return legacy("its profile type is `helm.v3`");
    }
    let components = profile.and_then(|profile| profile.components.as_deref()).unwrap_or_default();
    let located = components
        .iter()
        .filter_map(|component| component.properties.as_ref())
        .any(|properties| properties.package_location.is_some() && properties.repository.is_none());
    if located {
        legacy("a component has `packageLocation` instead of `repository`")
    } else {
        Ok(())
    }
}

fn profile_parts(
    raw: RawProfile,
    default_timeout_ms: u64,
) -> Result<(ProfileKind, Vec<Component>, Option<DeviceConstraints>), DeploymentError> {
    let kind = match text(raw.kind, "spec.deploymentProfile.type", NAME_BYTES_MAX)?.as_str() {
        "compose" => ProfileKind::Compose,
        "helm" => ProfileKind::Helm,
        "custom" => ProfileKind::Custom,
        other => ProfileKind::Other(other.to_owned()),
    };
    let field = "spec.deploymentProfile.components";
    let raw_components = raw.components.ok_or_else(|| DeploymentError::missing(field))?;
    if raw_components.is_empty() || raw_components.len() > COMPONENTS_MAX {
        let reason =
            format!("{} entries, 1 to {COMPONENTS_MAX} are accepted", raw_components.len());
        return Err(DeploymentError::field(field, reason));
    }
    let mut names = BTreeSet::new();
    let mut components = Vec::new();
    for (index, raw) in raw_components.into_iter().enumerate() {
        let place = format!("{field}[{index}]");
        let component = component(raw, &place, &kind, default_timeout_ms)?;
        if !names.insert(component.name.clone()) {
            return Err(DeploymentError::field(format!("{place}.name"), "used twice"));
        }
        components.push(component);
    }
    Ok((kind, components, raw.device_constraints))
}

fn component(
    raw: RawComponent,
    place: &str,
    kind: &ProfileKind,
    default_timeout_ms: u64,
) -> Result<Component, DeploymentError> {
    let name = text(raw.name, &format!("{place}.name"), COMPONENT_NAME_BYTES_MAX)?;
    let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.bytes().all(permitted) || name.starts_with('-') || name.ends_with('-') {
        let reason = "may only hold lowercase letters, digits and inner dashes";
        return Err(DeploymentError::field(format!("{place}.name"), reason));
    }
    let properties =
        raw.properties.ok_or_else(|| DeploymentError::missing(format!("{place}.properties")))?;
    let at = |key: &str| format!("{place}.properties.{key}");
    let repository = text(properties.repository, &at("repository"), REPOSITORY_BYTES_MAX)?;
    if repository.strip_prefix("oci://").is_none_or(str::is_empty) {
        return Err(DeploymentError::field(at("repository"), "does not begin with oci://"));
    }
    let revision = text(properties.revision, &at("revision"), REVISION_BYTES_MAX)?;
    // The content of a custom component is agreed between suppliers; so is how its versions are written.
    let version = match (Version::parse(&revision.replace('_', "+")), kind) {
        (Ok(version), _) if !revision.contains('+') => Some(version),
        (_, ProfileKind::Custom | ProfileKind::Other(_)) => None,
        (_, ProfileKind::Compose | ProfileKind::Helm) => {
            let reason = "not SemVer 2.0 without `v` and with `_` for `+`";
            return Err(DeploymentError::field(at("revision"), reason));
        }
    };
    let wait = match &properties.wait {
        None | Some(serde_json::Value::Null) => true,
        Some(serde_json::Value::Bool(wait)) => *wait,
        Some(serde_json::Value::String(text)) if text == "true" => true,
        Some(serde_json::Value::String(text)) if text == "false" => false,
        Some(_) => return Err(DeploymentError::field(at("wait"), "not a boolean")),
    };
    let timeout_ms = match properties.timeout.as_deref() {
        None => default_timeout_ms,
        Some(text) => timeout_ms(text).ok_or_else(|| {
            DeploymentError::field(at("timeout"), "not `<minutes>m<seconds>s` of at most a week")
        })?,
    };
    Ok(Component { name: name.as_str().into(), repository, revision, version, wait, timeout_ms })
}

/// `8m30s` in milliseconds.
fn timeout_ms(text: &str) -> Option<u64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let seconds = number(minutes)?.checked_mul(60)?.checked_add(number(seconds)?)?;
    seconds.checked_mul(1000).filter(|ms| *ms <= TIMEOUT_MS_MAX)
}

fn application_id(raw: Option<String>) -> Result<String, DeploymentError> {
    let field = "spec.applicationId";
    let id = text(raw, field, 200)?;
    let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !id.bytes().all(permitted) {
        return Err(DeploymentError::field(
            field,
            "may only hold lowercase letters, digits, dashes",
        ));
    }
    Ok(id)
}

fn text(raw: Option<String>, field: &str, bytes_max: usize) -> Result<String, DeploymentError> {
    let text = raw.ok_or_else(|| DeploymentError::missing(field))?;
    if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        let reason = format!("must have 1 to {bytes_max} bytes and no control characters");
        return Err(DeploymentError::field(field, reason));
    }
    Ok(text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}
