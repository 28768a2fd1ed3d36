//! One test's world: a lab, an agent, the engine, and the applications that are deployed.

use crate::agent::{Agent, Settings};
use crate::containers::{Container, Engine};
use crate::{PATIENCE, wait_for};
use margo_lab::registry::image::ImageConfig;
use margo_lab::{ComponentSpec, DeploymentId, DeploymentSpec, Lab, LabConfig, State, StatusReport};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An application: one component with a few services that do nothing, quickly.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, and its component's.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Its compose file; `${LAB_REGISTRY}` is the lab's registry.
    pub compose: String,
}

impl App {
    /// An application whose services sleep. `marker` tells its revisions' containers apart.
    pub fn sleeping(name: &str, revision: &str, marker: &str, services: usize) -> Self {
        let mut compose = String::from("services:\n");
        for number in 1..=services {
            compose.push_str(&format!(
                "  s{number}:\n    image: ${{LAB_REGISTRY}}/lab/busybox:1\n    \
                 command: [\"sleep\", \"1000000\"]\n    stop_signal: SIGKILL\n    \
                 environment:\n      MARKER: {marker}\n"
            ));
        }
        Self { name: name.to_owned(), revision: revision.to_owned(), compose }
    }

    /// An application with this compose file.
    pub fn with_compose(name: &str, revision: &str, compose: &str) -> Self {
        Self { name: name.to_owned(), revision: revision.to_owned(), compose: compose.to_owned() }
    }

    fn component(&self, lab: &Lab) -> ComponentSpec {
        let repository = format!("apps/{}", self.name);
        lab.registry()
            .push_compose_text(&repository, &self.revision, &self.compose)
            .expect("push the application");
        let repository = format!("oci://{}/{repository}", lab.registry().host());
        ComponentSpec::new(&*self.name, repository, &*self.revision)
    }
}

/// Whether there is an engine to test with. Without one the test says so loudly and is skipped, unless
/// `MARGO_REQUIRE_ENGINE` is set.
///
/// # Panics
/// When an engine is required and does not answer.
pub fn require_engine() -> bool {
    let socket = Settings::default().engine_socket;
    let answers = std::os::unix::net::UnixStream::connect(&socket).is_ok();
    assert!(
        answers || std::env::var_os("MARGO_REQUIRE_ENGINE").is_none(),
        "no Docker engine at {socket}"
    );
    if !answers {
        println!("skipped: no Docker engine at {socket}");
    }
    answers
}

/// A lab, an agent, an engine.
#[derive(Debug)]
pub struct World {
    /// The lab.
    pub lab: Lab,
    /// The agent.
    pub agent: Agent,
    /// The engine.
    pub engine: Engine,
    deployed: BTreeSet<DeploymentId>,
    root: TempDir,
}

impl World {
    /// A provisioned agent, not started, with default settings.
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// A provisioned agent, not started.
    ///
    /// # Panics
    /// When the lab cannot be started.
    pub async fn with(settings: Settings) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let lab = Lab::start(LabConfig::default()).await.expect("lab");
        lab.registry()
            .push_busybox_image("lab/busybox", "1", &ImageConfig::shell("sleep 1000000"))
            .expect("push busybox");
        let engine = Engine::on(&settings.engine_socket);
        let agent =
            Agent::new(root.path(), &lab.endpoints().wfm_url, lab.registry().host(), settings);
        lab.provision(&agent.identity_dir()).expect("provision");
        Self { lab, agent, engine, deployed: BTreeSet::new(), root }
    }

    /// The agent's root directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Puts an application into the desired state.
    ///
    /// # Panics
    /// When the lab refuses.
    pub fn deploy(&mut self, app: &App) -> DeploymentId {
        let spec = DeploymentSpec::compose(&*app.name, vec![app.component(&self.lab)]);
        self.deploy_spec(spec)
    }

    /// Puts a deployment of several components into the desired state.
    pub fn deploy_all(&mut self, name: &str, apps: &[App]) -> DeploymentId {
        let components = apps.iter().map(|app| app.component(&self.lab)).collect();
        self.deploy_spec(DeploymentSpec::compose(name, components))
    }

    /// Puts any deployment into the desired state.
    ///
    /// # Panics
    /// When the lab refuses.
    pub fn deploy_spec(&mut self, spec: DeploymentSpec) -> DeploymentId {
        let id = self.lab.deploy(spec).expect("deploy");
        self.deployed.insert(id.clone());
        id
    }

    /// Replaces a deployment's application by another revision.
    ///
    /// # Panics
    /// When the lab refuses.
    pub fn update(&self, id: &DeploymentId, app: &App) {
        let spec = DeploymentSpec::compose(&*app.name, vec![app.component(&self.lab)]);
        self.lab.update(id, spec).expect("update");
    }

    /// Waits until the WFM has been told this of a deployment's present content.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn reported(&self, id: &DeploymentId, state: State) -> StatusReport {
        match self.lab.wait_status(id, state, PATIENCE).await {
            Ok(report) => report,
            Err(error) => panic!("{error}\nthe agent's log:\n{}", tail(&self.agent.log())),
        }
    }

    /// Waits until a deployment has exactly these containers, all running, and returns them.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn running(&self, id: &DeploymentId, places: &[&str]) -> Vec<Container> {
        wait_for(&format!("{places:?} of {id} to run"), || async {
            let found = self.engine.containers(id.as_str()).await;
            let seen: Vec<&str> = found.iter().map(|c| c.place.as_str()).collect();
            let right = seen == places && found.iter().all(|container| container.runs);
            if right { Ok(found.clone()) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    /// Waits until the agent's stage is `synced`.
    pub async fn synced(&self) {
        wait_for("the agent to be synced", || async {
            let status = self.agent.status().await?;
            if status.stage == margo_agent::local_api::Stage::Synced {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }

    /// Ends the test: stops the agent, removes what it left on the engine.
    pub async fn end(mut self) {
        self.agent.kill().await;
        for id in &self.deployed {
            self.engine.sweep(id.as_str()).await;
        }
        self.deployed.clear();
    }

    /// Where a program of this workspace is.
    pub fn program(&self, name: &str) -> PathBuf {
        crate::agent::binary(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Only a failed test still has something here; it has no runtime to wait on.
        for id in &self.deployed {
            let found = std::process::Command::new("docker")
                .args(["ps", "-aq", "--filter", &format!("label=org.margo.deployment={id}")])
                .output();
            let ids = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned());
            for container in ids.unwrap_or_default().split_whitespace() {
                let _ =
                    std::process::Command::new("docker").args(["rm", "-fv", container]).output();
            }
        }
        if std::thread::panicking() {
            println!("the end of the agent's log:\n{}", tail(&self.agent.log()));
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines.get(from..).unwrap_or_default().join("\n")
}
