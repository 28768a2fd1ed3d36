//! `step`: routes an event to its sub-machine, then derives from the whole state what is to be done next.

use crate::desired::{DesiredState, Kind};
use crate::effect::Outcome;
use crate::engine::Engine;
use crate::event::{Event, Observation, StoreCondition};
use crate::failure::{Code, Failure, FailureClass};
use crate::firmware::{self, Firmware, Surroundings};
use crate::ids::{DeploymentId, Digest, EffectId};
use crate::onboarding;
use crate::policy::{FirstBoot, Policy, Restore};
use crate::report;
use crate::state::{Durable, Live, State};
use crate::step::{Cx, Step};
use crate::time::{Now, earliest};
use crate::transition::{MachineName, Transition, Why};
use crate::workload::{self, JobKind, Phase, Workload};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Applies one event. Total: never panics, and an event that means nothing here changes nothing.
pub fn step(state: &State, event: &Event, now: &Now, policy: &Policy) -> Step {
    let mut next = state.clone();
    let (mut transitions, mut cancels, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    let mut next_effect = next.live.next_effect;
    let mut cx = Cx {
        now,
        policy,
        next_effect: &mut next_effect,
        transitions: &mut transitions,
        cancels: &mut cancels,
        effects: &mut effects,
    };
    let mut machine = Machine { durable: &mut next.durable, live: &mut next.live };
    machine.handle(event, &mut cx);
    machine.settle(&mut cx);
    machine.publish(state, matches!(event, Event::Started { .. }), &mut cx);
    machine.schedule(&mut cx);
    let wake_at_ms = machine.wake_at(&cx);
    next.live.next_effect = next_effect;
    let persist = next.durable != state.durable;
    Step { next, persist, transitions, cancels, effects, wake_at_ms }
}

struct Machine<'a> {
    durable: &'a mut Durable,
    live: &'a mut Live,
}

impl Machine<'_> {
    fn handle(&mut self, event: &Event, cx: &mut Cx<'_>) {
        match event {
            Event::Started { observation } => self.on_started(observation, cx),
            Event::TimerElapsed => {}
            Event::EffectFinished { id, outcome } => self.on_finished(*id, outcome, cx),
            Event::EngineDisconnected => self.live.engine.on_lost(None, cx),
            Event::WorkloadChanged { deployment } => {
                // While an operation of ours is under way this may be its echo: comparing afterwards tells.
                if let Some(live) = self.live.workloads.get_mut(deployment) {
                    live.dirty = true;
                }
            }
            Event::IdentityChanged => {
                self.live.onboarding.on_identity_changed(cx);
                self.live.sync.reset(cx);
                self.live.report.reset(cx);
            }
            Event::CapabilitiesChanged { capabilities } => {
                let live = &mut self.live.onboarding;
                self.durable.onboarding.on_capabilities_changed(live, capabilities, cx);
            }
            Event::BootObserved { boot } => {
                let Durable { firmware, workloads, .. } = &mut *self.durable;
                firmware.on_boot(&mut self.live.firmware, boot.as_ref(), false, workloads, cx);
            }
            Event::FirmwareRequested { location } => {
                self.durable.firmware.on_requested(&mut self.live.firmware, location, cx);
            }
            Event::FirmwareRollbackRequested => {
                self.durable.firmware.on_rollback_requested(&mut self.live.firmware, cx);
            }
            Event::FirmwareJudged { good } => {
                self.durable.firmware.on_judged(&mut self.live.firmware, *good, cx);
            }
            Event::SyncRequested => {
                self.live.sync.on_requested(cx);
                self.live.report.retry_at_ms = self.live.report.asked_until_ms;
                self.live.onboarding.retry_at_ms = self.live.onboarding.asked_until_ms;
            }
            Event::RetryRequested { deployment } => {
                let live = &mut self.live.firmware;
                if self.durable.firmware.on_retry_requested(live, deployment, cx) {
                    return;
                }
                if let Some((workload, live)) = self.workload(deployment) {
                    workload.on_retry_requested(live, cx);
                }
            }
        }
    }

    fn workload(&mut self, id: &DeploymentId) -> Option<(&mut Workload, &mut workload::Live)> {
        let workload = self.durable.workloads.get_mut(id)?;
        Some((workload, self.live.workloads.entry(id.clone()).or_default()))
    }

    fn on_started(&mut self, observation: &Observation, cx: &mut Cx<'_>) {
        *self.live = Live {
            next_effect: self.live.next_effect,
            engine: Engine::started(cx.now.monotonic_ms),
            garbage: true,
            ..Live::default()
        };
        self.live.onboarding.capabilities = Some(observation.capabilities.clone());
        let why = match observation.store {
            StoreCondition::Fresh | StoreCondition::Intact => Why::Started,
            StoreCondition::Healed => Why::StateHealed,
            StoreCondition::Lost => Why::StateLost,
        };
        cx.transitions.push(Transition {
            machine: MachineName::Onboarding,
            subject: None,
            component: None,
            prev: "unprovisioned",
            next: "unprovisioned",
            why,
            failure: None,
        });
        let Durable { firmware, workloads, .. } = &mut *self.durable;
        firmware.on_boot(&mut self.live.firmware, observation.boot.as_ref(), true, workloads, cx);
        for (id, workload) in &mut self.durable.workloads {
            let prev = workload.phase.as_str();
            let live = workload::Live::started(workload);
            if matches!(prev, "applying" | "pruning") {
                workload.go(workload.phase.clone(), Why::Started, cx);
                if let Some(transition) = cx.transitions.last_mut() {
                    transition.prev = prev;
                }
            }
            self.live.workloads.insert(id.clone(), live);
        }
        if observation.store == StoreCondition::Lost {
            self.durable.sync.preload_ended = true;
        }
        if let (FirstBoot::Preload, false, Some(preload)) =
            (cx.policy.first_boot, self.durable.sync.preload_ended, &observation.preload)
        {
            self.live.sync.note("idle", Why::Preloaded, None, cx);
            self.accept(preload, cx);
        }
    }

    /// Makes a verified desired state the one to hold. The only caller of `on_dropped` (I5).
    fn accept(&mut self, desired: &DesiredState, cx: &mut Cx<'_>) {
        let listed: BTreeSet<&DeploymentId> = desired.deployments.iter().map(|d| &d.id).collect();
        for (id, workload) in &mut self.durable.workloads {
            if !listed.contains(id) {
                let live = self.live.workloads.entry(id.clone()).or_default();
                workload.on_dropped(live, desired.version, cx);
            }
        }
        let is_listed = |id: &DeploymentId| listed.contains(id);
        let (firmware, live) = (&mut self.durable.firmware, &mut self.live.firmware);
        firmware.on_dropped(live, &is_listed, desired.version, cx);
        for deployment in &desired.deployments {
            let is_firmware = self.durable.firmware.deployments.contains_key(&deployment.id);
            match (self.workload(&deployment.id), deployment.kind) {
                // What it was first decides; it has to be removed before it can become something else.
                (Some((workload, live)), _) => workload.on_desired(live, deployment, cx),
                (None, Kind::Compose) if !is_firmware => self.add(deployment, cx),
                (None, Kind::Compose | Kind::Firmware) => {
                    let live = &mut self.live.firmware;
                    self.durable.firmware.on_desired(live, deployment, cx);
                }
            }
        }
        self.durable.firmware.choose();
    }

    fn add(&mut self, deployment: &Arc<crate::desired::Deployment>, cx: &mut Cx<'_>) {
        let mut workload = Workload::new(Arc::clone(deployment));
        workload.go(Phase::Preparing, Why::Desired, cx);
        if let Some(transition) = cx.transitions.last_mut() {
            transition.prev = "absent";
        }
        self.live.workloads.insert(deployment.id.clone(), workload::Live::default());
        self.durable.workloads.insert(deployment.id.clone(), workload);
    }

    /// Hands an outcome to whoever waits for it; nobody does if it is stale.
    fn on_finished(&mut self, id: EffectId, outcome: &Outcome, cx: &mut Cx<'_>) {
        if self.live.onboarding.job == Some(id) {
            self.on_onboarding_outcome(outcome, cx);
        } else if self.live.sync.effect() == Some(id) {
            self.on_sync_outcome(outcome, cx);
        } else if self.live.report.sending.as_ref().is_some_and(|(sending, _)| *sending == id) {
            let live = &mut self.live.report;
            match outcome {
                Outcome::ReportAccepted => self.durable.outbox.on_accepted(live, cx),
                other => self.durable.outbox.on_failed(live, &unexpected(other), cx),
            }
        } else if self.live.engine.job == Some(id) {
            match outcome {
                Outcome::EngineReady => self.on_engine_ready(cx),
                other => self.live.engine.on_failed(&unexpected(other), cx),
            }
        } else if Firmware::waits_for(&self.live.firmware, id) {
            let (firmware, live) = (&mut self.durable.firmware, &mut self.live.firmware);
            firmware.on_finished(live, id, outcome, unexpected, cx);
        } else if self.live.collecting == Some(id) {
            // A failure is no reason to try again at once: the next change that leaves garbage is soon enough.
            self.live.collecting = None;
        } else if let Some(deployment) = self.waiting_workload(id) {
            self.on_workload_outcome(&deployment, id, outcome, cx);
        } else {
            cx.transitions.push(Transition {
                machine: MachineName::Workload,
                subject: None,
                component: None,
                prev: "absent",
                next: "absent",
                why: Why::Stale,
                failure: None,
            });
        }
    }

    fn waiting_workload(&self, id: EffectId) -> Option<DeploymentId> {
        let waits = |live: &workload::Live| {
            live.prepare == Some(id) || live.job.as_ref().is_some_and(|job| job.id == id)
        };
        self.live.workloads.iter().find(|(_, live)| waits(live)).map(|(name, _)| name.clone())
    }

    fn on_onboarding_outcome(&mut self, outcome: &Outcome, cx: &mut Cx<'_>) {
        let live = &mut self.live.onboarding;
        match (live.stage, outcome) {
            (onboarding::Stage::Unprovisioned, Outcome::IdentityLoaded { identity }) => {
                if self.durable.onboarding.on_identity(live, identity, cx) {
                    self.on_identity_replaced(cx);
                }
            }
            (onboarding::Stage::Provisioned, Outcome::TrustLoaded) => {
                self.durable.onboarding.on_trust(live, cx);
            }
            (onboarding::Stage::Trusted, Outcome::CapabilitiesAccepted) => {
                self.durable.onboarding.on_capabilities_accepted(live, cx);
            }
            (_, other) => live.fail(&unexpected(other), cx),
        }
    }

    /// Another relationship: versions of one mean nothing in another. What runs, runs on (I5), but the new WFM is
    /// told of it only once it lists it.
    fn on_identity_replaced(&mut self, cx: &mut Cx<'_>) {
        self.durable.sync.accepted = None;
        self.live.sync.contacted = false;
        self.durable.outbox.on_identity_replaced(&mut self.live.report, cx);
        for workload in self.durable.workloads.values_mut() {
            workload.on_identity_replaced();
        }
        self.durable.firmware.on_identity_replaced();
    }

    fn on_sync_outcome(&mut self, outcome: &Outcome, cx: &mut Cx<'_>) {
        let live = &mut self.live.sync;
        let is_polling = matches!(live.stage, crate::sync::Stage::Polling { .. });
        match (is_polling, outcome) {
            (true, Outcome::ManifestUnchanged) => live.succeed(Why::Unchanged, cx),
            (true, Outcome::ManifestReceived { head }) => {
                self.durable.sync.on_manifest(live, head, cx);
            }
            (false, Outcome::DeploymentsFetched { desired }) => {
                if self.durable.sync.on_fetched(live, desired, cx) {
                    self.accept(desired, cx);
                }
            }
            (_, other) => {
                let failure = unexpected(other);
                // What was fetched so far is of use to the next attempt only if that may well succeed (I11).
                self.live.garbage |= !is_polling && failure.class != FailureClass::Retryable;
                live.fail(&failure, Why::Failed, cx);
            }
        }
        // Fetched artifacts belong to no revision yet: nothing may be collected beside a fetch (I2).
        if matches!(self.live.sync.stage, crate::sync::Stage::Fetching { .. })
            && let Some(collecting) = self.live.collecting.take()
        {
            cx.cancel(Some(collecting));
            self.live.garbage = true;
        }
    }

    fn on_workload_outcome(
        &mut self,
        deployment: &DeploymentId,
        id: EffectId,
        outcome: &Outcome,
        cx: &mut Cx<'_>,
    ) {
        let failure = if let Outcome::Failed { failure } = outcome { Some(failure) } else { None };
        let engine_gone = failure.filter(|failure| failure.code == Code::EngineUnavailable);
        let is_prepare = self.live.workloads.get(deployment).is_some_and(|l| l.prepare == Some(id));
        if engine_gone.is_none() && (failure.is_none() || !is_prepare) {
            self.live.engine.on_proven();
        }
        let Some((workload, live)) = self.workload(deployment) else { return };
        if let Some(failure) = engine_gone {
            // Not the workload's fault: forget the attempt, try again when the engine is back.
            if is_prepare {
                live.prepare = None;
                live.repairing = false;
            } else {
                live.job = None;
            }
            live.dirty = true;
            live.last_failure = Some(failure.clone());
            self.live.engine.on_lost(Some(failure), cx);
            return;
        }
        if is_prepare {
            match outcome {
                Outcome::DeploymentPrepared => workload.on_prepared(live, cx),
                other => workload.on_prepare_failed(live, &unexpected(other), cx),
            }
            return;
        }
        let Some(job) = live.job.take() else { return };
        match (&job.kind, outcome) {
            (
                JobKind::Update { .. } | JobKind::Hold { .. } | JobKind::Restore { .. },
                Outcome::ComponentApplied,
            ) => workload.on_applied(live, &job.kind, cx),
            (JobKind::Observe, Outcome::DeploymentObserved { mismatches }) => {
                workload.on_observed(live, mismatches, cx);
            }
            (JobKind::Prune, Outcome::DeploymentPruned) => workload.on_pruned(live, cx),
            (JobKind::Remove, Outcome::DeploymentRemoved) => self.on_removed(deployment, cx),
            (_, other) => workload.on_apply_failed(live, &job.kind, &unexpected(other), cx),
        }
    }

    fn on_removed(&mut self, deployment: &DeploymentId, cx: &mut Cx<'_>) {
        self.live.workloads.remove(deployment);
        let Some(workload) = self.durable.workloads.remove(deployment) else { return };
        cx.transitions.push(Transition {
            machine: MachineName::Workload,
            subject: Some(deployment.clone()),
            component: None,
            prev: "removing",
            next: "absent",
            why: Why::Removed,
            failure: None,
        });
        if let Some(report) = report::removed(&workload) {
            let sending = self.live.report.sending.as_ref().map(|(_, report)| report);
            self.durable.outbox.offer(report, sending, cx);
        }
    }

    fn on_engine_ready(&mut self, cx: &mut Cx<'_>) {
        self.live.engine.on_ready(cx);
        // Whatever happened while nobody watched, to all that is not going to be applied anyway.
        for (id, live) in &mut self.live.workloads {
            let held = self.durable.workloads.get(id).map_or(0, |workload| workload.held.len());
            live.dirty = live.hold.len() < held;
        }
    }

    /// What follows from the state without any effect: turns, stability, the outbox.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let lost = self.live.engine.is_lost(cx);
        for (id, live) in &mut self.live.workloads {
            let Some(workload) = self.durable.workloads.get_mut(id) else { continue };
            if lost {
                workload.on_engine_lost(cx);
            }
            if !self.live.engine.connected {
                // Nothing proves stable while nobody can see it.
                live.stable_at_ms = None;
            }
            if live.stable_at_ms.is_some_and(|at| cx.now.monotonic_ms >= at) {
                workload.recovered(live, cx);
            }
        }
        self.settle_firmware(lost, cx);
        let may_turn = !self.durable.firmware.holds_turns(cx.now, cx.policy);
        let Durable { workloads, .. } = &mut *self.durable;
        workload::coordinate(workloads, &mut self.live.workloads, may_turn, cx);
    }

    /// Firmware before workloads: once it has something to do, their turns wait.
    fn settle_firmware(&mut self, engine_lost: bool, cx: &mut Cx<'_>) {
        let around = Surroundings {
            workloads: &self.durable.workloads,
            live: &self.live.workloads,
            engine_connected: self.live.engine.connected,
            engine_lost,
            sync_idle: self.live.sync.stage == crate::sync::Stage::Idle,
            may_run: self.may_touch(cx.policy),
        };
        let (firmware, live) = (&mut self.durable.firmware, &mut self.live.firmware);
        firmware.discard_unwanted(live, cx);
        firmware.judge(live, &around, cx);
        let gone = firmware.sweep();
        firmware.start_next(live, cx);
        firmware.install_if_settled(live, &around, cx);
        if !self.durable.firmware.may_sync() {
            self.live.sync.pause(cx);
        }
        let sending = self.live.report.sending.as_ref().map(|(_, report)| report);
        for report in gone.iter().filter_map(firmware::removed) {
            self.durable.outbox.offer(report, sending, cx);
        }
    }

    /// Of every workload whose record changed (`all`: of every one): queues its status, and notes what it left.
    fn publish(&mut self, before: &State, all: bool, cx: &mut Cx<'_>) {
        let sending = self.live.report.sending.as_ref().map(|(_, report)| report);
        for (id, workload) in &self.durable.workloads {
            let old = before.durable.workloads.get(id);
            if old == Some(workload) && !all {
                continue;
            }
            if let Some(report) = report::status_of(workload) {
                self.durable.outbox.offer(report, sending, cx);
            }
            let kept = |digest: &Digest| workload.revisions().any(|kept| kept == digest);
            self.live.garbage |= old.is_some_and(|old| !old.revisions().all(kept));
        }
        let gone = |id: &DeploymentId| !self.durable.workloads.contains_key(id);
        self.live.garbage |= before.durable.workloads.keys().any(gone);
        let (old, new) = (&before.durable.firmware, &self.durable.firmware);
        if old == new && !all {
            return;
        }
        for report in new.deployments.values().filter_map(|r| firmware::status_of(new, r)) {
            self.durable.outbox.offer(report, sending, cx);
        }
        let kept = |digest: &Digest| new.revisions().any(|kept| kept == digest);
        self.live.garbage |= !old.revisions().all(kept);
    }

    fn schedule(&mut self, cx: &mut Cx<'_>) {
        let may_prepare = self.live.collecting.is_none();
        self.durable.firmware.schedule(&mut self.live.firmware, may_prepare, cx);
        if self.live.firmware.is_rebooting() {
            // What begins now would only be cut off.
            return;
        }
        self.durable.onboarding.schedule(&mut self.live.onboarding, cx);
        if self.may_sync() && cx.policy.may_poll(cx.now) {
            self.durable.sync.schedule(&mut self.live.sync, cx);
        }
        if self.may_report() && cx.policy.may_talk(cx.now) {
            self.durable.outbox.schedule(&mut self.live.report, cx);
        }
        self.live.engine.schedule(cx);
        if self.may_run(cx.policy) {
            self.schedule_workloads(cx);
        }
        let obtaining = matches!(self.live.sync.stage, crate::sync::Stage::Fetching { .. })
            || self.live.firmware.is_preparing()
            || self.live.workloads.values().any(|live| live.prepare.is_some());
        let may_collect = !obtaining && self.knows_what_is_needed();
        if self.live.garbage && may_collect && self.live.collecting.is_none() {
            self.live.garbage = false;
            self.live.collecting = Some(cx.start(crate::effect::Effect::CollectGarbage));
        }
    }

    /// Whether what no revision needs is garbage. After the state was lost it may be what the next manifest lists, and
    /// the only copy of it within reach, unless its room is needed (I2).
    fn knows_what_is_needed(&self) -> bool {
        let is_lost = self.durable.sync.preload_ended && self.durable.sync.accepted.is_none();
        let failure = self.live.sync.last_failure.as_ref();
        !is_lost || failure.is_some_and(|failure| failure.code == Code::NoSpace)
    }

    fn schedule_workloads(&mut self, cx: &mut Cx<'_>) {
        let all = || self.live.workloads.values();
        let mut jobs = all().filter(|live| live.job.is_some()).count();
        let mut prepares = all().filter(|live| live.prepare.is_some()).count();
        for (id, live) in &mut self.live.workloads {
            let Some(workload) = self.durable.workloads.get(id) else { continue };
            if jobs < cx.policy.jobs_max.max(1) && live.job.is_none() {
                workload::schedule(workload, live, cx);
                jobs = jobs.saturating_add(usize::from(live.job.is_some()));
            }
            let may_prepare =
                prepares < cx.policy.prepares_max.max(1) && self.live.collecting.is_none();
            if may_prepare && live.prepare.is_none() {
                workload::schedule_prepare(workload, live, cx);
                prepares = prepares.saturating_add(usize::from(live.prepare.is_some()));
            }
        }
    }

    fn may_sync(&self) -> bool {
        self.durable.onboarding.may_sync(&self.live.onboarding) && self.durable.firmware.may_sync()
    }

    fn may_report(&self) -> bool {
        self.durable.onboarding.may_sync(&self.live.onboarding)
    }

    fn may_run(&self, policy: &Policy) -> bool {
        self.may_touch(policy) && self.live.engine.connected
    }

    /// Whether workloads may be touched, as far as the policy goes.
    fn may_touch(&self, policy: &Policy) -> bool {
        match policy.restore {
            Restore::Auto => true,
            // A trial does not talk to the WFM before it is judged, and it is judged by what runs.
            Restore::WaitForWfm => self.live.sync.contacted || !self.durable.firmware.may_sync(),
        }
    }

    /// The next point at which something is due. Points that have passed wait for an event, not for time.
    fn wake_at(&self, cx: &Cx<'_>) -> Option<u64> {
        let mut wake = None;
        let mut add = |at: Option<u64>| {
            wake = earliest(wake, at.filter(|at| *at > cx.now.monotonic_ms));
        };
        add(self.live.onboarding.retry_at_ms);
        add(self.durable.firmware.wake_at(&self.live.firmware, cx));
        if self.may_sync() {
            add(self.live.sync.poll_at_ms);
        }
        if self.durable.outbox.waiting() > 0 {
            add(self.live.report.retry_at_ms);
        }
        if !self.live.engine.connected {
            let away_since_ms = self.live.engine.away_since_ms;
            add(self.live.engine.retry_at_ms);
            add(Some(away_since_ms.saturating_add(cx.policy.engine_grace_ms)));
        }
        for (id, live) in &self.live.workloads {
            if let Some(workload) = self.durable.workloads.get(id) {
                add(workload::wake_at(workload, live));
            }
        }
        if !cx.policy.may_poll(cx.now) {
            add(Some(cx.policy.window_check_ms(cx.now)));
        }
        wake
    }
}

/// The failure an outcome stands for; an outcome of another effect's kind is the executor's fault.
fn unexpected(outcome: &Outcome) -> Failure {
    match outcome {
        Outcome::Failed { failure } => failure.clone(),
        Outcome::IdentityLoaded { .. }
        | Outcome::TrustLoaded
        | Outcome::CapabilitiesAccepted
        | Outcome::EngineReady
        | Outcome::ManifestUnchanged
        | Outcome::ManifestReceived { .. }
        | Outcome::DeploymentsFetched { .. }
        | Outcome::DeploymentPrepared
        | Outcome::ComponentApplied
        | Outcome::DeploymentObserved { .. }
        | Outcome::DeploymentPruned
        | Outcome::DeploymentRemoved
        | Outcome::ReportAccepted
        | Outcome::GarbageCollected
        | Outcome::FirmwarePrepared { .. }
        | Outcome::FirmwareInstalled
        | Outcome::SystemChecked { .. }
        | Outcome::SlotMarked => {
            Failure::new(Code::Internal, "the effect ended with another effect's outcome")
        }
    }
}
