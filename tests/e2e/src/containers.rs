//! What the engine runs, seen without the agent's help.

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use margo_agent::engine::{LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_SERVICE};
use std::collections::HashMap;
use tokio::process::Command;

/// One container of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Component and service, as `web/app`.
    pub place: String,
    /// The engine's id: changes exactly when the container is made anew.
    pub id: String,
    /// Whether it runs.
    pub runs: bool,
}

/// The engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    /// The socket as the command line wants it.
    host: String,
}

impl Engine {
    /// The engine on a socket.
    ///
    /// # Panics
    /// When the path is unusable.
    pub fn on(socket: &str) -> Self {
        let docker = Docker::connect_with_unix(socket, 60, bollard::API_DEFAULT_VERSION);
        Self { docker: docker.expect("engine socket"), host: format!("unix://{socket}") }
    }

    /// The socket as the command line wants it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The API, with the version the engine speaks.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub async fn api(&self) -> Docker {
        self.docker.clone().negotiate_version().await.expect("the engine answers")
    }

    /// A deployment's containers, sorted.
    pub async fn containers(&self, deployment: &str) -> Vec<Container> {
        let mut found: Vec<Container> =
            self.list(deployment).await.into_iter().map(container).collect();
        found.sort();
        found
    }

    async fn list(&self, deployment: &str) -> Vec<ContainerSummary> {
        let filters =
            HashMap::from([("label".to_owned(), vec![format!("{LABEL_DEPLOYMENT}={deployment}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.api().await.list_containers(Some(options)).await.expect("list containers")
    }

    /// Runs the engine's command line, as a person would behind the agent's back, and returns its output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn cli(&self, args: &[&str]) -> String {
        let command = Command::new("docker").arg("-H").arg(&self.host).args(args).output().await;
        let output = command.expect("run docker");
        assert!(
            output.status.success(),
            "docker {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the engine says of a container, an image or a network, by a template.
    pub async fn inspect(&self, id: &str, template: &str) -> String {
        self.cli(&["inspect", "--format", template, id]).await
    }

    /// The variable that tells revisions apart; empty without one, or without the container.
    pub async fn marker(&self, id: &str) -> String {
        let found = self.api().await.inspect_container(id, None).await;
        let env = found.ok().and_then(|found| found.config?.env).unwrap_or_default();
        let marker = env.iter().find_map(|variable| variable.strip_prefix("MARKER="));
        marker.unwrap_or_default().to_owned()
    }

    /// Kills and removes a container behind the agent's back.
    pub async fn destroy(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        // Somebody may have been faster.
        let _ = self.api().await.remove_container(id, Some(options)).await;
    }

    /// Removes everything of a deployment: the end of a test, passed or not.
    pub async fn sweep(&self, deployment: &str) {
        for container in self.containers(deployment).await {
            self.destroy(&container.id).await;
        }
        let api = self.api().await;
        let label = format!("{LABEL_DEPLOYMENT}={deployment}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let networks = bollard::query_parameters::ListNetworksOptionsBuilder::default();
        let networks = api.list_networks(Some(networks.filters(&filters).build())).await;
        for network in networks.unwrap_or_default() {
            let _ = api.remove_network(network.id.as_deref().unwrap_or_default()).await;
        }
        let volumes = bollard::query_parameters::ListVolumesOptionsBuilder::default();
        let volumes = api.list_volumes(Some(volumes.filters(&filters).build())).await;
        for volume in volumes.ok().and_then(|list| list.volumes).unwrap_or_default() {
            let options = RemoveVolumeOptionsBuilder::default().build();
            let _ = api.remove_volume(&volume.name, Some(options)).await;
        }
    }
}

fn container(summary: ContainerSummary) -> Container {
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Container {
        place: format!("{}/{}", label(LABEL_COMPONENT), label(LABEL_SERVICE)),
        id: summary.id.unwrap_or_default(),
        runs: summary.state.is_some_and(|state| state.to_string() == "running"),
    }
}
