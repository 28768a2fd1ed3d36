//! Removal: graceful, complete, and content with finding things already gone.
//!
//! Every step is tried even if an earlier one failed; what is left is reported together.

use super::docker::Engine;
use super::error::{EngineError, message, status as http_status};
use super::naming::{LABEL_COMPONENT, compose_labels, label_filter};
use super::unit::VolumePolicy;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions, RemoveVolumeOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use state_machine::ids::{ComponentName, DeploymentId};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::timeout;

/// Longest a container may take to stop, whatever stop time its author chose (I11); then it is killed.
pub(crate) const STOP_LONGEST: Duration = Duration::from_secs(15 * 60);
/// Longest the engine may take to finish a removal that somebody else began.
const REMOVAL_LONGEST: Duration = Duration::from_secs(60);
/// Failures named in one error; more say nothing new.
const FAILURES_MAX: usize = 8;

type Filter = HashMap<String, Vec<String>>;

impl Engine {
    /// Removes everything of one component: containers in reverse order of dependencies, networks, and
    /// volumes if so told. What is already gone counts as removed.
    ///
    /// # Errors
    /// `Remove` naming what is left; `Unavailable`.
    pub async fn remove_component(
        &self,
        deployment: &DeploymentId,
        component: &ComponentName,
        volumes: VolumePolicy,
    ) -> Result<(), EngineError> {
        self.remove_all(label_filter(Some(deployment), Some(component)), volumes).await
    }

    /// Removes everything of a deployment, like [`Engine::remove_component`].
    ///
    /// # Errors
    /// `Remove` naming what is left; `Unavailable`.
    pub async fn remove_deployment(
        &self,
        deployment: &DeploymentId,
        volumes: VolumePolicy,
    ) -> Result<(), EngineError> {
        self.remove_all(label_filter(Some(deployment), None), volumes).await
    }

    /// The components of a deployment that have anything on the engine, removed or not.
    ///
    /// # Errors
    /// `Unavailable`, `Api`.
    pub async fn components(
        &self,
        deployment: &DeploymentId,
    ) -> Result<BTreeSet<ComponentName>, EngineError> {
        let docker = self.api().await?;
        let filter = label_filter(Some(deployment), None);
        let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
        let (containers, networks) =
            tokio::try_join!(self.list_ours(&docker, filter.clone()), async {
                self.seen("list networks", docker.list_networks(Some(options)).await)
            },)?;
        let labels = containers.into_iter().filter_map(|container| container.labels);
        Ok(labels
            .chain(networks.into_iter().filter_map(|network| network.labels))
            .filter_map(|mut labels| labels.remove(LABEL_COMPONENT))
            .map(ComponentName::new)
            .collect())
    }

    async fn remove_all(&self, filter: Filter, volumes: VolumePolicy) -> Result<(), EngineError> {
        let docker = self.api().await?;
        let mut failures = Vec::new();
        let with_volumes = volumes == VolumePolicy::Delete;
        let list = self.list_ours(&docker, filter.clone()).await?;
        let anonymous = anonymous_volumes(&list);
        let mut left: Vec<Doomed> = list.into_iter().map(Doomed::from).collect();
        while !left.is_empty() {
            let (now, later) = next_level(left);
            let removed = now.iter().map(|doomed| self.discard(&docker, &doomed.id, with_volumes));
            for (doomed, result) in now.iter().zip(join_all(removed).await) {
                note(&mut failures, "container", &doomed.id, result)?;
            }
            left = later;
        }
        self.remove_networks(&docker, &filter, &mut failures).await?;
        if with_volumes {
            self.remove_volumes(&docker, &filter, &mut failures).await?;
            for volume in anonymous {
                // Still in use by somebody else, or already gone with its container: both are fine.
                let _ = docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await;
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(EngineError::Remove { failures }) }
    }

    async fn remove_networks(
        &self,
        docker: &Docker,
        filter: &Filter,
        failures: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let options = ListNetworksOptionsBuilder::default().filters(filter).build();
        for network in self.seen("list networks", docker.list_networks(Some(options)).await)? {
            let Some(id) = &network.id else { continue };
            let result = self.seen("remove a network", self.remove_network(id).await);
            note(failures, "network", network.name.as_deref().unwrap_or(id), result)?;
        }
        Ok(())
    }

    async fn remove_volumes(
        &self,
        docker: &Docker,
        filter: &Filter,
        failures: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let options = ListVolumesOptionsBuilder::default().filters(filter).build();
        let list = self.seen("list volumes", docker.list_volumes(Some(options)).await)?;
        for volume in list.volumes.unwrap_or_default() {
            let options = RemoveVolumeOptionsBuilder::default().build();
            let result = gone_is_fine(docker.remove_volume(&volume.name, Some(options)).await);
            note(failures, "volume", &volume.name, self.seen("remove a volume", result))?;
        }
        Ok(())
    }

    /// Stops a container gracefully and removes it, with its anonymous volumes if so told.
    pub(crate) async fn discard(
        &self,
        docker: &Docker,
        id: &str,
        with_volumes: bool,
    ) -> Result<(), EngineError> {
        let patient = docker.clone().with_timeout(STOP_LONGEST);
        // A failed stop is no reason to stop: the forced removal below kills.
        if let Err(error) = gone_is_fine(patient.stop_container(id, None).await) {
            tracing::warn!(container = id, %error, "container did not stop, killing it");
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(with_volumes).build();
        let removed = docker.remove_container(id, Some(options)).await;
        self.forget(id);
        match removed {
            Err(error) if is_being_removed(&error) => wait_until_gone(docker, id).await,
            removed => self.seen("remove a container", gone_is_fine(removed)),
        }
    }
}

/// Anonymous volumes of containers. Once handed on to a replacement they count as named for the engine, and
/// no longer go with the container.
fn anonymous_volumes(list: &[ContainerSummary]) -> BTreeSet<String> {
    let mounts = list.iter().flat_map(|one| one.mounts.iter().flatten());
    let names = mounts.filter_map(|mount| mount.name.clone());
    names.filter(|name| name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit())).collect()
}

async fn wait_until_gone(docker: &Docker, id: &str) -> Result<(), EngineError> {
    let options = WaitContainerOptionsBuilder::default().condition("removed").build();
    let mut gone = Box::pin(docker.wait_container(id, Some(options)));
    // Any answer means the wait is over: removed, unknown, or its exit code.
    match timeout(REMOVAL_LONGEST, gone.next()).await {
        Ok(_) => Ok(()),
        Err(_) => Err(EngineError::api("wait for a removal", DockerError::RequestTimeoutError)),
    }
}

fn is_being_removed(error: &DockerError) -> bool {
    http_status(error) == Some(409) && message(error).contains("already in progress")
}

fn gone_is_fine(result: Result<(), DockerError>) -> Result<(), DockerError> {
    match result {
        Err(error) if http_status(&error) == Some(404) => Ok(()),
        result => result,
    }
}

/// Collects a failure; an engine that does not answer ends the whole call.
fn note(
    failures: &mut Vec<String>,
    kind: &str,
    name: &str,
    result: Result<(), EngineError>,
) -> Result<(), EngineError> {
    match result {
        Ok(()) => Ok(()),
        Err(error @ EngineError::Unavailable { .. }) => Err(error),
        Err(error) => {
            if failures.len() < FAILURES_MAX {
                failures.push(format!("{kind} `{name}`: {}", error.chain()));
            }
            Ok(())
        }
    }
}

/// A container that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doomed {
    id: String,
    /// Project and service: dependencies are named within a project.
    service: (String, String),
    depends_on: BTreeSet<(String, String)>,
}

impl From<ContainerSummary> for Doomed {
    fn from(container: ContainerSummary) -> Self {
        let labels = container.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let project = label(compose_labels::PROJECT);
        // `db:service_started:false,cache:service_healthy:true`
        let depends_on = label(compose_labels::DEPENDS_ON)
            .split(',')
            .filter_map(|entry| entry.split(':').next())
            .filter(|name| !name.is_empty())
            .map(|name| (project.clone(), name.to_owned()))
            .collect();
        Self {
            id: container.id.unwrap_or_default(),
            service: (project.clone(), label(compose_labels::SERVICE)),
            depends_on,
        }
    }
}

/// Splits off the containers that no other one needs. In a circle all go at once.
fn next_level(left: Vec<Doomed>) -> (Vec<Doomed>, Vec<Doomed>) {
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    for doomed in &left {
        for service in doomed.depends_on.iter().filter(|service| **service != doomed.service) {
            needed.insert(service.clone());
        }
    }
    let (later, now): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|doomed| needed.contains(&doomed.service));
    if now.is_empty() { (later, now) } else { (now, later) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doomed(service: &str, depends_on: &[&str]) -> Doomed {
        let labels = HashMap::from([
            (compose_labels::PROJECT.to_owned(), "p".to_owned()),
            (compose_labels::SERVICE.to_owned(), service.to_owned()),
            (
                compose_labels::DEPENDS_ON.to_owned(),
                depends_on
                    .iter()
                    .map(|name| format!("{name}:service_started:false"))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
        ]);
        ContainerSummary {
            id: Some(service.to_owned()),
            labels: Some(labels),
            ..ContainerSummary::default()
        }
        .into()
    }

    fn order(mut left: Vec<Doomed>) -> Vec<Vec<String>> {
        let mut levels = Vec::new();
        while !left.is_empty() {
            let (now, later) = next_level(left);
            levels.push(now.into_iter().map(|doomed| doomed.id).collect());
            left = later;
        }
        levels
    }

    #[test]
    fn dependents_go_first() {
        let levels =
            order(vec![doomed("db", &[]), doomed("web", &["api"]), doomed("api", &["db"])]);
        assert_eq!(levels, [["web"], ["api"], ["db"]]);
    }

    #[test]
    fn a_circle_and_a_missing_dependency_do_not_hang() {
        let levels =
            order(vec![doomed("a", &["b"]), doomed("b", &["a"]), doomed("c", &["gone", "c"])]);
        assert_eq!(levels, [vec!["c"], vec!["a", "b"]]);
    }
}
