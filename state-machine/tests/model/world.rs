//! What exists outside the machine: stable storage, containers, artifacts, the WFM, effects under way.
//!
//! Fields marked *ghost* are seen by no one in the world; they are the truth that rules compare with.

use crate::boot::Boot;
use state_machine::effect::{Effect, Outcome};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest, EffectId};
use state_machine::report::Report;
use state_machine::state::{Durable, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A container, as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    pub(crate) revision: Digest,
    pub(crate) up: bool,
}

/// Everything, at one moment. Times in `state` are relative to [`crate::normal::T0`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) state: State,
    /// Stable storage, where it differs from `state.durable` (which I1 forbids).
    pub(crate) disk: Option<Durable>,
    pub(crate) wake: Option<u64>,
    pub(crate) underway: BTreeMap<EffectId, Effect>,
    pub(crate) containers: BTreeMap<(DeploymentId, ComponentName), Container>,
    /// Revisions whose artifacts are on stable storage.
    pub(crate) stored: BTreeSet<Digest>,
    pub(crate) engine_down: bool,
    /// Index of the manifest the WFM offers, of the identity, of the capabilities.
    pub(crate) offered: Option<usize>,
    pub(crate) identity: usize,
    pub(crate) capabilities: usize,
    pub(crate) boot: Boot,
    /// The firmware is no longer managed.
    pub(crate) unmanaged: bool,
    /// What the WFM was told last of each deployment.
    pub(crate) told: BTreeMap<DeploymentId, Arc<Report>>,
    pub(crate) wfm_capabilities: Option<Digest>,
    /// Disturbances still to come.
    pub(crate) budget: u8,
    /// Failures and power cuts so far, where they are counted.
    pub(crate) mishaps: u8,
    /// Ghost: an answer to a report may have been lost, so that it is said again.
    pub(crate) may_repeat: BTreeSet<DeploymentId>,
    /// Ghost: the WFM has thrown reports away.
    pub(crate) rejected: bool,
    /// Ghost: highest version accepted under the present identity.
    pub(crate) floor: u64,
    /// Ghost: the manifest accepted last, under whichever identity.
    pub(crate) accepted: Option<usize>,
    /// Ghost: revisions that ran with all their components.
    pub(crate) complete: BTreeSet<Digest>,
    /// Ghost: artifacts were lost by a fault of the disk.
    pub(crate) artifacts_lost: bool,
    /// Ghost: the whole store was lost; what ran before belongs to nobody.
    pub(crate) store_lost: bool,
    /// Ghost: revisions of firmware that failed, and were not named anew.
    pub(crate) failed: BTreeSet<Digest>,
    /// Ghost: the effect whose outcome is being told.
    pub(crate) ending: Option<(EffectId, Effect)>,
    /// Ghost: rules broken, one bit each.
    pub(crate) broken: u32,
}

impl World {
    /// What an effect does to the world when it succeeds. Repeating it changes nothing.
    pub(crate) fn happen(&mut self, effect: &Effect, kept: &BTreeSet<Digest>) {
        match effect {
            Effect::PutCapabilities { capabilities } => {
                self.wfm_capabilities = Some(capabilities.clone());
            }
            Effect::PrepareDeployment { revision, .. } => {
                self.stored.insert(revision.clone());
            }
            Effect::ApplyComponent { deployment, revision, component, .. } => {
                let container = Container { revision: revision.clone(), up: true };
                self.containers.insert((deployment.clone(), component.clone()), container);
            }
            Effect::PruneDeployment { deployment, keep } => {
                self.containers.retain(|(d, c), _| d != deployment || keep.contains(c));
            }
            Effect::RemoveDeployment { deployment } => {
                self.containers.retain(|(d, _), _| d != deployment);
            }
            Effect::SendReport { report } => {
                self.told.insert(report.deployment.clone(), Arc::clone(report));
            }
            Effect::CollectGarbage => self.stored.retain(|revision| kept.contains(revision)),
            Effect::InstallFirmware { .. }
            | Effect::DiscardFirmware
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther => self.boot.happen(effect),
            Effect::LoadIdentity
            | Effect::LoadTrust
            | Effect::ConnectEngine
            | Effect::PollManifest { .. }
            | Effect::FetchDeployments { .. }
            | Effect::ObserveDeployment { .. }
            | Effect::PrepareFirmware { .. }
            | Effect::CheckSystem
            | Effect::Reboot => {}
        }
    }

    /// What is left of an effect that was aborted or failed in the middle: the worst.
    pub(crate) fn half_happen(&mut self, effect: &Effect) {
        match effect {
            Effect::ApplyComponent { deployment, component, .. } => {
                self.containers.remove(&(deployment.clone(), component.clone()));
            }
            Effect::PruneDeployment { .. } | Effect::RemoveDeployment { .. } => {
                self.happen(effect, &BTreeSet::new());
            }
            Effect::SendReport { report } => {
                self.may_repeat.insert(report.deployment.clone());
            }
            Effect::InstallFirmware { .. } => self.boot.half_happen(effect),
            Effect::PrepareFirmware { .. }
            | Effect::DiscardFirmware
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther
            | Effect::CheckSystem
            | Effect::Reboot
            | Effect::LoadIdentity
            | Effect::LoadTrust
            | Effect::PutCapabilities { .. }
            | Effect::ConnectEngine
            | Effect::PollManifest { .. }
            | Effect::FetchDeployments { .. }
            | Effect::PrepareDeployment { .. }
            | Effect::ObserveDeployment { .. }
            | Effect::CollectGarbage => {}
        }
    }

    /// Whether the component runs at this revision.
    pub(crate) fn runs(&self, id: &DeploymentId, name: &ComponentName, revision: &Digest) -> bool {
        self.containers
            .get(&(id.clone(), name.clone()))
            .is_some_and(|container| container.up && container.revision == *revision)
    }

    /// Why this effect cannot succeed now, if it cannot.
    pub(crate) fn obstacle(&self, effect: &Effect) -> Option<Code> {
        let needs_engine = needs_engine(effect);
        match effect {
            _ if needs_engine && self.engine_down => Some(Code::EngineUnavailable),
            Effect::ApplyComponent { revision, .. } if !self.stored.contains(revision) => {
                Some(Code::ArtifactLost)
            }
            _ => self.boot.obstacle(effect),
        }
    }

    /// What comparing finds.
    pub(crate) fn observe(&self, id: &DeploymentId, held: &[(ComponentName, Digest)]) -> Outcome {
        let differs = |(name, revision): &&(ComponentName, Digest)| !self.runs(id, name, revision);
        let failure = |(name, _): &(ComponentName, Digest)| {
            Failure::new(Code::Mismatch, "it does not run").in_component(name.clone())
        };
        let mismatches = held.iter().filter(differs).map(failure).collect();
        Outcome::DeploymentObserved { mismatches }
    }
}

/// Whether the effect works on the container engine.
pub(crate) fn needs_engine(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ConnectEngine
            | Effect::PrepareDeployment { .. }
            | Effect::ApplyComponent { .. }
            | Effect::ObserveDeployment { .. }
            | Effect::PruneDeployment { .. }
            | Effect::RemoveDeployment { .. }
    )
}

/// Whether the effect uses the network.
pub(crate) fn needs_network(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::LoadIdentity
            | Effect::LoadTrust
            | Effect::PutCapabilities { .. }
            | Effect::PollManifest { .. }
            | Effect::FetchDeployments { .. }
            | Effect::PrepareDeployment { .. }
            | Effect::SendReport { .. }
            | Effect::PrepareFirmware { .. }
    )
}

impl World {
    /// The parts a person needs to understand a counterexample.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "stage {}, sync {}, engine {}, wake {:?}\n",
            self.state.stage(),
            self.state.live.sync.stage.as_str(),
            if self.state.live.engine.connected { "connected" } else { "away" },
            self.wake.map(|at| at.saturating_sub(crate::normal::T0)),
        );
        for (id, workload) in &self.state.durable.workloads {
            let held: Vec<_> =
                workload.held.iter().map(|(n, h)| format!("{n}@{}", h.revision)).collect();
            let live = self.state.live.workloads.get(id);
            text += &format!(
                "{id}: {:?} desired {} good {:?} held {held:?} untidy {} failure {:?}\n  live {live:?}\n",
                workload.phase,
                workload.desired.revision,
                workload.good.as_ref().map(|good| good.revision.as_str()),
                workload.untidy,
                workload.failure.as_ref().map(|failure| failure.code),
            );
        }
        text += &format!(
            "firmware {:?}\n  live {:?}\n",
            self.state.durable.firmware, self.state.live.firmware
        );
        text += &format!("slots {:?}\n", self.boot);
        for (id, queue) in &self.state.durable.outbox.deployments {
            let waiting: Vec<_> = queue.waiting.iter().map(|r| (r.state, r.version.0)).collect();
            text += &format!("outbox {id}: {waiting:?}\n");
        }
        for ((id, component), container) in &self.containers {
            let up = if container.up { "up" } else { "down" };
            text += &format!("container {id}/{component}@{} {up}\n", container.revision);
        }
        for (id, report) in &self.told {
            text += &format!("told {id}: {:?} v{}\n", report.state, report.version);
        }
        for (id, effect) in &self.underway {
            text += &format!("under way {id}: {effect:?}\n");
        }
        let stored: Vec<_> = self.stored.iter().map(|digest| digest.as_str()).collect();
        text += &format!("stored {stored:?}, broken {:b}\n", self.broken);
        text
    }
}
