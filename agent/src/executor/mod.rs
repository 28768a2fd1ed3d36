//! Effects carried out: each order of the machine becomes calls of the adapters, each end an outcome.
//!
//! | file | what it owns |
//! |---|---|
//! | `policy`, `capabilities` | settings, as the machine and the WFM want them |
//! | `connection` | identity, trust, the client |
//! | `sync` | polling, fetching, reporting |
//! | `engine_watch` | the engine's events |
//! | `firmware` | firmware orders, and telling the machine which slot is booted |

mod capabilities;
mod connection;
mod engine_watch;
mod firmware;
mod policy;
mod sync;

pub use capabilities::{DescribeError, capabilities};
pub use connection::Connection;
pub use firmware::watch_boot;
pub use policy::policy;

use crate::artifacts::Artifacts;
use crate::clock::Clock;
use crate::config::Settings;
use crate::driver::{Execute, micros};
use crate::engine::{Engine, WaitPolicy};
use crate::margo::wire::DeviceCapabilitiesManifest;
use crate::margo::{DeviceId, ManifestFetched};
use crate::updater::Updater;
use crate::workload::{Target, Workloads};
use engine_watch::EngineWatch;
use firmware::Installation;
use futures_util::future::BoxFuture;
use state_machine::effect::{Effect, Outcome};
use state_machine::event::Event;
use state_machine::failure::Failure;
use state_machine::ids::Digest;
use state_machine::state::State;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// Carries out effects.
#[derive(Clone, Debug)]
pub struct Executor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    device: DeviceId,
    capabilities: DeviceCapabilitiesManifest,
    artifacts: Arc<Artifacts>,
    engine: Engine,
    workloads: Workloads,
    clock: Mutex<Clock>,
    connection: Mutex<Connection>,
    /// The manifest found by the last poll, until its deployments are fetched.
    manifest: Mutex<Option<ManifestFetched>>,
    watch: Mutex<EngineWatch>,
    /// `None`: the firmware is not this agent's to update.
    updater: Option<Updater>,
    events: mpsc::Sender<Event>,
}

/// What an executor is made of.
#[derive(Debug)]
pub struct Parts {
    /// The settings in force.
    pub settings: Settings,
    /// The device's id (R102).
    pub device: DeviceId,
    /// What the device reports (R100).
    pub capabilities: DeviceCapabilitiesManifest,
    /// The artifact store.
    pub artifacts: Arc<Artifacts>,
    /// The container engine.
    pub engine: Engine,
    /// The clock with its floor.
    pub clock: Clock,
    /// The updater, if the firmware is this agent's to update.
    pub updater: Option<Updater>,
    /// Where the engine's events go.
    pub events: mpsc::Sender<Event>,
}

/// Takes a lock. What it guards is replaced as a whole, so a panic elsewhere cannot have left it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor {
    /// An executor that has done nothing yet.
    pub fn new(parts: Parts) -> Self {
        let workloads = Workloads::new(
            &parts.settings,
            Arc::clone(&parts.artifacts),
            parts.engine.clone(),
            parts.device.clone(),
            (parts.capabilities.to_value(), parts.updater.is_some()),
        );
        let shared = Shared {
            workloads,
            settings: parts.settings,
            device: parts.device,
            capabilities: parts.capabilities,
            artifacts: parts.artifacts,
            engine: parts.engine,
            clock: Mutex::new(parts.clock),
            connection: Mutex::default(),
            manifest: Mutex::default(),
            watch: Mutex::default(),
            updater: parts.updater,
            events: parts.events,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who the device is and how its WFM answers, for people.
    pub fn connection(&self) -> Connection {
        lock(&self.shared.connection).clone()
    }

    /// The container engine.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// The updater, if the firmware is this agent's to update.
    pub fn updater(&self) -> Option<&Updater> {
        self.shared.updater.as_ref()
    }

    /// Deletes what a power cut left half done. To be called before the first effect is started.
    pub async fn sweep_leftovers(&self, is_updating: bool) {
        self.shared.workloads.sweep_leftovers(is_updating).await;
    }

    /// Keeps the time for the next start, if it was ever confirmed.
    pub fn note_stopping(&self) {
        if lock(&self.shared.connection).last_contact_unix_ms.is_some()
            && let Err(error) = lock(&self.shared.clock).note_stopping()
        {
            tracing::debug!(%error, "the clock's floor could not be kept, ignoring");
        }
    }
}

impl Execute for Executor {
    fn start(&self, effect: Effect, state: &State) -> BoxFuture<'static, Outcome> {
        let shared = Arc::clone(&self.shared);
        // Taken now, from the state that ordered the effect.
        let needed: BTreeSet<Digest> = match &effect {
            Effect::CollectGarbage => state.durable.revisions().into_iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let (name, began) = (name(&effect), Instant::now());
        Box::pin(async move {
            let result = shared.carry_out(effect, needed).await;
            tracing::debug!(elapsed_us = micros(began.elapsed()), effect = name, "effect ended");
            result.unwrap_or_else(|failure| Outcome::Failed { failure })
        })
    }
}

/// For debug lines; one word, so that they can be taken apart.
const fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::LoadIdentity => "LoadIdentity",
        Effect::LoadTrust => "LoadTrust",
        Effect::PutCapabilities { .. } => "PutCapabilities",
        Effect::ConnectEngine => "ConnectEngine",
        Effect::PollManifest { .. } => "PollManifest",
        Effect::FetchDeployments { .. } => "FetchDeployments",
        Effect::SendReport { .. } => "SendReport",
        Effect::PrepareDeployment { .. } => "PrepareDeployment",
        Effect::ApplyComponent { .. } => "ApplyComponent",
        Effect::ObserveDeployment { .. } => "ObserveDeployment",
        Effect::PruneDeployment { .. } => "PruneDeployment",
        Effect::RemoveDeployment { .. } => "RemoveDeployment",
        Effect::CollectGarbage => "CollectGarbage",
        Effect::PrepareFirmware { .. } => "PrepareFirmware",
        Effect::InstallFirmware { .. } => "InstallFirmware",
        Effect::DiscardFirmware => "DiscardFirmware",
        Effect::CheckSystem => "CheckSystem",
        Effect::CommitSlot => "CommitSlot",
        Effect::RejectSlot => "RejectSlot",
        Effect::ActivateOther => "ActivateOther",
        Effect::Reboot => "Reboot",
    }
}

impl Shared {
    /// `needed`: the revisions that garbage collection must not touch.
    async fn carry_out(
        &self,
        effect: Effect,
        needed: BTreeSet<Digest>,
    ) -> Result<Outcome, Failure> {
        let workloads = &self.workloads;
        match effect {
            Effect::LoadIdentity => self.load_identity().await,
            Effect::LoadTrust => self.load_trust().await,
            Effect::PutCapabilities { .. } => self.put_capabilities().await,
            Effect::ConnectEngine => self.connect_engine().await,
            Effect::PollManifest { etag } => self.poll(etag.as_deref()).await,
            Effect::FetchDeployments { manifest } => self.fetch(&manifest).await,
            Effect::SendReport { report } => self.send_report(&report).await,
            Effect::PrepareDeployment { deployment, revision } => {
                self.refetch_if_lost(&deployment, &revision).await;
                workloads.prepare(&deployment, &revision).await?;
                Ok(Outcome::DeploymentPrepared)
            }
            Effect::ApplyComponent { deployment, revision, component, wait, timeout_ms } => {
                let target = Target { deployment, revision, component };
                workloads.apply(&target, WaitPolicy { wait, timeout_ms }).await?;
                Ok(Outcome::ComponentApplied)
            }
            Effect::ObserveDeployment { deployment, held } => {
                let mismatches = workloads.observe(&deployment, &held).await?;
                Ok(Outcome::DeploymentObserved { mismatches })
            }
            Effect::PruneDeployment { deployment, keep } => {
                workloads.prune(&deployment, &keep).await?;
                Ok(Outcome::DeploymentPruned)
            }
            Effect::RemoveDeployment { deployment } => {
                workloads.remove(&deployment).await?;
                Ok(Outcome::DeploymentRemoved)
            }
            Effect::CollectGarbage => self.collect_garbage(needed).await,
            Effect::PrepareFirmware { source } => self.prepare_firmware(&source).await,
            Effect::InstallFirmware { transaction, source, bundle, target } => {
                self.install_firmware(&Installation { transaction, source, bundle, target }).await
            }
            Effect::DiscardFirmware => self.discard_firmware().await,
            Effect::CheckSystem => self.check_system().await,
            Effect::CommitSlot => self.commit_slot().await,
            Effect::RejectSlot => self.reject_slot().await,
            Effect::ActivateOther => self.activate_other().await,
            Effect::Reboot => self.reboot().await,
        }
    }

    async fn collect_garbage(&self, mut keep: BTreeSet<Digest>) -> Result<Outcome, Failure> {
        // A manifest that is being fetched is not in the state yet.
        if let Some(fetched) = &*lock(&self.manifest) {
            keep.extend(fetched.manifest.digests());
        }
        self.workloads.collect_garbage(keep).await?;
        Ok(Outcome::GarbageCollected)
    }
}
