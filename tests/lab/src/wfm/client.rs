//! One client: its current and previous desired state, its devices and what it reported.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::WfmError;
use super::manifest::Published;
use crate::deployments::DeploymentSpec;
use crate::ids::{ClientId, DeploymentId};
use crate::report::{State, StatusReport};

/// Reports remembered for each client; older ones are only in the file.
const REPORTS_KEPT: usize = 50_000;

/// What a device last reported about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapabilityReport {
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How many reports there were of this device.
    pub count: u64,
    /// The body as received.
    pub body: Map<String, Value>,
}

/// One deployment of a client with what was said of it.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentView {
    /// Its id.
    pub id: DeploymentId,
    /// Its name, when the lab made the document.
    pub name: Option<String>,
    /// Whether it is in the desired state now.
    pub is_desired: bool,
    /// The version at which its content last changed, or it was removed.
    pub target_version: u64,
    /// Whether the latest report says that the target is reached.
    pub is_converged: bool,
    /// The latest report.
    pub latest: Option<StatusReport>,
}

/// Everything about one client.
#[derive(Clone, Debug, Serialize)]
pub struct ClientView {
    /// The client.
    pub client: ClientId,
    /// Whether local policy accepts it.
    pub is_accepted: bool,
    /// The current manifest version.
    pub version: u64,
    /// The newest version it has fetched.
    pub served_version: Option<u64>,
    /// When it last asked for the manifest, milliseconds since the Unix epoch.
    pub last_poll_ms: Option<u64>,
    /// By device id.
    pub devices: BTreeMap<String, CapabilityReport>,
    /// Desired ones and removed ones that were reported on.
    pub deployments: Vec<DeploymentView>,
}

/// One client as kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) is_accepted: bool,
    pub(super) current: Published,
    pub(super) previous: Option<Published>,
    pub(super) deployments: BTreeMap<DeploymentId, Deployment>,
    pub(super) devices: BTreeMap<String, CapabilityReport>,
    pub(super) served_version: Option<u64>,
    /// Digests this client may fetch; documents with their deployment.
    pub(super) bundles: Vec<String>,
    pub(super) documents: BTreeMap<String, DeploymentId>,
    #[serde(skip)]
    pub(super) last_poll_ms: Option<u64>,
    #[serde(skip)]
    pub(super) reports: VecDeque<StatusReport>,
    #[serde(skip)]
    pub(super) reports_count: u64,
}

/// One deployment as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deployment {
    /// Digest of the document; `None` once removed.
    pub(super) digest: Option<String>,
    pub(super) target_version: u64,
    pub(super) name: Option<String>,
    pub(super) components: Vec<String>,
    pub(super) spec: Option<DeploymentSpec>,
}

impl Client {
    /// A client's first manifest is version 1 and lists nothing.
    pub(super) fn new() -> Self {
        let current =
            Published { version: 1, bundle: None, deployments: Vec::new(), are_sizes_wrong: false };
        Self {
            is_accepted: false,
            current,
            previous: None,
            deployments: BTreeMap::new(),
            devices: BTreeMap::new(),
            served_version: None,
            bundles: Vec::new(),
            documents: BTreeMap::new(),
            last_poll_ms: None,
            reports: VecDeque::new(),
            reports_count: 0,
        }
    }

    pub(super) fn next_version(&self, id: &ClientId) -> Result<u64, WfmError> {
        let next = self.current.version.checked_add(1);
        next.ok_or_else(|| WfmError::LastVersion { client: id.clone() })
    }

    pub(super) fn allow_bundle(&mut self, digest: &str) {
        if !self.bundles.iter().any(|known| known == digest) {
            self.bundles.push(digest.to_owned());
        }
    }

    pub(super) fn remember(&mut self, report: StatusReport) {
        self.reports_count = report.index;
        if self.reports.len() >= REPORTS_KEPT {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
    }

    /// What is odd about a report though no rule forbids it.
    pub(super) fn warnings(&self, deployment: &DeploymentId, adopted_version: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let newest = self.current.version;
        if adopted_version > newest {
            warnings.push(format!("adopts version {adopted_version}, the newest is {newest}"));
        }
        if !self.deployments.contains_key(deployment) {
            warnings.push("this deployment was never in the desired state".to_owned());
        }
        let earlier = self.reports.iter().rev().find(|report| report.deployment == *deployment);
        if let Some(earlier) = earlier
            && earlier.adopted_version > adopted_version
        {
            let before = earlier.adopted_version;
            warnings.push(format!("adopts version {adopted_version} after {before}"));
        }
        warnings
    }

    pub(super) fn view(&self, id: &ClientId) -> ClientView {
        let deployments = self.deployments.iter().map(|(id, deployment)| {
            let latest = self.reports.iter().rev().find(|report| report.deployment == *id);
            let is_desired = deployment.digest.is_some();
            let wanted = if is_desired { State::Installed } else { State::Removed };
            DeploymentView {
                id: id.clone(),
                name: deployment.name.clone(),
                is_desired,
                target_version: deployment.target_version,
                is_converged: latest.is_some_and(|report| {
                    report.state == wanted && report.adopted_version >= deployment.target_version
                }),
                latest: latest.cloned(),
            }
        });
        ClientView {
            client: id.clone(),
            is_accepted: self.is_accepted,
            version: self.current.version,
            served_version: self.served_version,
            last_poll_ms: self.last_poll_ms,
            devices: self.devices.clone(),
            deployments: deployments.collect(),
        }
    }
}

/// Name and component names of a document, as far as it has them: it may be broken on purpose.
pub(super) fn described(yaml: &[u8]) -> (Option<String>, Vec<String>) {
    let text = String::from_utf8_lossy(yaml);
    let document: Value = serde_saphyr::from_str(&text).unwrap_or(Value::Null);
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    let components = document.pointer("/spec/deploymentProfile/components");
    let components = components.and_then(Value::as_array).map(|items| {
        items.iter().filter_map(|item| item.get("name")?.as_str().map(ToOwned::to_owned)).collect()
    });
    (name.map(ToOwned::to_owned), components.unwrap_or_default())
}
