//! What a workload remembers only while the agent runs: jobs under way, timers, counters.

use super::{Phase, Workload};
use crate::failure::Failure;
use crate::ids::{ComponentName, Digest, EffectId};
use crate::step::Cx;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A runtime operation under way. One at a time per workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Which effect.
    pub id: EffectId,
    /// What for.
    pub kind: JobKind,
}

/// What a runtime operation is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Bring a component to the desired revision.
    Update {
        /// Which component.
        component: ComponentName,
    },
    /// Keep a component at the revision it is held to.
    Hold {
        /// Which component.
        component: ComponentName,
    },
    /// Bring a component back after a failure.
    Restore {
        /// Which component.
        component: ComponentName,
    },
    /// Compare.
    Observe,
    /// Remove components that are not wanted.
    Prune,
    /// Remove everything.
    Remove,
}

/// A workload's volatile record. Lost at any restart, rebuilt by [`Live::started`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// The runtime operation under way.
    pub job: Option<Job>,
    /// The preparation under way.
    pub prepare: Option<EffectId>,
    /// A held revision whose artifacts went missing: it is to be prepared again.
    pub repair: Option<Digest>,
    /// The preparation under way is for `repair`.
    pub repairing: bool,
    /// Failed attempts at the desired revision, or at removing.
    pub attempt: u32,
    /// Not before this, in monotonic milliseconds. `None`: at once.
    pub retry_at_ms: Option<u64>,
    /// Refused: no attempt until the desired state, the policy or an operator says so.
    pub blocked: bool,
    /// Components to be (re)applied at their held revision, in order.
    pub hold: Vec<ComponentName>,
    /// Components whose holding failed; they join `hold` at `hold_at_ms`.
    pub hold_failed: Vec<ComponentName>,
    /// When `hold_failed` is tried again.
    pub hold_at_ms: Option<u64>,
    /// Recoveries of single components without a stable period in between; each sets that component's pace.
    pub hold_attempts: BTreeMap<ComponentName, u32>,
    /// Components still to be restored to the last good revision; `None`: not begun.
    pub restore: Option<Vec<ComponentName>>,
    /// The engine reported something: compare.
    pub dirty: bool,
    /// The last comparison found it different, and nobody is to bring it back.
    pub differs: bool,
    /// When to compare without being told.
    pub observe_at_ms: Option<u64>,
    /// Comparisons in a row that failed.
    pub observe_attempt: u32,
    /// Recoveries without a stable period in between.
    pub recoveries: u32,
    /// When the workload counts as stable again.
    pub stable_at_ms: Option<u64>,
    /// The latest failure of any kind, for `margoctl`.
    pub last_failure: Option<Failure>,
}

impl Live {
    /// The volatile record of a workload found at start: everything held is to be verified, and what was under
    /// way starts over.
    pub(crate) fn started(workload: &mut Workload) -> Self {
        let mut live = Self::default();
        match &workload.phase {
            Phase::Applying { .. } | Phase::Pruning => {
                workload.phase = first_step(workload);
            }
            Phase::Preparing | Phase::Prepared | Phase::Running | Phase::Leaving => {
                live.hold = workload.held_in_order();
            }
            Phase::Restoring { .. } | Phase::Removing => {}
        }
        live
    }

    /// Gives up on everything under way; what is held must then be verified.
    pub(crate) fn cancel(&mut self, cx: &mut Cx<'_>) {
        cx.cancel(self.prepare.take());
        self.repair = None;
        self.repairing = false;
        if let Some(job) = self.job.take() {
            cx.cancel(Some(job.id));
            self.dirty = true;
        }
    }

    /// Forgets attempts: something changed.
    pub(crate) fn fresh_start(&mut self) {
        self.attempt = 0;
        self.retry_at_ms = None;
        self.blocked = false;
        self.restore = None;
    }

    /// Marks a component to be applied at once.
    pub(crate) fn hold_now(&mut self, component: &ComponentName) {
        self.hold_failed.retain(|name| name != component);
        if !self.hold.contains(component) {
            self.hold.push(component.clone());
        }
    }

    /// Marks a component to be applied again at `at_ms`, or when an earlier one is.
    pub(crate) fn hold_later(&mut self, component: &ComponentName, at_ms: u64) {
        self.hold_at_ms = match self.hold_at_ms {
            Some(earlier) if !self.hold_failed.is_empty() => Some(earlier.min(at_ms)),
            _ => Some(at_ms),
        };
        self.hold.retain(|name| name != component);
        if !self.hold_failed.contains(component) {
            self.hold_failed.push(component.clone());
        }
    }

    /// Nothing held is being brought back, or waits for it.
    pub(crate) fn is_verified(&self) -> bool {
        let is_holding =
            self.job.as_ref().is_some_and(|job| matches!(job.kind, JobKind::Hold { .. }));
        self.hold.is_empty() && self.hold_failed.is_empty() && !is_holding
    }

    /// Marks all of `components` for verification.
    pub(crate) fn hold_all(&mut self, components: Vec<ComponentName>) {
        self.hold = components;
        self.hold_failed.clear();
        self.hold_at_ms = None;
    }
}

/// The phase in which applying the desired revision begins.
pub(crate) fn first_step(workload: &Workload) -> Phase {
    match workload.desired.components.first() {
        Some(first) => Phase::Applying { component: first.name.clone() },
        None => Phase::Pruning,
    }
}
