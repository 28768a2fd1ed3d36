//! What may happen, in every order: the model handed to stateright.

use crate::boot::{Mark, Nature};
use crate::coverage::Seen;
use crate::faults::Fault;
use crate::normal::{FAR_MS, T0, normalise};
use crate::support::version_of;
use crate::world::{World, needs_engine};
use crate::{calm, meddling, rules};
use state_machine::desired::DesiredState;
use state_machine::effect::{Bundle, Effect, FirmwareSource, ManifestHead, Outcome};
use state_machine::event::{Event, Observation, StoreCondition};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest, EffectId, IdentityKey};
use state_machine::policy::Policy;
use state_machine::state::State;
use state_machine::step::Step;
use state_machine::time::Now;
use stateright::{Model, Property};
use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

/// One small world, and what may happen in it.
pub(crate) struct Scope {
    pub(crate) policy: Policy,
    /// What the WFM may offer, in this order. Versions may fall.
    pub(crate) manifests: Vec<DesiredState>,
    /// What ships in the image.
    pub(crate) preload: Option<DesiredState>,
    /// Effects whose every ending is explored. All others succeed at once.
    pub(crate) slow: fn(&Effect) -> bool,
    /// The codes with which a slow effect may fail.
    pub(crate) failures: fn(&Effect) -> &'static [Code],
    pub(crate) disturbances: &'static [Disturbance],
    /// How many of them there may be in one life.
    pub(crate) budget: u8,
    pub(crate) power_cuts: bool,
    /// How many failures and power cuts there may be in one life, where not any number.
    pub(crate) mishaps_max: Option<u8>,
    /// What comes of each version of the firmware.
    pub(crate) nature: fn(u8) -> Nature,
    /// Where firmware is managed: whether the first boot is a trial.
    pub(crate) trial: Option<bool>,
    /// Manifests that are offered and accepted before exploring begins.
    pub(crate) settled: usize,
    pub(crate) fault: Option<Fault>,
    pub(crate) seen: Mutex<Seen>,
    /// States known to come to a good end.
    pub(crate) calm: Mutex<HashSet<u64>>,
    /// Durable states known to be restored.
    pub(crate) restored: Mutex<HashSet<u64>>,
}

/// Whether anything was written, or anything ordered but polls and comparisons (I10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Noise {
    Quiet,
    Loud,
}

/// Things that happen to the device by themselves, or that people do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// A container stops.
    Kill,
    /// A container stops and the engine's event is lost.
    KillUnseen,
    /// The engine goes away; containers stay.
    EngineGone,
    /// The engine comes back.
    EngineBack,
    /// The disk lost the artifacts of a revision.
    LoseArtifacts,
    /// Both copies of the durable state are unreadable at the next start.
    LoseStore,
    /// One copy was.
    HealStore,
    /// Provisioned anew, for another relationship.
    NewIdentity,
    /// The same identity, rotated.
    IdentityTouched,
    /// The device's capabilities change back and forth.
    Capabilities,
    /// An operator presses the button.
    Retry,
    /// The network came back.
    SyncRequested,
    /// Somebody else marks the booted slot good.
    Commit,
    /// Somebody else installs to the other slot and boots it, on trial.
    NewSlot,
    /// The same, without the restart.
    InstallUnbooted,
    /// Power is lost, before or after all effects had happened, and what boots is marked good before the agent starts.
    BootCommitted,
    /// The guard leaves a slot that is not committed.
    Guard,
    /// The agent crashes; the device goes on.
    AgentCrash,
    /// An operator installs a bundle, returns to the other slot, or judges a trial.
    InstallByHand,
    RollBack,
    JudgeGood,
    JudgeBad,
    /// The firmware is not managed any more at the next boot.
    Unmanaged,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Succeed(EffectId),
    Fail(EffectId, Code),
    /// Power is lost. This effect had happened, but nobody was told.
    PowerCut(Option<EffectId>),
    /// Power is lost when all effects had happened.
    PowerCutAfterAll,
    Wake,
    Offer(usize),
    Disturb(Disturbance, usize),
}

impl Scope {
    pub(crate) fn observation(&self, world: &World, store: StoreCondition) -> Observation {
        let boot = self.trial.filter(|_| !world.unmanaged).map(|_| world.boot.observed());
        Observation {
            store,
            capabilities: capabilities(world.capabilities),
            preload: self.preload.clone(),
            boot,
        }
    }

    /// Boots the device, and starts the agent on what is on stable storage.
    pub(crate) fn boot(&self, world: &mut World, store: StoreCondition) {
        self.boot_alone(world, store);
        self.settle_quick(world);
    }

    /// The same, with nobody answering yet.
    pub(crate) fn boot_alone(&self, world: &mut World, store: StoreCondition) {
        if self.trial.is_some() {
            world.boot.start(self.nature);
            world.boot.deadline = T0 + self.policy.firmware.trial_timeout_ms;
        }
        world.containers.values_mut().for_each(|container| container.up = false);
        self.start(world, store);
    }

    /// Starts the agent.
    pub(crate) fn start(&self, world: &mut World, store: StoreCondition) {
        let durable = world.disk.take().unwrap_or_else(|| world.state.durable.clone());
        world.state = State::with_durable(durable);
        world.underway.clear();
        let observation = self.observation(world, store);
        self.feed_one(world, &Event::Started { observation }, T0);
    }

    /// The production step. The machine's clock counts from the boot; here the present is always the same, and the
    /// trial's deadline moves towards it.
    pub(crate) fn production(&self, world: &World, event: &Event, now: &Now) -> Step {
        let mut policy = self.policy.clone();
        policy.firmware.trial_timeout_ms = world.boot.deadline;
        match self.fault {
            Some(fault) => fault.step(&world.state, event, now, &policy),
            None => state_machine::step(&world.state, event, now, &policy),
        }
    }

    /// Does what the driver does with one event, and then lets everything end that is not explored.
    pub(crate) fn feed(&self, world: &mut World, event: &Event, now: u64) -> Noise {
        let noise = self.feed_one(world, event, now);
        noise.max(self.settle_quick(world))
    }

    /// Lets every effect end that is not explored.
    pub(crate) fn settle_quick(&self, world: &mut World) -> Noise {
        let mut noise = Noise::Quiet;
        let quick = |world: &World| {
            let quick = |(_, effect): &(&EffectId, &Effect)| !(self.slow)(effect);
            world.underway.iter().find(quick).map(|(id, _)| *id)
        };
        // Bounded, so that a loop is found and not suffered.
        for _ in 0..200 {
            let Some(id) = quick(world) else { return noise };
            noise = noise.max(self.succeed(world, id, false));
        }
        world.broken |= rules::bit("i11_no_busy_loop");
        noise
    }

    fn feed_one(&self, world: &mut World, event: &Event, now: u64) -> Noise {
        let moment = Now::monotonic(now);
        let step = self.production(world, event, &moment);
        rules::check_step(self, world, event, &step, now);
        world.ending = None;
        let quiet = |(_, e): &(EffectId, Effect)| {
            matches!(e, Effect::PollManifest { .. } | Effect::ObserveDeployment { .. })
        };
        let is_quiet = !step.persist && step.effects.iter().all(quiet);
        if step.persist {
            world.disk = None;
        } else if step.next.durable != world.state.durable && world.disk.is_none() {
            world.disk = Some(world.state.durable.clone());
        }
        self.seen.lock().unwrap().note(&step);
        world.state = step.next;
        for id in step.cancels {
            if let Some(effect) = world.underway.remove(&id) {
                world.half_happen(&effect);
            }
        }
        world.underway.extend(step.effects);
        world.wake = step.wake_at_ms;
        normalise(world, now, &self.policy);
        if is_quiet { Noise::Quiet } else { Noise::Loud }
    }

    fn kept(&self, world: &World) -> BTreeSet<Digest> {
        match self.fault {
            Some(Fault::GarbageIgnoresGood) => world
                .state
                .durable
                .workloads
                .values()
                .map(|workload| workload.desired.revision.clone())
                .collect(),
            _ => world.state.durable.revisions().into_iter().cloned().collect(),
        }
    }

    /// Lets an effect do its work in the world.
    fn happen(&self, world: &mut World, effect: &Effect) {
        rules::check_happening(world, effect);
        world.happen(effect, &self.kept(world));
        rules::note_complete(world, effect);
    }

    pub(crate) fn succeed(&self, world: &mut World, id: EffectId, all: bool) -> Noise {
        let Some(effect) = world.underway.get(&id).cloned() else { return Noise::Quiet };
        if let Some(code) = self.obstacle(world, &effect) {
            return self.fail(world, id, code, all);
        }
        if effect == Effect::Reboot {
            self.boot_alone(world, StoreCondition::Intact);
            if all {
                self.settle_quick(world);
            }
            return Noise::Loud;
        }
        self.happen(world, &effect);
        let outcome = self.outcome(world, &effect);
        world.underway.remove(&id);
        world.ending = Some((id, effect));
        self.tell(world, &Event::EffectFinished { id, outcome }, all)
    }

    /// Why this effect cannot succeed now, if it cannot.
    pub(crate) fn obstacle(&self, world: &World, effect: &Effect) -> Option<Code> {
        let breaks = (self.nature)(world.boot.version()) == Nature::BreaksWorkloads;
        let is_start = matches!(effect, Effect::ApplyComponent { .. });
        let broken = (breaks && is_start).then_some(Code::StartFailed);
        world.obstacle(effect).or(broken)
    }

    pub(crate) fn fail(&self, world: &mut World, id: EffectId, code: Code, all: bool) -> Noise {
        let Some(effect) = world.underway.remove(&id) else { return Noise::Quiet };
        // The worst of it: a start that failed has replaced what ran before.
        if code == Code::StartFailed || matches!(effect, Effect::InstallFirmware { .. }) {
            world.half_happen(&effect);
        }
        world.rejected |= code == Code::ReportRejected;
        let mut failure = Failure::new(code, "as modelled");
        if code == Code::WfmBusy {
            failure = failure.retry_after(Some(2_000));
        }
        world.ending = Some((id, effect));
        let outcome = Outcome::Failed { failure };
        self.tell(world, &Event::EffectFinished { id, outcome }, all)
    }

    fn tell(&self, world: &mut World, event: &Event, all: bool) -> Noise {
        if all { self.feed(world, event, T0) } else { self.feed_one(world, event, T0) }
    }

    fn outcome(&self, world: &World, effect: &Effect) -> Outcome {
        let offered = world.offered.and_then(|index| self.manifests.get(index));
        match effect {
            Effect::LoadIdentity => Outcome::IdentityLoaded {
                identity: IdentityKey::new(format!("identity-{}", world.identity)),
            },
            Effect::LoadTrust => Outcome::TrustLoaded,
            Effect::PutCapabilities { .. } => Outcome::CapabilitiesAccepted,
            Effect::ConnectEngine => Outcome::EngineReady,
            Effect::PollManifest { etag } => match offered {
                Some(manifest) if manifest.etag != *etag => Outcome::ManifestReceived {
                    head: ManifestHead {
                        version: manifest.version,
                        manifest: Digest::new(manifest.etag.clone().unwrap_or_default()),
                    },
                },
                Some(_) => Outcome::ManifestUnchanged,
                None => Outcome::Failed { failure: Failure::new(Code::WfmUnreachable, "away") },
            },
            Effect::FetchDeployments { manifest } => {
                let named = |m: &&DesiredState| m.etag.as_deref() == Some(manifest.as_str());
                match self.manifests.iter().find(named) {
                    Some(desired) => Outcome::DeploymentsFetched { desired: desired.clone() },
                    None => Outcome::Failed { failure: Failure::new(Code::Internal, "no such") },
                }
            }
            Effect::PrepareDeployment { .. } => Outcome::DeploymentPrepared,
            Effect::ApplyComponent { .. } => Outcome::ComponentApplied,
            Effect::ObserveDeployment { deployment, held } => world.observe(deployment, held),
            Effect::PruneDeployment { .. } => Outcome::DeploymentPruned,
            Effect::RemoveDeployment { .. } => Outcome::DeploymentRemoved,
            Effect::SendReport { .. } => Outcome::ReportAccepted,
            Effect::CollectGarbage => Outcome::GarbageCollected,
            Effect::PrepareFirmware { source } => {
                let version = match source {
                    FirmwareSource::Deployment { revision, .. } => version_of(revision),
                    FirmwareSource::Location { location } => location.clone(),
                };
                Outcome::FirmwarePrepared { bundle: Bundle { version, manifest: None } }
            }
            Effect::InstallFirmware { .. } => Outcome::FirmwareInstalled,
            Effect::DiscardFirmware
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther => Outcome::SlotMarked,
            Effect::CheckSystem => world.boot.check(self.nature),
            Effect::Reboot => Outcome::Failed { failure: Failure::new(Code::Internal, "back") },
        }
    }

    /// Power is lost. Of the effects under way these had happened, but nobody was told.
    pub(crate) fn lose_power(&self, world: &mut World, is_done: impl Fn(EffectId) -> bool) {
        for (id, effect) in &world.underway.clone() {
            if is_done(*id) && self.obstacle(world, effect).is_none() {
                self.happen(world, effect);
            } else if matches!(effect, Effect::InstallFirmware { .. }) {
                world.half_happen(effect);
            }
            world.lose_answer(effect);
        }
    }

    /// The WFM offers this one from now on, and the device polls as soon as it may.
    pub(crate) fn offer(&self, world: &mut World, index: usize) {
        world.offered = Some(index);
        self.feed(world, &Event::SyncRequested, T0);
    }

    fn containers(&self, world: &World) -> Vec<(DeploymentId, ComponentName)> {
        let up = world.containers.iter().filter(|(_, container)| container.up);
        up.map(|(key, _)| key.clone()).collect()
    }

    /// Over which things a disturbance may come: how many, by index.
    fn victims(&self, world: &World, what: Disturbance) -> usize {
        match what {
            Disturbance::Kill | Disturbance::KillUnseen => self.containers(world).len(),
            Disturbance::EngineGone => usize::from(!world.engine_down),
            Disturbance::EngineBack => usize::from(world.engine_down),
            Disturbance::LoseArtifacts => world.stored.len(),
            Disturbance::Retry => {
                let durable = &world.state.durable;
                durable.workloads.len() + durable.firmware.deployments.len()
            }
            Disturbance::Commit => usize::from(world.boot.is_on_trial()),
            Disturbance::Guard => usize::from(world.boot.is_on_trial()),
            Disturbance::NewSlot | Disturbance::InstallUnbooted => {
                usize::from(meddling::may_install(world))
            }
            Disturbance::BootCommitted => 2,
            Disturbance::LoseStore
            | Disturbance::HealStore
            | Disturbance::NewIdentity
            | Disturbance::IdentityTouched
            | Disturbance::Capabilities
            | Disturbance::SyncRequested
            | Disturbance::AgentCrash
            | Disturbance::InstallByHand
            | Disturbance::RollBack
            | Disturbance::JudgeGood
            | Disturbance::JudgeBad
            | Disturbance::Unmanaged => 1,
        }
    }

    fn disturb(&self, world: &mut World, what: Disturbance, index: usize) {
        match what {
            Disturbance::Kill | Disturbance::KillUnseen => {
                let victim = self.containers(world).into_iter().nth(index);
                let Some((deployment, component)) = victim else { return };
                let key = (deployment.clone(), component);
                if let Some(container) = world.containers.get_mut(&key) {
                    container.up = false;
                }
                if what == Disturbance::Kill && world.state.live.engine.connected {
                    self.feed(world, &Event::WorkloadChanged { deployment }, T0);
                }
            }
            Disturbance::EngineGone => {
                world.engine_down = true;
                self.feed(world, &Event::EngineDisconnected, T0);
            }
            Disturbance::EngineBack => world.engine_down = false,
            Disturbance::LoseArtifacts => {
                let victim = world.stored.iter().nth(index).cloned();
                world.artifacts_lost = true;
                victim.map(|victim| world.stored.remove(&victim));
            }
            Disturbance::LoseStore => {
                world.state.durable = state_machine::state::Durable::default();
                world.floor = 0;
                world.store_lost = true;
                world.told.clear();
                self.boot(world, StoreCondition::Lost);
            }
            Disturbance::HealStore => self.boot(world, StoreCondition::Healed),
            Disturbance::NewIdentity => {
                world.identity += 1;
                self.feed(world, &Event::IdentityChanged, T0);
            }
            Disturbance::IdentityTouched => {
                self.feed(world, &Event::IdentityChanged, T0);
            }
            Disturbance::Capabilities => {
                world.capabilities = 1 - world.capabilities;
                let capabilities = capabilities(world.capabilities);
                self.feed(world, &Event::CapabilitiesChanged { capabilities }, T0);
            }
            Disturbance::Retry => {
                let durable = &world.state.durable;
                let mut all = durable.workloads.keys().chain(durable.firmware.deployments.keys());
                let Some(deployment) = all.nth(index).cloned() else { return };
                self.feed(world, &Event::RetryRequested { deployment }, T0);
            }
            Disturbance::SyncRequested => {
                self.feed(world, &Event::SyncRequested, T0);
            }
            Disturbance::Commit
            | Disturbance::NewSlot
            | Disturbance::InstallUnbooted
            | Disturbance::BootCommitted
            | Disturbance::Guard
            | Disturbance::AgentCrash
            | Disturbance::InstallByHand
            | Disturbance::RollBack
            | Disturbance::JudgeGood
            | Disturbance::JudgeBad
            | Disturbance::Unmanaged => self.meddle(world, what, index),
        }
    }

    /// Time passes until the machine wants to be woken.
    pub(crate) fn wake(&self, world: &mut World) -> Noise {
        world.wake.map_or(Noise::Quiet, |at| self.feed(world, &Event::TimerElapsed, at))
    }
}

pub(crate) fn capabilities(index: usize) -> Digest {
    Digest::new(format!("capabilities-{index}"))
}

impl Model for Scope {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World { budget: self.budget, ..World::default() };
        if self.trial == Some(true) && self.settled == 0 {
            world.boot.marks[0] = Mark::Trial(3);
            world.boot.marks[1] = Mark::Good;
        }
        self.boot(&mut world, StoreCondition::Fresh);
        for index in 0..self.settled {
            self.offer(&mut world, index);
            // With a seeded fault the beginning may not come to an end; then this is where exploring begins.
            world = calm::run(self, world);
        }
        if self.settled > 0 && self.trial == Some(true) {
            world.boot.install_foreign();
            self.boot(&mut world, StoreCondition::Intact);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken != 0 {
            return;
        }
        let mishaps = self.mishaps_max.is_none_or(|max| world.mishaps < max);
        let power_cuts = self.power_cuts && mishaps;
        for (id, effect) in &world.underway {
            match self.obstacle(world, effect) {
                Some(code) => actions.push(Action::Fail(*id, code)),
                None => actions.push(Action::Succeed(*id)),
            }
            if mishaps && !(needs_engine(effect) && world.engine_down) {
                let codes = (self.failures)(effect).iter();
                actions.extend(codes.map(|code| Action::Fail(*id, *code)));
            }
            if power_cuts {
                actions.push(Action::PowerCut(Some(*id)));
            }
        }
        if power_cuts {
            actions.push(Action::PowerCut(None));
            if world.underway.len() > 1 {
                actions.push(Action::PowerCutAfterAll);
            }
        }
        if world.wake.is_some_and(|at| at < T0 + FAR_MS) {
            actions.push(Action::Wake);
        }
        let next = world.offered.map_or(0, |index| index + 1);
        if next < self.manifests.len() {
            actions.push(Action::Offer(next));
        }
        for what in self.disturbances {
            if world.budget > 0 || *what == Disturbance::EngineBack {
                let victims = 0..self.victims(world, *what);
                actions.extend(victims.map(|index| Action::Disturb(*what, index)));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let is_mishap =
            matches!(action, Action::Fail(..) | Action::PowerCut(_) | Action::PowerCutAfterAll);
        world.mishaps += u8::from(is_mishap && self.mishaps_max.is_some());
        match action {
            Action::Succeed(id) => {
                self.succeed(&mut world, id, true);
            }
            Action::Fail(id, code) => {
                self.fail(&mut world, id, code, true);
            }
            Action::PowerCut(done) => {
                self.lose_power(&mut world, |id| Some(id) == done);
                self.boot(&mut world, StoreCondition::Intact);
            }
            Action::PowerCutAfterAll => {
                self.lose_power(&mut world, |_| true);
                self.boot(&mut world, StoreCondition::Intact);
            }
            Action::Wake => {
                self.wake(&mut world);
            }
            Action::Offer(index) => self.offer(&mut world, index),
            Action::Disturb(what, index) => {
                if what != Disturbance::EngineBack {
                    world.budget = world.budget.saturating_sub(1);
                }
                self.disturb(&mut world, what, index);
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::properties()
    }
}

impl World {
    fn lose_answer(&mut self, effect: &Effect) {
        if let Effect::SendReport { report } = effect {
            self.may_repeat.insert(report.deployment.clone());
        }
    }
}
