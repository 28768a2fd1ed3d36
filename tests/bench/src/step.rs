//! The state machine by itself: how long one `step` takes, by the number of deployments it holds.
//!
//! The load is what a device sees: a manifest with all deployments is applied, then nothing new is polled many
//! times while containers change and are compared, then single deployments are updated. All effects succeed.

use crate::options::Options;
use crate::samples::{Samples, rounded};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use state_machine::desired::{Component, Deployment, DesiredState, Kind};
use state_machine::effect::{Effect, ManifestHead, Outcome};
use state_machine::event::{Event, Observation, StoreCondition};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{
    ComponentName, DeploymentId, Digest, EffectId, IdentityKey, ManifestVersion,
};
use state_machine::policy::Policy;
use state_machine::state::{Durable, State};
use state_machine::time::Now;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Deployments held.
const SIZES: [usize; 4] = [1, 10, 100, 500];

/// A machine, its world, and how long its steps took.
struct Load {
    state: State,
    policy: Policy,
    now_ms: u64,
    /// The manifest the fleet manager has.
    offered: DesiredState,
    effects: VecDeque<(EffectId, Effect)>,
    /// Of each step, in microseconds, by the kind of event.
    steps: BTreeMap<&'static str, Samples>,
}

/// `step_p99_us` by number of deployments, and by event for the largest.
pub(crate) fn measure(options: &Options) -> Map<String, Value> {
    let mut p99 = Map::new();
    let mut details = Map::new();
    for size in SIZES {
        let steps = Load::new(size).run(options.pick(200, 1000));
        let all: Samples = steps.values().flat_map(Samples::iter).collect();
        p99.insert(size.to_string(), rounded(all.quantile(0.99)).into());
        let by_event: Map<_, _> =
            steps.iter().map(|(event, s)| ((*event).to_owned(), s.to_json_with_p99())).collect();
        details.insert(
            size.to_string(),
            json!({ "all": all.to_json_with_p99(), "by_event": by_event }),
        );
    }
    Map::from_iter([("step_p99_us".to_owned(), p99.into()), ("step_us".to_owned(), details.into())])
}

impl Load {
    fn new(size: usize) -> Self {
        let deployments = (0..size).map(|number| deployment(number, 1)).collect();
        Self {
            state: State::with_durable(Durable::default()),
            policy: Policy::default(),
            now_ms: 1_000,
            offered: DesiredState { version: ManifestVersion(1), etag: None, deployments },
            effects: VecDeque::new(),
            steps: BTreeMap::new(),
        }
    }

    fn run(mut self, rounds: u64) -> BTreeMap<&'static str, Samples> {
        let observation = Observation {
            store: StoreCondition::Fresh,
            capabilities: Digest::new("sha256:c"),
            preload: None,
            boot: None,
        };
        self.feed("started", &Event::Started { observation });
        self.drain();
        for round in 0..rounds {
            self.now_ms = self.now_ms.saturating_add(self.policy.poll_interval_ms);
            let size = self.offered.deployments.len();
            let chosen = usize::try_from(round).unwrap_or(0) % size.max(1);
            if round % 20 == 19 {
                self.update(chosen);
            } else if round % 5 == 4
                && let Some(deployment) = self.offered.deployments.get(chosen)
            {
                let deployment = deployment.id.clone();
                self.feed("workload changed", &Event::WorkloadChanged { deployment });
            }
            self.feed("timer", &Event::TimerElapsed);
            self.drain();
        }
        self.steps
    }

    /// The fleet manager offers a new revision of one deployment.
    fn update(&mut self, chosen: usize) {
        let version = self.offered.version.0.saturating_add(1);
        self.offered.version = ManifestVersion(version);
        if let Some(place) = self.offered.deployments.get_mut(chosen) {
            *place = deployment(chosen, version);
        }
    }

    fn drain(&mut self) {
        while let Some((id, effect)) = self.effects.pop_front() {
            self.now_ms = self.now_ms.saturating_add(1);
            let (name, outcome) = self.outcome(&effect);
            self.feed(name, &Event::EffectFinished { id, outcome });
        }
    }

    fn feed(&mut self, name: &'static str, event: &Event) {
        let now = Now::monotonic(self.now_ms);
        let began_us = cpu_us();
        let step = state_machine::step(&self.state, event, &now, &self.policy);
        // Letting go of the former state is part of what a step costs.
        self.state = step.next;
        self.steps.entry(name).or_default().push(cpu_us() - began_us);
        self.effects.retain(|(id, _)| !step.cancels.contains(id));
        self.effects.extend(step.effects);
    }

    fn outcome(&self, effect: &Effect) -> (&'static str, Outcome) {
        match effect {
            Effect::LoadIdentity => {
                let identity = IdentityKey::new("bench");
                ("identity loaded", Outcome::IdentityLoaded { identity })
            }
            Effect::LoadTrust => ("trust loaded", Outcome::TrustLoaded),
            Effect::PutCapabilities { .. } => {
                ("capabilities accepted", Outcome::CapabilitiesAccepted)
            }
            Effect::ConnectEngine => ("engine ready", Outcome::EngineReady),
            Effect::PollManifest { .. } => {
                let accepted = self.state.durable.sync.accepted.as_ref();
                if accepted.is_some_and(|accepted| accepted.version == self.offered.version) {
                    return ("manifest unchanged", Outcome::ManifestUnchanged);
                }
                let manifest = digest(0, self.offered.version.0);
                let head = ManifestHead { version: self.offered.version, manifest };
                ("manifest received", Outcome::ManifestReceived { head })
            }
            Effect::FetchDeployments { .. } => {
                let desired = self.offered.clone();
                ("deployments fetched", Outcome::DeploymentsFetched { desired })
            }
            Effect::PrepareDeployment { .. } => ("prepared", Outcome::DeploymentPrepared),
            Effect::ApplyComponent { .. } => ("component applied", Outcome::ComponentApplied),
            Effect::ObserveDeployment { .. } => {
                ("observed", Outcome::DeploymentObserved { mismatches: Vec::new() })
            }
            Effect::PruneDeployment { .. } => ("pruned", Outcome::DeploymentPruned),
            Effect::RemoveDeployment { .. } => ("removed", Outcome::DeploymentRemoved),
            Effect::SendReport { .. } => ("report accepted", Outcome::ReportAccepted),
            Effect::CollectGarbage => ("garbage collected", Outcome::GarbageCollected),
            Effect::PrepareFirmware { .. }
            | Effect::InstallFirmware { .. }
            | Effect::DiscardFirmware
            | Effect::CheckSystem
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther
            | Effect::Reboot => {
                let failure = Failure::new(Code::FirmwareUnavailable, "this load has no firmware");
                ("failed", Outcome::Failed { failure })
            }
        }
    }
}

/// Processor time of this thread, so that what else the machine does is not counted.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64() * 1e6
}

fn deployment(number: usize, version: u64) -> Arc<Deployment> {
    let component =
        |name: &str| Component { name: ComponentName::new(name), wait: true, timeout_ms: 600_000 };
    Arc::new(Deployment {
        id: DeploymentId::new(format!("00000000-0000-4000-8000-{number:012x}")),
        revision: digest(number, version),
        version: ManifestVersion(version),
        name: format!("application-{number}"),
        kind: Kind::Compose,
        components: vec![component("database"), component("frontend")],
    })
}

/// As long as a real one.
fn digest(number: usize, version: u64) -> Digest {
    Digest::new(format!("sha256:{number:032x}{version:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::workload::Phase;

    #[test]
    fn the_load_applies_everything_and_reports_it() {
        let mut load = Load::new(3);
        load.feed(
            "started",
            &Event::Started {
                observation: Observation {
                    store: StoreCondition::Fresh,
                    capabilities: Digest::new("sha256:c"),
                    preload: None,
                    boot: None,
                },
            },
        );
        load.drain();
        let durable = &load.state.durable;
        assert_eq!(durable.workloads.len(), 3);
        assert!(durable.workloads.values().all(|w| w.phase == Phase::Running));
        assert_eq!(durable.outbox.waiting(), 0);
    }

    #[test]
    fn every_kind_of_work_is_in_it() {
        let steps = Load::new(2).run(40);
        for kind in ["timer", "manifest unchanged", "observed", "component applied", "prepared"] {
            assert!(steps.contains_key(kind), "{kind}: {:?}", steps.keys());
        }
        // Two deployments at first, two updates; two components each.
        assert_eq!(steps["component applied"].len(), 8);
    }
}
