//! A deployment's document, read from the store and judged: is it for this device, and may it run here?

use super::{Workloads, blocking};
use crate::margo::deployment::ProfileKind;
use crate::margo::eligibility::{self, Eligibility};
use crate::margo::{ApplicationDeployment, Outline};
use state_machine::desired::{Component, Deployment, Kind};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest, ManifestVersion};
use std::sync::Arc;

/// How documents are understood on this device.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// For components that name no timeout, in milliseconds.
    pub timeout_ms: u64,
    /// A `custom` profile means firmware here.
    pub is_managed: bool,
}

/// What the machine needs of a deployment's document. One that is refused is described by the names that can be read
/// in it, so that the WFM takes the report (R183, R185), and by the deployment's id where there is no name: preparing
/// it says what is wrong with it, and the other deployments of the manifest are not affected (I6).
pub fn describe(
    id: &DeploymentId,
    revision: &Digest,
    version: ManifestVersion,
    yaml: &[u8],
    reading: Reading,
) -> Arc<Deployment> {
    let (name, is_custom, components) =
        match ApplicationDeployment::parse(yaml, Some(id), reading.timeout_ms) {
            Ok(document) => {
                let is_custom = document.profile == ProfileKind::Custom;
                let component = |one: crate::margo::deployment::Component| Component {
                    name: one.name,
                    wait: one.wait,
                    timeout_ms: one.timeout_ms,
                };
                (document.name, is_custom, document.components.into_iter().map(component).collect())
            }
            Err(_) => {
                let Outline { name, is_custom, components } = Outline::read(yaml);
                let component = |name: String| Component {
                    name: ComponentName::new(name),
                    wait: true,
                    timeout_ms: reading.timeout_ms,
                };
                let name = name.unwrap_or_else(|| id.as_str().to_owned());
                (name, is_custom, components.into_iter().map(component).collect())
            }
        };
    let kind = if is_custom && reading.is_managed { Kind::Firmware } else { Kind::Compose };
    let (id, revision) = (id.clone(), revision.clone());
    Arc::new(Deployment { id, revision, version, name, kind, components })
}

impl Workloads {
    /// Reads a revision's document.
    pub(super) async fn document(
        &self,
        deployment: &DeploymentId,
        revision: &Digest,
    ) -> Result<ApplicationDeployment, Failure> {
        let (artifacts, wanted) = (Arc::clone(&self.artifacts), revision.clone());
        let yaml = blocking(move || artifacts.get(&wanted).map_err(|e| e.to_failure())).await?;
        ApplicationDeployment::parse(&yaml, Some(deployment), self.component_timeout_default_ms)
            .map_err(|error| error.to_failure())
    }

    /// Refuses what must not run here, before anything is fetched for it (R136, R162).
    pub(super) async fn judge(
        &self,
        document: &ApplicationDeployment,
        revision: &Digest,
        expected: &ProfileKind,
    ) -> Result<(), Failure> {
        // What came with an image cannot name the device it is on: it is for each that has it.
        if !document.is_for(&self.device) && !self.is_preloaded(revision).await? {
            let message = format!("this device is {}", self.device.as_str());
            return Err(Failure::new(Code::WrongDevice, message));
        }
        if document.profile != *expected {
            let firmware =
                if self.firmware.is_managed { " and takes firmware as custom" } else { "" };
            let found = document.profile.as_str();
            let message = format!("profile type `{found}`; this device runs compose{firmware}");
            return Err(Failure::new(Code::UnsupportedProfile, message));
        }
        let Some(constraints) = &document.constraints else { return Ok(()) };
        match eligibility::evaluate(constraints, &self.capabilities) {
            Eligibility::Eligible => Ok(()),
            Eligibility::Ineligible { reason } => Err(Failure::new(Code::Ineligible, reason)),
        }
    }
}
