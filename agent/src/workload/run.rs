//! Applying, comparing, pruning, removing: what touches the engine's containers.

use super::Workloads;
use super::prepared::PreparedComponent;
use crate::engine::{EngineError, ImageId, MismatchKind, Unit, WaitPolicy};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use std::collections::BTreeSet;

/// One component at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Which revision.
    pub revision: Digest,
    /// Which component.
    pub component: ComponentName,
}

impl Workloads {
    /// Makes a component run as its revision says, leaving alone what already does.
    ///
    /// # Errors
    /// Why it does not run. An artifact that was lost is fetched again once before that is an error.
    pub async fn apply(&self, target: &Target, wait: WaitPolicy) -> Result<(), Failure> {
        let (unit, prepared) = match self.unit(target).await {
            Err(failure) if failure.code == Code::ArtifactLost => {
                self.prepare(&target.deployment, &target.revision).await?;
                self.unit(target).await?
            }
            other => other?,
        };
        let applied = match self.engine.apply(&unit, &wait).await {
            Err(EngineError::ImageMissing { .. }) => {
                self.repull(&prepared, &unit.project).await?;
                self.engine.apply(&unit, &wait).await
            }
            other => other,
        };
        let applied = applied.map_err(|error| error.to_failure())?;
        tracing::debug!(
            deployment = %target.deployment,
            component = %target.component,
            created = applied.created,
            adopted = applied.adopted,
            recreated = applied.recreated,
            restarted = applied.restarted,
            "applied"
        );
        Ok(())
    }

    async fn unit(&self, target: &Target) -> Result<(Unit, PreparedComponent), Failure> {
        let document = self.document(&target.deployment, &target.revision).await?;
        let prepared = self.prepared_component(&target.revision, &target.component).await?;
        let environment = document.environment_for(target.component.as_str());
        let (project, archive_dir) = self.load(&prepared.archive, environment).await?;
        let images =
            prepared.images.iter().map(|(service, pin)| (service.clone(), ImageId::new(&pin.id)));
        let unit = Unit {
            deployment: target.deployment.clone(),
            component: target.component.clone(),
            revision: target.revision.clone(),
            project,
            images: images.collect(),
            archive_dir,
            extra_env: self.telemetry_env.clone(),
            bind_roots: self.host_policy.bind_roots.clone(),
        };
        Ok((unit, prepared))
    }

    /// Compares what runs with what is held. One failure for each component that differs.
    ///
    /// # Errors
    /// The comparison itself was not possible.
    pub async fn observe(
        &self,
        deployment: &DeploymentId,
        held: &[(ComponentName, Digest)],
    ) -> Result<Vec<Failure>, Failure> {
        let mut found = Vec::new();
        for (component, revision) in held {
            let target = Target {
                deployment: deployment.clone(),
                revision: revision.clone(),
                component: component.clone(),
            };
            let unit = match self.unit(&target).await {
                Ok((unit, _)) => unit,
                Err(failure) if failure.code == Code::ArtifactLost => {
                    found.push(failure.in_component(component.clone()));
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let mismatches = self.engine.observe(&unit).await.map_err(|e| e.to_failure())?;
            if let Some(first) = mismatches.first() {
                let unhealthy = mismatches.iter().all(|m| m.kind == MismatchKind::Unhealthy);
                let code = if unhealthy { Code::Unhealthy } else { Code::Mismatch };
                let more = mismatches.len().saturating_sub(1);
                let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
                let message = format!("service `{}` {}{more}", first.service, first.kind);
                found.push(Failure::new(code, message).in_component(component.clone()));
            }
        }
        Ok(found)
    }

    /// Removes what belongs to other components of the deployment than these.
    ///
    /// # Errors
    /// Something is left.
    pub async fn prune(
        &self,
        deployment: &DeploymentId,
        keep: &[ComponentName],
    ) -> Result<(), Failure> {
        let owned = self.engine.components(deployment).await.map_err(|e| e.to_failure())?;
        let keep: BTreeSet<&ComponentName> = keep.iter().collect();
        let mut first_failure = None;
        for component in owned.iter().filter(|component| !keep.contains(component)) {
            let removed =
                self.engine.remove_component(deployment, component, self.volumes_on_removal).await;
            if let Err(error) = removed {
                first_failure.get_or_insert_with(|| error.to_failure());
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Removes everything of the deployment.
    ///
    /// # Errors
    /// Something is left.
    pub async fn remove(&self, deployment: &DeploymentId) -> Result<(), Failure> {
        self.engine
            .remove_deployment(deployment, self.volumes_on_removal)
            .await
            .map_err(|error| error.to_failure())
    }
}
