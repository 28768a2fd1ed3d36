//! Where everything is measured: a lab, an agent with three deployments that run, the engine and its events.

use crate::Fault;
use crate::engine::Starts;
use crate::options::Options;
use crate::process::{Log, Process};
use margo_e2e::{App, Settings, World};
use margo_lab::{DeploymentId, State};
use std::path::Path;
use std::time::Duration;

/// Between two looks at something that has not happened yet.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose agent has deployments and is not running.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) starts: Starts,
    pub(crate) deployments: Vec<DeploymentId>,
}

impl Scene {
    /// Brings three deployments of one container each up, then ends the agent.
    ///
    /// # Errors
    /// They do not come up.
    pub(crate) async fn new(options: &Options) -> Result<Self, Fault> {
        crate::say("scene: three deployments");
        let settings = Settings {
            poll_interval_secs: 60,
            extra: options.config.clone(),
            ..Settings::default()
        };
        let world = World::with(settings).await;
        let starts = Starts::listen(&world.engine.api().await);
        let mut scene = Self { world, starts, deployments: Vec::new() };
        scene.grow(options, 3).await?;
        Ok(scene)
    }

    /// Adds deployments until there are so many. The agent must not be running, and is not afterwards.
    ///
    /// # Errors
    /// They do not come up.
    pub(crate) async fn grow(&mut self, options: &Options, count: usize) -> Result<(), Fault> {
        while self.deployments.len() < count {
            let name = format!("bench-{}", self.deployments.len().saturating_add(1));
            self.deployments.push(self.world.deploy(&App::sleeping(&name, "1.0.0", "one", 1)));
        }
        let process = Process::start(options, self.root(), Log::Kept)?;
        for id in &self.deployments {
            self.world.reported(id, State::Installed).await;
        }
        process.kill().await
    }

    /// The agent's root directory.
    pub(crate) fn root(&self) -> &Path {
        self.world.root()
    }

    /// Starts the agent and waits until it is in contact with the fleet manager and has nothing left to do.
    ///
    /// # Errors
    /// It does not come up.
    pub(crate) async fn settled(&self, options: &Options, log: Log) -> Result<Process, Fault> {
        let process = Process::start(options, self.root(), log)?;
        until("the agent to be in contact", async || {
            let events = process.events().unwrap_or_default();
            Ok(events.iter().any(|e| e.machine == "onboarding" && e.next == "registered"))
        })
        .await?;
        Ok(process)
    }

    /// Removes everything from the engine.
    pub(crate) async fn end(self) {
        self.starts.stop();
        self.world.end().await;
    }
}

/// Waits until something is so.
///
/// # Errors
/// It is not, for too long.
pub(crate) async fn until(
    what: &str,
    mut is_so: impl AsyncFnMut() -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let wait = async {
        while !is_so().await? {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(result) => result,
        Err(_) => Err(format!("waited in vain for {what}").into()),
    }
}
