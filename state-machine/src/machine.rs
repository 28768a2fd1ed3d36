//! `step`: routes an event to its sub-machine, then derives from the whole state what is to be done next.

use crate::desired::DesiredState;
use crate::effect::Outcome;
use crate::engine::Engine;
use crate::event::{Event, Observation, StoreCondition};
use crate::failure::{Code, Failure};
use crate::ids::{DeploymentId, Digest, EffectId};
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
    machine.note_garbage(&state.durable);
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
                cx.cancel(self.live.report.sending.take().map(|(id, _)| id));
            }
            Event::CapabilitiesChanged { capabilities } => {
                let live = &mut self.live.onboarding;
                self.durable.onboarding.on_capabilities_changed(live, capabilities, cx);
            }
            Event::SyncRequested => {
                let live = &mut self.live.sync;
                live.poll_at_ms = None;
                live.attempt = 0;
                self.live.report.retry_at_ms = None;
                self.live.onboarding.retry_at_ms = None;
                if live.stage == crate::sync::Stage::Idle {
                    live.note("idle", Why::Requested, None, cx);
                }
            }
            Event::RetryRequested { deployment } => {
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
        self.durable.firmware.on_boot(observation.boot.as_ref(), cx);
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
        if let (FirstBoot::Preload, None, Some(preload)) =
            (cx.policy.first_boot, &self.durable.sync.accepted, &observation.preload)
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
        for deployment in &desired.deployments {
            match self.workload(&deployment.id) {
                Some((workload, live)) => workload.on_desired(live, deployment, cx),
                None => self.add(deployment, cx),
            }
        }
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
        } else if self.live.collecting == Some(id) {
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
        match outcome {
            Outcome::IdentityLoaded { identity } => {
                if self.durable.onboarding.on_identity(live, identity, cx) {
                    // Versions of one relationship mean nothing in another. What runs, runs on (I5).
                    self.durable.sync.accepted = None;
                    self.live.sync.contacted = false;
                    self.durable.outbox.on_identity_replaced(&mut self.live.report, cx);
                }
            }
            Outcome::TrustLoaded => self.durable.onboarding.on_trust(live, cx),
            Outcome::CapabilitiesAccepted => {
                self.durable.onboarding.on_capabilities_accepted(live, cx);
            }
            other => live.fail(&unexpected(other), cx),
        }
    }

    fn on_sync_outcome(&mut self, outcome: &Outcome, cx: &mut Cx<'_>) {
        let live = &mut self.live.sync;
        match outcome {
            Outcome::ManifestUnchanged => live.succeed(Why::Unchanged, cx),
            Outcome::ManifestReceived { head } => self.durable.sync.on_manifest(live, head, cx),
            Outcome::DeploymentsFetched { desired } => {
                if self.durable.sync.on_fetched(live, desired, cx) {
                    self.accept(desired, cx);
                }
            }
            other => live.fail(&unexpected(other), Why::Failed, cx),
        }
    }

    fn on_workload_outcome(
        &mut self,
        deployment: &DeploymentId,
        id: EffectId,
        outcome: &Outcome,
        cx: &mut Cx<'_>,
    ) {
        let Some((workload, live)) = self.workload(deployment) else { return };
        if let Outcome::Failed { failure } = outcome
            && failure.code == Code::EngineUnavailable
        {
            // Not the workload's fault: forget the attempt, try again when the engine is back.
            if live.prepare == Some(id) {
                live.prepare = None;
            } else {
                live.job = None;
            }
            live.dirty = true;
            self.live.engine.on_lost(Some(failure), cx);
            return;
        }
        if live.prepare == Some(id) {
            match outcome {
                Outcome::DeploymentPrepared => workload.on_prepared(live, cx),
                other => workload.on_prepare_failed(live, &unexpected(other), cx),
            }
            return;
        }
        let Some(job) = live.job.take() else { return };
        match (&job.kind, outcome) {
            (_, Outcome::ComponentApplied) => workload.on_applied(live, &job.kind, cx),
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
        // Whatever happened while nobody watched.
        for (id, live) in &mut self.live.workloads {
            live.dirty = live.hold.is_empty();
            let Some(workload) = self.durable.workloads.get(id) else { continue };
            if workload.failure.as_ref().is_some_and(|f| f.code == Code::EngineUnavailable) {
                live.hold_all(workload.held_in_order());
            }
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
            if live.stable_at_ms.is_some_and(|at| cx.now.monotonic_ms >= at) {
                workload.recovered(live, cx);
            }
        }
        workload::coordinate(&mut self.durable.workloads, &mut self.live.workloads, cx);
        let sending = self.live.report.sending.as_ref().map(|(_, report)| report);
        for workload in self.durable.workloads.values() {
            if let Some(report) = report::status_of(workload) {
                self.durable.outbox.offer(report, sending, cx);
            }
        }
    }

    fn note_garbage(&mut self, before: &Durable) {
        if *before != *self.durable {
            let kept: BTreeSet<&Digest> = self.durable.revisions();
            self.live.garbage |= before.revisions().iter().any(|digest| !kept.contains(digest));
        }
    }

    fn schedule(&mut self, cx: &mut Cx<'_>) {
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
        let preparing = self.live.workloads.values().any(|live| live.prepare.is_some());
        if self.live.garbage && !preparing && self.live.collecting.is_none() {
            self.live.garbage = false;
            self.live.collecting = Some(cx.start(crate::effect::Effect::CollectGarbage));
        }
    }

    fn schedule_workloads(&mut self, cx: &mut Cx<'_>) {
        let all = || self.live.workloads.values();
        let mut jobs = all().filter(|live| live.job.is_some()).count();
        let mut prepares = all().filter(|live| live.prepare.is_some()).count();
        for (id, live) in &mut self.live.workloads {
            let Some(workload) = self.durable.workloads.get(id) else { continue };
            if jobs < cx.policy.jobs_max && live.job.is_none() {
                workload::schedule(workload, live, cx);
                jobs = jobs.saturating_add(usize::from(live.job.is_some()));
            }
            let may_prepare = prepares < cx.policy.prepares_max && self.live.collecting.is_none();
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
        let allowed = match policy.restore {
            Restore::Auto => true,
            Restore::WaitForWfm => self.live.sync.contacted,
        };
        allowed && self.live.engine.connected
    }

    /// The next point at which something is due. Points that have passed wait for an event, not for time.
    fn wake_at(&self, cx: &Cx<'_>) -> Option<u64> {
        let mut wake = None;
        let mut add = |at: Option<u64>| {
            wake = earliest(wake, at.filter(|at| *at > cx.now.monotonic_ms));
        };
        add(self.live.onboarding.retry_at_ms);
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
        | Outcome::GarbageCollected => {
            Failure::new(Code::Internal, "the effect ended with another effect's outcome")
        }
    }
}
