//! One test's world: a lab, an agent, the engine, and the applications that are deployed.

use crate::agent::{Agent, Settings};
use crate::app::App;
use crate::containers::Engine;
use margo_lab::registry::image::ImageConfig;
use margo_lab::{DeploymentId, DeploymentSpec, Lab, LabConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Marks the images of one world.
const WORLD_LABEL: &str = "margo-e2e.world";

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
    pub async fn with(settings: Settings) -> Self {
        let world = Self::unprovisioned(settings).await;
        world.provision();
        world
    }

    /// A provisioned agent, not started, with `extra` TOML in its configuration.
    pub async fn with_extra(extra: &str) -> Self {
        Self::with(Settings { extra: extra.to_owned(), ..Settings::default() }).await
    }

    /// An agent that knows the fleet manager's address and has no identity, not started.
    ///
    /// # Panics
    /// When the lab cannot be started.
    pub async fn unprovisioned(settings: Settings) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let lab = Lab::start(LabConfig::default()).await.expect("lab");
        let engine = Engine::on(&settings.engine_socket);
        let agent =
            Agent::new(root.path(), &lab.endpoints().wfm_url, lab.registry().host(), settings);
        let world = Self { lab, agent, engine, deployed: BTreeSet::new(), root };
        let image = world.image("sleep 1000000");
        world.lab.registry().push_busybox_image("lab/busybox", "1", &image).expect("push busybox");
        world
    }

    /// An image of this world alone that runs a command: another test's agent that collects its garbage does not
    /// take it away.
    pub fn image(&self, command: &str) -> ImageConfig {
        let mut image = ImageConfig::shell(command);
        image.labels.insert(WORLD_LABEL.to_owned(), self.lab.registry().host().to_owned());
        image
    }

    /// Writes the identity files.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn provision(&self) {
        self.lab.provision(&self.agent.identity_dir()).expect("provision");
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

    /// Changes a deployment of several components.
    ///
    /// # Panics
    /// When the lab refuses.
    pub fn update_all(&self, id: &DeploymentId, name: &str, apps: &[App]) {
        let components = apps.iter().map(|app| app.component(&self.lab)).collect();
        self.lab.update(id, DeploymentSpec::compose(name, components)).expect("update");
    }

    /// Ends the test: stops the agent, removes what it left on the engine.
    pub async fn end(mut self) {
        self.agent.kill().await;
        for id in &self.deployed {
            self.engine.sweep(id.as_str()).await;
        }
        self.deployed.clear();
        let label = format!("label={WORLD_LABEL}={}", self.lab.registry().host());
        // Not by `prune`, of which the engine runs one at a time, and other tests end as well.
        let images = self.engine.cli(&["images", "--quiet", "--filter", &label]).await;
        for image in images.split_whitespace() {
            let removal = std::process::Command::new("docker").args(["rmi", "-f", image]).output();
            assert!(removal.is_ok(), "docker rmi cannot be run");
        }
    }

    /// Where a program of this workspace is.
    pub fn program(&self, name: &str) -> PathBuf {
        crate::agent::binary(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Only a failed test still has something here; it has no runtime to wait on.
        self.agent.kill_now();
        let docker = |args: &[&str]| {
            let mut command = std::process::Command::new("docker");
            let ran = command.arg("-H").arg(self.engine.host()).args(args).output();
            ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default()
        };
        for id in &self.deployed {
            let filter = format!("label=org.margo.deployment={id}");
            for container in docker(&["ps", "-aq", "--filter", &filter]).split_whitespace() {
                docker(&["rm", "-fv", container]);
            }
            for kind in ["network", "volume"] {
                for left in docker(&[kind, "ls", "-q", "--filter", &filter]).split_whitespace() {
                    docker(&[kind, "rm", left]);
                }
            }
        }
        if std::thread::panicking() {
            println!("the end of the agent's log:\n{}", tail(&self.agent.log()));
        }
    }
}

pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines.get(from..).unwrap_or_default().join("\n")
}
