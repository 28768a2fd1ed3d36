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
    edge("preparing", Why::Requested, "preparing"),
    edge("prepared", Why::Requested, "prepared"),
    edge("applying", Why::Requested, "applying"),
    edge("pruning", Why::Requested, "pruning"),
    edge("restoring", Why::Requested, "restoring"),
    edge("running", Why::Requested, "running"),
    edge("leaving", Why::Requested, "leaving"),
    edge("removing", Why::Requested, "removing"),
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
            // Known so far from the image or from another WFM: from now on the WFM is told of it. What is being
            // applied stays as it was read then: the same digest is the same revision (R140).
            if self.desired.version.0 == 0 && desired.version.0 > 0 {
                Arc::make_mut(&mut self.desired).version = desired.version;
            }
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
        if self.dropped_by.take().is_some() {
            // What was adopted before it was dropped is history: versions told of it never fall.
            self.adopted = None;
        }
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
        if matches!(self.phase, Phase::Applying { .. } | Phase::Pruning | Phase::Restoring { .. }) {
            live.hold_all(self.held_in_order());
        }
        self.dropped_by = Some(by);
        self.failure = None;
        self.go(Phase::Leaving, Why::Dropped, cx);
    }

    /// The desired revision is ready to be applied.
    pub(crate) fn on_prepared(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.prepare = None;
        if core::mem::take(&mut live.repairing) {
            live.repair = None;
            live.hold_at_ms = None;
            return;
        }
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
        if core::mem::take(&mut live.repairing) {
            // Holding what it was for is tried again, fails again, and asks for this again.
            live.repair = None;
            live.last_failure = Some(failure.clone());
            return;
        }
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
                live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
                self.steady(live, cx);
            }
            JobKind::Restore { component } => self.restored(live, component, cx),
            JobKind::Observe | JobKind::Prune | JobKind::Remove => {
                self.note(self.phase.as_str(), None, Why::Ignored, None, cx);
            }
        }
    }

    /// Everything held is applied, as far as is known: from now on it has to prove stable.
    fn steady(&self, live: &mut Live, cx: &Cx<'_>) {
        let unsettled = live.recoveries > 0 || self.failure.is_some();
        if unsettled && live.hold.is_empty() && live.hold_failed.is_empty() {
            live.stable_at_ms = Some(cx.now.after(cx.policy.stable_ms));
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
        live.hold_attempts.clear();
        live.stable_at_ms = None;
        live.repair = None;
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
                self.note_lost(live, component, failure);
                self.recovery_needed(live, core::slice::from_ref(component), Why::Failed, cx);
                self.note_recovery(live, failure, Why::Failed, cx);
            }
            JobKind::Restore { component } => self.restore_failed(live, component, failure, cx),
            JobKind::Observe => {
                live.last_failure = Some(failure.clone());
                live.observe_attempt = live.observe_attempt.saturating_add(1);
                let seed = seed_of(self.desired.id.as_str(), cx.policy.jitter_seed);
                let wait_ms = delay_ms(live.observe_attempt, seed, &cx.policy.retry);
                let wait_ms = wait_ms.min(cx.policy.observe_interval_ms);
                live.observe_at_ms = Some(cx.now.after(wait_ms));
            }
            JobKind::Prune => self.prune_failed(live, failure, cx),
            JobKind::Remove => {
                self.retry_later(live, failure, cx);
                live.blocked = false;
                self.blame(failure);
                self.note_failure(self.phase.as_str(), Why::Failed, failure, cx);
            }
        }
    }

    /// It could not be brought back at once: it is from now on kept trying like everything else that is held.
    fn restore_failed(
        &mut self,
        live: &mut Live,
        component: &ComponentName,
        failure: &Failure,
        cx: &mut Cx<'_>,
    ) {
        let rest = live.restore.take().unwrap_or_default();
        rest.iter().for_each(|name| live.hold_now(name));
        self.note_lost(live, component, failure);
        if self.held.contains_key(component) {
            self.recovery_needed(live, core::slice::from_ref(component), Why::Failed, cx);
        }
        let prev = self.phase.as_str();
        // Going back as a whole ends with pruning, which was not reached.
        self.untidy |= matches!(self.phase, Phase::Restoring { component: None });
        self.phase = Phase::Preparing;
        self.note_failure(prev, Why::Failed, failure, cx);
    }

    /// An artifact of what is held went missing: it has to be obtained again before another attempt makes sense.
    fn note_lost(&self, live: &mut Live, component: &ComponentName, failure: &Failure) {
        if failure.code == Code::ArtifactLost {
            live.repair = self.held.get(component).map(|held| held.revision.clone());
        }
    }

    fn prune_failed(&mut self, live: &mut Live, failure: &Failure, cx: &mut Cx<'_>) {
        let prev = self.phase.as_str();
        if matches!(self.phase, Phase::Restoring { .. }) {
            // What could not be pruned now is pruned after the next successful attempt, whose time is set already.
            self.untidy = true;
            live.restore = None;
            live.last_failure = Some(failure.clone());
            self.phase = Phase::Preparing;
        } else {
            self.retry_later(live, failure, cx);
            live.blocked = false;
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
                self.hold_good();
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
        self.hold_good();
        let prev = self.phase.as_str();
        self.phase = Phase::Restoring { component: None };
        self.note_failure(prev, Why::GroupFailed, failure, cx);
    }

    /// What runs was compared with what is held.
    pub(crate) fn on_observed(&mut self, live: &mut Live, mismatches: &[Failure], cx: &mut Cx<'_>) {
        live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
        live.observe_attempt = 0;
        let Some(first) = mismatches.first() else {
            self.on_all_right(live, cx);
            return;
        };
        match cx.policy.mismatch {
            MismatchPolicy::Reconcile => {
                let wrong = |name: &ComponentName| {
                    mismatches.iter().any(|m| m.component.as_ref().is_none_or(|c| c == name))
                };
                // Those that wait for their next attempt anyway are no news.
                let news = |name: &ComponentName| !live.hold_failed.contains(name) && wrong(name);
                let names: Vec<_> = self.held_in_order().into_iter().filter(news).collect();
                if !names.is_empty() {
                    self.recovery_needed(live, &names, Why::MismatchFound, cx);
                    self.note_recovery(live, first, Why::MismatchFound, cx);
                }
            }
            MismatchPolicy::Report => {
                live.differs = true;
                live.last_failure = Some(first.clone());
                live.stable_at_ms = None;
                if matches!(self.phase, Phase::Running) {
                    self.blame(first);
                    self.note_failure("running", Why::MismatchFound, first, cx);
                }
            }
        }
    }

    fn on_all_right(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.differs = false;
        let engine_was_away =
            self.failure.as_ref().is_some_and(|f| f.code == Code::EngineUnavailable);
        if engine_was_away || cx.policy.mismatch == MismatchPolicy::Report {
            self.recovered(live, cx);
        } else if live.stable_at_ms.is_none() {
            self.steady(live, cx);
        }
    }

    /// These held components do not run. One that was found so for the first time is applied at once, all others
    /// at their own pace, so that none waits for another's.
    fn recovery_needed(&self, live: &mut Live, names: &[ComponentName], why: Why, cx: &Cx<'_>) {
        live.stable_at_ms = None;
        live.recoveries = live.recoveries.saturating_add(1);
        for name in names {
            let attempt = live.hold_attempts.entry(name.clone()).or_default();
            *attempt = attempt.saturating_add(1);
            let attempt = *attempt;
            if attempt == 1 && why == Why::MismatchFound {
                live.hold_now(name);
            } else {
                let seed = seed_of(self.desired.id.as_str(), cx.policy.jitter_seed);
                live.hold_later(name, cx.now.after(delay_ms(attempt, seed, &cx.policy.retry)));
            }
        }
    }

    /// Says so, and lets the WFM know once the budget is spent.
    fn note_recovery(&mut self, live: &mut Live, failure: &Failure, why: Why, cx: &mut Cx<'_>) {
        live.last_failure = Some(failure.clone());
        if matches!(self.phase, Phase::Running) {
            if live.recoveries > cx.policy.mismatch_retries_max {
                self.blame(failure);
            }
            self.note_failure("running", why, failure, cx);
        }
    }

    /// A stable period has passed, or the mismatch is gone.
    pub(crate) fn recovered(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.stable_at_ms = None;
        live.recoveries = 0;
        live.hold_attempts.clear();
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
        // Under a policy that only reports a mismatch this is how it is ended.
        if matches!(self.phase, Phase::Running) && self.failure.is_some() {
            live.hold_all(self.held_in_order());
        }
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
