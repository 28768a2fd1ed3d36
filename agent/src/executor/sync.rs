//! Polling, fetching, reporting: the machine's orders to the WFM client.

use super::{Shared, lock};
use crate::artifacts::Artifacts;
use crate::logging::ErrorChain;
use crate::margo::status::Overall;
use crate::margo::wire::{ComponentStatus, DeploymentStatusManifest, State};
use crate::margo::{FetchPreference, ManifestFetched, Poll, StateManifest};
use crate::workload::{Reading, blocking, describe};
use state_machine::desired::{Deployment, DesiredState};
use state_machine::effect::{ManifestHead, Outcome};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{DeploymentId, Digest};
use state_machine::report::{DeploymentState, Report};
use std::sync::Arc;

impl Shared {
    pub(super) async fn put_capabilities(&self) -> Result<Outcome, Failure> {
        let wfm = self.wfm()?;
        self.answered(wfm.put_capabilities(&self.device, &self.capabilities).await)?;
        Ok(Outcome::CapabilitiesAccepted)
    }

    pub(super) async fn poll(&self, etag: Option<&str>) -> Result<Outcome, Failure> {
        let wfm = self.wfm()?;
        match self.answered(wfm.poll(etag).await)? {
            Poll::NotModified => Ok(Outcome::ManifestUnchanged),
            Poll::Manifest(fetched) => {
                let head = ManifestHead {
                    version: fetched.manifest.version,
                    manifest: fetched.digest.clone(),
                };
                *lock(&self.manifest) = Some(*fetched);
                Ok(Outcome::ManifestReceived { head })
            }
        }
    }

    /// Fetches, verifies and stores every document of the manifest; then describes them.
    pub(super) async fn fetch(&self, manifest: &Digest) -> Result<Outcome, Failure> {
        let fetched = lock(&self.manifest).clone().filter(|fetched| fetched.digest == *manifest);
        let Some(ManifestFetched { manifest, etag, .. }) = fetched else {
            return Err(Failure::new(Code::Internal, "the manifest to fetch is not at hand"));
        };
        let wfm = self.wfm()?;
        let have = |digest: &Digest| self.artifacts.is_intact(digest).unwrap_or(false);
        let documents =
            self.answered(wfm.fetch_deployments(&manifest, have, FetchPreference::Auto).await)?;
        let artifacts = Arc::clone(&self.artifacts);
        let reading = Reading {
            timeout_ms: self.workloads.component_timeout_default_ms,
            is_managed: self.updater.is_some(),
        };
        let deployments = blocking(move || {
            for bytes in documents.values() {
                artifacts.put(bytes).map_err(|error| error.to_failure())?;
            }
            read_deployments(&artifacts, &manifest, reading)
                .map(|deployments| (manifest.version, deployments))
        })
        .await?;
        let (version, deployments) = deployments;
        Ok(Outcome::DeploymentsFetched { desired: DesiredState { version, etag, deployments } })
    }

    /// A document that was lost on this device is still at the WFM, under its digest.
    pub(super) async fn refetch_if_lost(&self, deployment: &DeploymentId, revision: &Digest) {
        if self.artifacts.is_intact(revision).unwrap_or(false) {
            return;
        }
        let Ok(wfm) = self.wfm() else { return };
        let wanted = StateManifest::of_one(deployment, revision);
        let found = wfm.fetch_deployments(&wanted, |_| false, FetchPreference::Individual).await;
        match self.answered(found) {
            Ok(documents) => {
                for bytes in documents.values() {
                    if let Err(error) = self.artifacts.put(bytes) {
                        tracing::warn!(error = %ErrorChain(&error), "storing a deployment failed");
                    }
                }
            }
            Err(failure) => tracing::warn!(%deployment, %failure, "a lost deployment stays lost"),
        }
    }

    pub(super) async fn send_report(&self, report: &Report) -> Result<Outcome, Failure> {
        let wfm = self.wfm()?;
        self.answered(wfm.post_status(&status_manifest(report)).await)?;
        Ok(Outcome::ReportAccepted)
    }
}

fn read_deployments(
    artifacts: &Artifacts,
    manifest: &StateManifest,
    reading: Reading,
) -> Result<Vec<Arc<Deployment>>, Failure> {
    let read = |deployment: &crate::margo::manifest::DeploymentRef| {
        let revision = &deployment.artifact.digest;
        let yaml = artifacts.get(revision).map_err(|error| error.to_failure())?;
        Ok(describe(&deployment.id, revision, manifest.version, &yaml, reading))
    };
    manifest.deployments.iter().map(read).collect()
}

fn wire_state(state: DeploymentState) -> State {
    match state {
        DeploymentState::Installed => State::Installed,
        DeploymentState::Removed => State::Removed,
        DeploymentState::Pending => State::Pending,
        DeploymentState::Installing => State::Installing,
        DeploymentState::Removing => State::Removing,
        DeploymentState::Failed => State::Failed,
    }
}

fn status_manifest(report: &Report) -> DeploymentStatusManifest {
    let components = report.components.iter().map(|component| {
        let state = wire_state(component.state);
        ComponentStatus::new(component.name.as_str(), state, component.failure.as_ref())
    });
    let overall = Overall {
        state: wire_state(report.state),
        deployment_name: report.name.clone(),
        failure: report.failure.clone(),
    };
    let components = components.collect();
    DeploymentStatusManifest::new(&report.deployment, None, report.version, &overall, components)
}
