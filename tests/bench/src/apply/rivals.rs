//! The others: the engine's API called as directly as possible, and `docker compose`.

use super::{Taken, segments_of};
use crate::Fault;
use crate::engine::now_ms;
use crate::scene::Scene;
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt};
use margo_e2e::App;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// On what is made through the bare API.
const LABEL: &str = "margo-bench";
/// Containers made at the same time; more are not faster on the machines at hand.
const AT_A_TIME: usize = 4;
/// On what docker compose makes; the agent's containers have it too.
const COMPOSE_LABEL: &str = "com.docker.compose.project";

/// What both need.
#[derive(Debug)]
pub(crate) struct Rivals {
    docker: Docker,
    registry: String,
    compose: Option<PathBuf>,
}

impl Rivals {
    /// Connects.
    ///
    /// # Errors
    /// The engine does not answer.
    pub(crate) async fn new(scene: &Scene, compose: Option<&Path>) -> Result<Self, Fault> {
        let rivals = Self {
            docker: scene.world.engine.api().await,
            registry: scene.world.lab.registry().host().to_owned(),
            compose: compose.map(Path::to_owned),
        };
        // What a run that was interrupted left behind.
        rivals.sweep(LABEL).await?;
        Ok(rivals)
    }

    /// Network, container, start: three calls and nothing else.
    ///
    /// # Errors
    /// The engine refuses.
    pub(super) async fn by_engine(&self, scene: &Scene, name: &str) -> Result<Taken, Fault> {
        scene.starts.clear();
        let began_ms = now_ms();
        self.docker.create_network(network(name)).await?;
        self.run(name, name).await?;
        let taken = taken(scene, began_ms, LABEL, name).await;
        self.sweep(&format!("{LABEL}={name}")).await?;
        taken
    }

    /// So many containers in one network that is there already, four at a time. Milliseconds until the last one has
    /// started.
    ///
    /// # Errors
    /// The engine refuses.
    pub(crate) async fn many_by_engine(&self, scene: &Scene, count: usize) -> Result<f64, Fault> {
        const SHARED: &str = "bench-many";
        let names: Vec<String> = (0..count).map(|number| format!("{SHARED}-{number}")).collect();
        self.docker.create_network(network(SHARED)).await?;
        scene.starts.clear();
        let began_ms = now_ms();
        let runs = futures_util::stream::iter(&names).map(|name| self.run(name, SHARED));
        runs.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        let mut last_ms = began_ms;
        for name in &names {
            last_ms = scene.starts.started(LABEL, name).await?.max(last_ms);
        }
        self.sweep(LABEL).await?;
        Ok(last_ms - began_ms)
    }

    async fn run(&self, name: &str, network: &str) -> Result<(), Fault> {
        let labels = HashMap::from([(LABEL.to_owned(), name.to_owned())]);
        let endpoints = HashMap::from([(network.to_owned(), EndpointSettings::default())]);
        let body = ContainerCreateBody {
            image: Some(format!("{}/lab/busybox:1", self.registry)),
            cmd: Some(vec!["sleep".to_owned(), "1000000".to_owned()]),
            env: Some(vec!["MARKER=one".to_owned()]),
            stop_signal: Some("SIGKILL".to_owned()),
            labels: Some(labels),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let id = self.docker.create_container(Some(options), body).await?.id;
        Ok(self.docker.start_container(&id, None).await?)
    }

    /// `docker compose up -d` of the file the agent gets.
    ///
    /// # Errors
    /// It fails.
    pub(super) async fn by_compose(&self, scene: &Scene, name: &str) -> Result<Taken, Fault> {
        let program = self.compose.as_ref().ok_or("no docker compose")?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("compose.yaml");
        std::fs::write(&file, App::sleeping(name, "1.0.0", "one", 1).compose)?;
        scene.starts.clear();
        let mut command = Command::new(program);
        command.arg("-f").arg(&file).args(["-p", name, "up", "-d"]);
        command.env("LAB_REGISTRY", &self.registry);
        let began_ms = now_ms();
        let output = command.output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let taken = taken(scene, began_ms, COMPOSE_LABEL, name).await;
        self.sweep(&format!("{COMPOSE_LABEL}={name}")).await?;
        taken
    }

    /// Removes all containers and networks with a label.
    async fn sweep(&self, label: &str) -> Result<(), Fault> {
        let filters = HashMap::from([("label", vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        for container in self.docker.list_containers(Some(options)).await? {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            self.docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await?;
        }
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        for network in self.docker.list_networks(Some(options)).await? {
            self.docker.remove_network(&network.id.unwrap_or_default()).await?;
        }
        Ok(())
    }
}

fn network(name: &str) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some(HashMap::from([(LABEL.to_owned(), name.to_owned())])),
        ..NetworkCreateRequest::default()
    }
}

async fn taken(scene: &Scene, began_ms: f64, label: &str, value: &str) -> Result<Taken, Fault> {
    let started_ms = scene.starts.started(label, value).await?;
    Ok(Taken {
        running_ms: started_ms - began_ms,
        offered_running_ms: 0.0,
        window_ms: (began_ms, started_ms),
        segments: segments_of(scene, began_ms, &[], label, value),
    })
}
