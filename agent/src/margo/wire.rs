//! Bodies as they stand on the wire, and nothing else: no checks beyond types, no meaning.
//!
//! Unknown members are ignored everywhere (R135, R240). What is read is validated by `manifest` and `deployment`;
//! what is sent is made by `capabilities` and `status`.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Media type of the state manifest (R121).
pub const MANIFEST_MEDIA_TYPE: &str = "application/vnd.margo.manifest.v1+json";
/// Media type of a bundle.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.margo.bundle.v1+tar+gzip";

/// `GET /api/v1/deployments`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawManifest {
    /// Strictly increasing; never a float here.
    #[serde(deserialize_with = "version")]
    pub manifest_version: u64,
    /// Outer `None`: absent, which is an error; inner `None`: `null`.
    #[serde(default, deserialize_with = "present")]
    pub bundle: Option<Option<RawBundleRef>>,
    /// Every deployment that is to run.
    pub deployments: Vec<RawDeploymentRef>,
}

/// Names the key, which the parser does not.
fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let version = u64::deserialize(deserializer);
    version.map_err(|error| serde::de::Error::custom(format!("manifestVersion: {error}")))
}

/// The archive that holds every deployment document.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawBundleRef {
    /// Must be [`BUNDLE_MEDIA_TYPE`].
    pub media_type: String,
    /// Of the archive's bytes.
    pub digest: String,
    /// `/api/v1/bundles/{digest}`.
    pub url: String,
}

/// One deployment document.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawDeploymentRef {
    /// UUID.
    pub deployment_id: String,
    /// Of the YAML's bytes.
    pub digest: String,
    /// `/api/v1/deployments/{deploymentId}/{digest}`.
    pub url: String,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An ApplicationDeployment document.
#[derive(Clone, Debug, Deserialize)]
pub struct RawDeployment {
    /// UUID; in older envelopes elsewhere.
    #[serde(default)]
    pub id: Option<String>,
    /// Only in documents older than rc.3.
    #[serde(default, rename = "apiVersion")]
    pub api_version: Option<String>,
    /// Only in documents older than rc.3.
    #[serde(default)]
    pub kind: Option<String>,
    /// Names.
    #[serde(default)]
    pub metadata: Option<RawMetadata>,
    /// Content.
    #[serde(default)]
    pub spec: Option<RawSpec>,
}

/// `metadata`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawMetadata {
    /// Deployment name.
    #[serde(default)]
    pub name: Option<String>,
    /// Kubernetes namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Target device.
    #[serde(default)]
    pub device_id: Option<String>,
    /// Free labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// `spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSpec {
    /// Application description's id.
    #[serde(default)]
    pub application_id: Option<String>,
    /// Profile.
    #[serde(default)]
    pub deployment_profile: Option<RawProfile>,
    /// By name.
    #[serde(default)]
    pub parameters: Option<BTreeMap<String, RawParameter>>,
}

/// `spec.deploymentProfile`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawProfile {
    /// `compose`, `helm`, `custom`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// In order of installation (R150).
    #[serde(default)]
    pub components: Option<Vec<RawComponent>>,
    /// Where it may run.
    #[serde(default)]
    pub device_constraints: Option<DeviceConstraints>,
}

/// `components[]`.
#[derive(Clone, Debug, Deserialize)]
pub struct RawComponent {
    /// Unique name.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is and how it is started.
    #[serde(default)]
    pub properties: Option<RawComponentProperties>,
}

/// `components[].properties`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawComponentProperties {
    /// `oci://…`.
    #[serde(default)]
    pub repository: Option<String>,
    /// OCI tag.
    #[serde(default)]
    pub revision: Option<String>,
    /// Boolean, or its text form as some examples have it.
    #[serde(default)]
    pub wait: Option<serde_json::Value>,
    /// `5m0s`.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Only in documents older than rc.3.
    #[serde(default)]
    pub package_location: Option<String>,
}

/// `spec.parameters.<name>`.
#[derive(Clone, Debug, Deserialize)]
pub struct RawParameter {
    /// Any scalar or an array of scalars.
    #[serde(default)]
    pub value: serde_json::Value,
    /// Where it goes.
    #[serde(default)]
    pub targets: Vec<RawTarget>,
}

/// `spec.parameters.<name>.targets[]`.
#[derive(Clone, Debug, Deserialize)]
pub struct RawTarget {
    /// For compose: the name of an environment variable.
    pub pointer: String,
    /// Names of components.
    #[serde(default)]
    pub components: Vec<String>,
}

/// `deviceConstraints`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceConstraints {
    /// Minimum sizes.
    #[serde(default)]
    pub capacity_requirements: Option<CapacityRequirements>,
    /// Alternatives, one of which must match.
    #[serde(default)]
    pub eligibility_rules: Option<Vec<EligibilityRule>>,
}

/// `capacityRequirements`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct CapacityRequirements {
    /// Of one processor.
    #[serde(default)]
    pub cpu: Option<CpuRequirement>,
    /// `<n>Ki|Mi|Gi`.
    #[serde(default)]
    pub memory: Option<String>,
    /// `<n>Ki|Mi|Gi|Ti|Pi|Ei`.
    #[serde(default)]
    pub storage: Option<String>,
}

/// `capacityRequirements.cpu`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct CpuRequirement {
    /// Minimum, possibly fractional.
    pub cores: f64,
    /// Any of these; empty = any at all.
    #[serde(default)]
    pub architectures: Vec<String>,
}

/// One alternative: both selectors must match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EligibilityRule {
    /// Over `properties`.
    #[serde(default)]
    pub property_selector: Option<Selector>,
    /// Over `labels`.
    #[serde(default)]
    pub label_selector: Option<Selector>,
}

/// Expressions that must all match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// The expressions.
    #[serde(default)]
    pub match_expressions: Vec<MatchExpression>,
}

/// One expression.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchExpression {
    /// JSON Pointer (properties, elements) or label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, …; a text, because an unknown one must not make the document unreadable.
    pub operator: String,
    /// Operands.
    #[serde(default)]
    pub values: Option<Vec<serde_json::Value>>,
    /// For arrays of objects.
    #[serde(default)]
    pub item_selector: Option<Box<Selector>>,
}

/// `PUT /api/v1/capabilities/{deviceId}`. Only these members are permitted at the root (R104).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceCapabilitiesManifest {
    /// What the device is and has.
    pub properties: DeviceProperties,
    /// Supplier-defined.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelValue>,
    /// `x-<name>-extensions` objects.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, serde_json::Value>,
}

/// `properties`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceProperties {
    /// Equal to the device id in the path.
    pub id: String,
    /// Vendor.
    pub vendor: String,
    /// Model number.
    pub model_number: String,
    /// Serial number.
    pub serial_number: String,
    /// Sets of cores that one workload can use.
    pub cpus: Vec<Cpu>,
    /// With a binary unit.
    pub memory: String,
    /// With a binary unit.
    pub storage: String,
    /// May be empty.
    pub peripherals: Vec<Peripheral>,
    /// May be empty.
    pub interfaces: Vec<Interface>,
    /// Must be true on a device that hosts workloads (R105).
    pub otel_collector: bool,
    /// `oci`, `custom` (R106).
    pub supported_runtimes: Vec<String>,
    /// `compose`, `helm`, `custom` (R106).
    pub supported_deployment_types: Vec<String>,
}

/// `cpus[]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Whole or fractional cores.
    pub cores: serde_json::Number,
    /// `amd64`, `arm64` or `arm`; absent on anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// `peripherals[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peripheral {
    /// `gpu`, `display`, `camera`, `microphone`, `speaker`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// `interfaces[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// `ethernet`, `wifi`, `cellular`, `bluetooth`, `usb`, `canbus`, `rs232`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A label's value (R109).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LabelValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// Numbers.
    Numbers(Vec<serde_json::Number>),
    /// Texts.
    Texts(Vec<String>),
}

/// `POST /api/v1/deployments/{deploymentId}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatusManifest {
    /// Equal to the path.
    pub deployment_id: String,
    /// Only for a child device (R184).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Version whose revision of this deployment is held (R187).
    pub adopted_manifest_version: u64,
    /// Of the whole deployment.
    pub status: StatusEntry,
    /// One entry for each component (R183).
    pub components: Vec<ComponentStatus>,
}

/// `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusEntry {
    /// Most severe of the components' (R182).
    pub state: State,
    /// Only when something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError>,
}

/// `components[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// As in the deployment.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Only when something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError>,
}

/// `error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusError {
    /// Stable code.
    pub code: String,
    /// Deployment name or component name (R185).
    pub source: String,
    /// For a person.
    pub message: String,
}

/// The six states (R181).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Received, not yet applied.
    Pending,
    /// Being applied.
    Installing,
    /// Applied.
    Installed,
    /// Something went wrong.
    Failed,
    /// Being removed.
    Removing,
    /// Gone.
    Removed,
}
