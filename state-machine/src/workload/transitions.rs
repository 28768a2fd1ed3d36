//! Every change of a workload's phase, one function for each thing that can happen, each over every phase.

use super::live::{JobKind, Live, first_step};
use super::{Phase, Workload};
use crate::backoff::{delay_ms, seed_of};
use crate::desired::Deployment;
use crate::failure::{Code, Failure, FailureClass};
use crate::ids::{ComponentName, ManifestVersion};
use crate::policy::{MismatchPolicy, PartialFailure};
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Every change of phase there is. Tests hold the code to it in both directions.
pub const EDGES: &[Edge] = &[
    edge("absent", Why::Desired, "preparing"),
    edge("preparing", Why::Desired, "preparing"),
    edge("prepared", Why::Desired, "preparing"),
    edge("applying", Why::Desired, "preparing"),
    edge("pruning", Why::Desired, "preparing"),
    edge("restoring", Why::Desired, "preparing"),
    edge("running", Why::Desired, "preparing"),
    edge("leaving", Why::Desired, "preparing"),
    edge("removing", Why::Desired, "preparing"),
    edge("preparing", Why::Dropped, "leaving"),
    edge("prepared", Why::Dropped, "leaving"),
    edge("applying", Why::Dropped, "leaving"),
    edge("pruning", Why::Dropped, "leaving"),
    edge("restoring", Why::Dropped, "leaving"),
    edge("running", Why::Dropped, "leaving"),
    edge("preparing", Why::Prepared, "prepared"),
    edge("preparing", Why::Failed, "preparing"),
    edge("prepared", Why::Turn, "applying"),
    edge("prepared", Why::Turn, "pruning"),
    edge("applying", Why::ComponentApplied, "applying"),
    edge("applying", Why::ComponentApplied, "pruning"),
    edge("applying", Why::ComponentApplied, "running"),
    edge("applying", Why::Failed, "restoring"),
    edge("applying", Why::Failed, "preparing"),
    edge("applying", Why::Started, "applying"),
    edge("applying", Why::GroupFailed, "restoring"),
    edge("pruning", Why::Pruned, "running"),
    edge("pruning", Why::Failed, "pruning"),
    edge("pruning", Why::Started, "applying"),
    edge("pruning", Why::Started, "pruning"),
    edge("pruning", Why::GroupFailed, "restoring"),
    edge("running", Why::GroupFailed, "restoring"),
    edge("restoring", Why::ComponentRestored, "restoring"),
    edge("restoring", Why::ComponentRestored, "preparing"),
    edge("restoring", Why::Pruned, "preparing"),
    edge("restoring", Why::Failed, "preparing"),
    edge("running", Why::MismatchFound, "running"),
    edge("running", Why::EngineLost, "running"),
    edge("running", Why::Failed, "running"),
    edge("running", Why::Recovered, "running"),
    edge("leaving", Why::Turn, "removing"),
    edge("removing", Why::Failed, "removing"),
    edge("removing", Why::Removed, "absent"),
];

impl Workload {
    /// Moves to `phase` and records it.
    pub(crate) fn go(&mut self, phase: Phase, why: Why, cx: &mut Cx<'_>) {
        let prev = self.phase.as_str();
        self.phase = phase;
        let component = match &self.phase {
            Phase::Applying { component } | Phase::Restoring { component: Some(component) } => {
                Some(component.clone())
            }
            Phase::Preparing
            | Phase::Prepared
            | Phase::Pruning
            | Phase::Restoring { component: None }
            | Phase::Running
            | Phase::Leaving
            | Phase::Removing => None,
        };
        self.note(prev, component, why, None, cx);
    }

    fn note(
        &self,
        prev: &'static str,
        component: Option<ComponentName>,
        why: Why,
        failure: Option<&Failure>,
        cx: &mut Cx<'_>,
    ) {
        cx.transitions.push(Transition {
            machine: MachineName::Workload,
            subject: Some(self.desired.id.clone()),
            component,
            prev,
            next: self.phase.as_str(),
            why,
            failure: failure.cloned(),
        });
    }

    fn note_failure(&self, prev: &'static str, why: Why, failure: &Failure, cx: &mut Cx<'_>) {
        self.note(prev, failure.component.clone(), why, Some(failure), cx);
    }

    /// An accepted manifest lists this revision.
    pub(crate) fn on_desired(
        &mut self,
        live: &mut Live,
        desired: &Arc<Deployment>,
        cx: &mut Cx<'_>,
    ) {
        if self.dropped_by.is_none() && self.desired.revision == desired.revision {
            return;
        }
        live.cancel(cx);
        live.fresh_start();
        match &self.phase {
            Phase::Applying { .. } | Phase::Pruning | Phase::Restoring { .. } | Phase::Removing => {
                self.untidy = true;
                live.hold_all(self.held_in_order());
            }
            Phase::Preparing | Phase::Prepared => self.untidy |= self.failure.is_some(),
            Phase::Running | Phase::Leaving => {}
        }
        self.desired = Arc::clone(desired);
        self.dropped_by = None;
        self.failure = None;
        self.go(Phase::Preparing, Why::Desired, cx);
    }

    /// An accepted manifest lists this deployment no longer (I5: the only way out, besides an operator).
    pub(crate) fn on_dropped(&mut self, live: &mut Live, by: ManifestVersion, cx: &mut Cx<'_>) {
        if self.dropped_by.is_some() {
            return;
        }
        live.cancel(cx);
        live.fresh_start();
        self.dropped_by = Some(by);
        self.failure = None;
        self.go(Phase::Leaving, Why::Dropped, cx);
    }

    /// The desired revision is ready to be applied.
    pub(crate) fn on_prepared(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.prepare = None;
        match &self.phase {
            Phase::Preparing => self.go(Phase::Prepared, Why::Prepared, cx),
            // Leaving Preparing cancels the preparation, so its outcome cannot come here.
            Phase::Prepared
            | Phase::Applying { .. }
            | Phase::Pruning
            | Phase::Restoring { .. }
            | Phase::Running
            | Phase::Leaving
            | Phase::Removing => self.note(self.phase.as_str(), None, Why::Ignored, None, cx),
        }
    }

    /// The desired revision could not be made ready.
    pub(crate) fn on_prepare_failed(
        &mut self,
        live: &mut Live,
        failure: &Failure,
        cx: &mut Cx<'_>,
    ) {
        live.prepare = None;
        self.retry_later(live, failure, cx);
        self.adopted = Some(self.desired.version);
        self.blame(failure);
        self.note_failure(self.phase.as_str(), Why::Failed, failure, cx);
    }

    /// Its turn has come: begin to apply the desired revision.
    pub(crate) fn on_turn(&mut self, cx: &mut Cx<'_>) {
        match &self.phase {
            Phase::Prepared => {
                self.adopted = Some(self.desired.version);
                let first = first_step(self);
                self.go(first, Why::Turn, cx);
            }
            Phase::Leaving => self.go(Phase::Removing, Why::Turn, cx),
            Phase::Preparing
            | Phase::Applying { .. }
            | Phase::Pruning
            | Phase::Restoring { .. }
            | Phase::Running
            | Phase::Removing => {}
        }
    }

    /// A component was applied, for whichever reason.
    pub(crate) fn on_applied(&mut self, live: &mut Live, kind: &JobKind, cx: &mut Cx<'_>) {
        match kind {
            JobKind::Update { component } => self.updated(live, component, cx),
            JobKind::Hold { component } => {
                live.hold.retain(|name| name != component);
                if live.hold.is_empty() && live.hold_failed.is_empty() {
                    live.stable_at_ms = Some(cx.now.after(cx.policy.stable_ms));
                    live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
                }
            }
            JobKind::Restore { component } => self.restored(live, component, cx),
            JobKind::Observe | JobKind::Prune | JobKind::Remove => {
                self.note(self.phase.as_str(), None, Why::Ignored, None, cx);
            }
        }
    }

    fn updated(&mut self, live: &mut Live, component: &ComponentName, cx: &mut Cx<'_>) {
        let desired = Arc::clone(&self.desired);
        self.hold(&desired, component);
        // Whatever was to be verified of it at an older revision is moot.
        live.hold.retain(|name| name != component);
        live.hold_failed.retain(|name| name != component);
        match desired.component_after(component) {
            Some(next) => {
                let next = next.name.clone();
                self.go(Phase::Applying { component: next }, Why::ComponentApplied, cx);
            }
            None if self.untidy || self.held.len() > desired.components.len() => {
                self.go(Phase::Pruning, Why::ComponentApplied, cx);
            }
            None => self.complete(live, Why::ComponentApplied, cx),
        }
    }

    fn complete(&mut self, live: &mut Live, why: Why, cx: &mut Cx<'_>) {
        self.failure = None;
        self.untidy = false;
        live.fresh_start();
        live.hold_all(Vec::new());
        live.recoveries = 0;
        live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
        self.go(Phase::Running, why, cx);
    }

    fn restored(&mut self, live: &mut Live, component: &ComponentName, cx: &mut Cx<'_>) {
        if let Phase::Restoring { component: Some(_) } = &self.phase {
            self.go(Phase::Preparing, Why::ComponentRestored, cx);
            return;
        }
        if let Some(good) = self.good.clone() {
            self.hold(&good, component);
        }
        if let Some(rest) = &mut live.restore {
            rest.retain(|name| name != component);
        }
        self.go(Phase::Restoring { component: None }, Why::ComponentRestored, cx);
    }

    /// A component could not be applied.
    pub(crate) fn on_apply_failed(
        &mut self,
        live: &mut Live,
        kind: &JobKind,
        failure: &Failure,
        cx: &mut Cx<'_>,
    ) {
        match kind {
            JobKind::Update { component } => self.update_failed(live, component, failure, cx),
            JobKind::Hold { component } => {
                live.hold.retain(|name| name != component);
                live.hold_failed.push(component.clone());
                self.recovery_needed(live, failure, Why::Failed, cx);
            }
            JobKind::Restore { component } => {
                let rest = live.restore.take().unwrap_or_default();
                let held = |name: &ComponentName| self.held.contains_key(name);
                live.hold_all(rest.into_iter().filter(|n| n != component && held(n)).collect());
                if self.held.contains_key(component) {
                    live.hold_failed.push(component.clone());
                }
                self.back_off_hold(live, cx);
                let prev = self.phase.as_str();
                self.phase = Phase::Preparing;
                self.note_failure(prev, Why::Failed, failure, cx);
            }
            JobKind::Observe | JobKind::Prune => {
                live.observe_at_ms = Some(cx.now.after(cx.policy.retry.initial_ms));
                if matches!(kind, JobKind::Prune) {
                    self.prune_failed(live, failure, cx);
                }
            }
            JobKind::Remove => {
                self.retry_later(live, failure, cx);
                live.blocked = false;
                self.blame(failure);
                self.note_failure(self.phase.as_str(), Why::Failed, failure, cx);
            }
        }
    }

    fn prune_failed(&mut self, live: &mut Live, failure: &Failure, cx: &mut Cx<'_>) {
        self.retry_later(live, failure, cx);
        live.blocked = false;
        let prev = self.phase.as_str();
        if matches!(self.phase, Phase::Restoring { .. }) {
            // What could not be pruned now is pruned after the next successful attempt.
            self.untidy = true;
            live.restore = None;
            self.phase = Phase::Preparing;
        } else {
            self.blame(failure);
        }
        self.note_failure(prev, Why::Failed, failure, cx);
    }

    fn update_failed(
        &mut self,
        live: &mut Live,
        component: &ComponentName,
        failure: &Failure,
        cx: &mut Cx<'_>,
    ) {
        self.retry_later(live, failure, cx);
        let failure = Failure { component: Some(component.clone()), ..failure.clone() };
        self.blame(&failure);
        live.restore = None;
        let prev = self.phase.as_str();
        self.phase = match cx.policy.partial_failure {
            PartialFailure::Keep if self.held.contains_key(component) => {
                Phase::Restoring { component: Some(component.clone()) }
            }
            PartialFailure::Keep => Phase::Preparing,
            PartialFailure::Rollback | PartialFailure::AllOrNothing => {
                Phase::Restoring { component: None }
            }
        };
        // Later components still run at their old revision; what stopped meanwhile is found by comparing.
        live.dirty = true;
        self.note_failure(prev, Why::Failed, &failure, cx);
    }

    /// Another deployment of the group failed: go back with it.
    pub(crate) fn on_group_failed(&mut self, live: &mut Live, failure: &Failure, cx: &mut Cx<'_>) {
        live.cancel(cx);
        live.fresh_start();
        self.failure = Some(failure.clone());
        let prev = self.phase.as_str();
        self.phase = Phase::Restoring { component: None };
        self.note_failure(prev, Why::GroupFailed, failure, cx);
    }

    /// What runs was compared with what is held.
    pub(crate) fn on_observed(&mut self, live: &mut Live, mismatches: &[Failure], cx: &mut Cx<'_>) {
        live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
        let running = matches!(self.phase, Phase::Running);
        let Some(first) = mismatches.first() else {
            if cx.policy.mismatch == MismatchPolicy::Report && running && self.failure.is_some() {
                self.recovered(live, cx);
            }
            return;
        };
        match cx.policy.mismatch {
            MismatchPolicy::Reconcile => {
                let blamed = |name: &ComponentName| {
                    mismatches.iter().any(|m| m.component.as_ref().is_none_or(|c| c == name))
                };
                live.hold = self.held_in_order().into_iter().filter(blamed).collect();
                self.recovery_needed(live, first, Why::MismatchFound, cx);
            }
            MismatchPolicy::Report => {
                live.last_failure = Some(first.clone());
                if running {
                    self.blame(first);
                    self.note_failure("running", Why::MismatchFound, first, cx);
                }
            }
        }
    }

    /// Something held does not run: count it, pace it, and say so once the budget is spent.
    fn recovery_needed(&mut self, live: &mut Live, failure: &Failure, why: Why, cx: &mut Cx<'_>) {
        live.last_failure = Some(failure.clone());
        live.stable_at_ms = None;
        self.back_off_hold(live, cx);
        if why == Why::MismatchFound && live.recoveries == 1 {
            live.hold_at_ms = None;
        }
        if matches!(self.phase, Phase::Running) {
            if live.recoveries > cx.policy.mismatch_retries_max {
                self.blame(failure);
            }
            self.note_failure("running", why, failure, cx);
        }
    }

    fn back_off_hold(&self, live: &mut Live, cx: &Cx<'_>) {
        live.recoveries = live.recoveries.saturating_add(1);
        let seed = seed_of(self.desired.id.as_str(), cx.policy.jitter_seed);
        live.hold_at_ms = Some(cx.now.after(delay_ms(live.recoveries, seed, &cx.policy.retry)));
    }

    /// A stable period has passed, or the mismatch is gone.
    pub(crate) fn recovered(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.stable_at_ms = None;
        live.recoveries = 0;
        if matches!(self.phase, Phase::Running) && self.failure.take().is_some() {
            self.note("running", None, Why::Recovered, None, cx);
        }
    }

    /// The container engine has been away for too long to still call this running.
    pub(crate) fn on_engine_lost(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.phase, Phase::Running) && self.failure.is_none() {
            let failure = Failure::new(Code::EngineUnavailable, "the container engine is away");
            self.blame(&failure);
            self.note_failure("running", Why::EngineLost, &failure, cx);
        }
    }

    /// What no longer belongs is gone.
    pub(crate) fn on_pruned(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        match &self.phase {
            Phase::Pruning => {
                let desired = Arc::clone(&self.desired);
                self.held.retain(|name, _| desired.component(name).is_some());
                self.complete(live, Why::Pruned, cx);
            }
            Phase::Restoring { .. } => {
                let good = self.good.clone();
                self.held.retain(|n, _| good.as_ref().is_some_and(|g| g.component(n).is_some()));
                self.untidy = false;
                live.restore = None;
                self.go(Phase::Preparing, Why::Pruned, cx);
            }
            Phase::Preparing
            | Phase::Prepared
            | Phase::Applying { .. }
            | Phase::Running
            | Phase::Leaving
            | Phase::Removing => self.note(self.phase.as_str(), None, Why::Ignored, None, cx),
        }
    }

    /// An operator, or the world, asks for another attempt now.
    pub(crate) fn on_retry_requested(&self, live: &mut Live, cx: &mut Cx<'_>) {
        live.retry_at_ms = None;
        live.blocked = false;
        live.hold_at_ms = None;
        live.dirty = true;
        self.note(self.phase.as_str(), None, Why::Requested, None, cx);
    }

    fn retry_later(&self, live: &mut Live, failure: &Failure, cx: &Cx<'_>) {
        live.attempt = live.attempt.saturating_add(1);
        live.last_failure = Some(failure.clone());
        live.blocked = failure.class == FailureClass::Refused;
        // A cause that lies outside the device's reach is looked at less often from the beginning.
        let head_start = if failure.class == FailureClass::Permanent { 3 } else { 0 };
        let seed = seed_of(self.desired.id.as_str(), cx.policy.jitter_seed);
        let wait_ms = delay_ms(live.attempt.saturating_add(head_start), seed, &cx.policy.retry);
        live.retry_at_ms = Some(cx.now.after(wait_ms.max(failure.retry_after_ms.unwrap_or(0))));
    }
}
