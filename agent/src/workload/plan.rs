//! A deployment's document, read from the store and judged: is it for this device, and may it run here?

use super::{Workloads, blocking};
use crate::margo::deployment::ProfileKind;
use crate::margo::eligibility::{self, Eligibility};
use crate::margo::{ApplicationDeployment, DeploymentError};
use state_machine::desired::{Component, Deployment, Kind};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{DeploymentId, Digest, ManifestVersion};
use std::sync::Arc;

/// What the machine needs of a deployment's document. One that cannot be read is described by its id alone:
/// preparing it says what is wrong with it, and the other deployments of the manifest are not affected (I6).
/// `is_managed`: a `custom` profile means firmware here.
pub fn describe(
    id: &DeploymentId,
    revision: &Digest,
    version: ManifestVersion,
    document: Result<&ApplicationDeployment, &DeploymentError>,
    is_managed: bool,
) -> Arc<Deployment> {
    let (name, kind, components) = match document {
        Ok(document) => (
            document.name.clone(),
            match document.profile {
                ProfileKind::Custom if is_managed => Kind::Firmware,
                _ => Kind::Compose,
            },
            document
                .components
                .iter()
                .map(|component| Component {
                    name: component.name.clone(),
                    wait: component.wait,
                    timeout_ms: component.timeout_ms,
                })
                .collect(),
        ),
        Err(_) => (id.as_str().to_owned(), Kind::Compose, Vec::new()),
    };
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
    pub(super) fn judge(
        &self,
        document: &ApplicationDeployment,
        expected: &ProfileKind,
    ) -> Result<(), Failure> {
        if !document.is_for(&self.device) {
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
