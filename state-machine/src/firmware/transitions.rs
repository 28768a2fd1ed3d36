//! Every change of the firmware machine's state, and how one is recorded.

use super::live::Live;
use super::{Attempt, Booted, Firmware, HISTORY_MAX, Origin, Phase, Update, Verdict};
use crate::failure::Failure;
use crate::ids::{DeploymentId, TransactionId};
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use alloc::format;
use alloc::vec::Vec;

/// Every change there is. Tests hold the code to it in both directions.
pub const EDGES: &[Edge] = &[
    edge("unmanaged", Why::BootObserved, "idle"),
    edge("unmanaged", Why::BootObserved, "trial"),
    edge("idle", Why::BootObserved, "trial"),
    edge("idle", Why::BootObserved, "unmanaged"),
    edge("idle", Why::Desired, "preparing"),
    edge("idle", Why::Requested, "preparing"),
    edge("idle", Why::RollbackRequested, "returning"),
    edge("preparing", Why::Failed, "preparing"),
    edge("preparing", Why::Requested, "preparing"),
    edge("preparing", Why::Prepared, "ready"),
    edge("preparing", Why::Unchanged, "idle"),
    edge("preparing", Why::Failed, "idle"),
    edge("preparing", Why::Unwanted, "idle"),
    edge("preparing", Why::BootObserved, "unmanaged"),
    edge("preparing", Why::BootObserved, "trial"),
    edge("ready", Why::Turn, "installing"),
    edge("ready", Why::Unwanted, "idle"),
    edge("ready", Why::BootObserved, "unmanaged"),
    edge("ready", Why::BootObserved, "trial"),
    edge("installing", Why::Installed, "installed"),
    edge("installing", Why::Failed, "preparing"),
    edge("installing", Why::Failed, "idle"),
    edge("installing", Why::BootObserved, "trial"),
    edge("installing", Why::Committed, "idle"),
    edge("returning", Why::SlotActivated, "installed"),
    edge("returning", Why::Failed, "idle"),
    edge("returning", Why::BootObserved, "trial"),
    edge("returning", Why::Committed, "idle"),
    edge("installed", Why::Failed, "installed"),
    edge("installed", Why::Unwanted, "discarding"),
    edge("installed", Why::BootObserved, "trial"),
    edge("installed", Why::Committed, "idle"),
    edge("installed", Why::RolledBack, "idle"),
    edge("discarding", Why::Failed, "discarding"),
    edge("discarding", Why::Discarded, "idle"),
    edge("discarding", Why::BootObserved, "rejecting"),
    edge("trial", Why::Healthy, "committing"),
    edge("trial", Why::Judged, "committing"),
    edge("trial", Why::Judged, "rejecting"),
    edge("trial", Why::Unhealthy, "rejecting"),
    edge("trial", Why::RollbackRequested, "rejecting"),
    edge("trial", Why::Committed, "idle"),
    edge("trial", Why::RolledBack, "idle"),
    edge("committing", Why::Committed, "idle"),
    edge("committing", Why::Failed, "committing"),
    edge("committing", Why::Unhealthy, "rejecting"),
    edge("committing", Why::BootObserved, "trial"),
    edge("committing", Why::RolledBack, "idle"),
    edge("rejecting", Why::Failed, "rejecting"),
    edge("installing", Why::BootObserved, "unmanaged"),
    edge("returning", Why::BootObserved, "unmanaged"),
    edge("installed", Why::BootObserved, "unmanaged"),
    edge("discarding", Why::BootObserved, "unmanaged"),
    edge("discarding", Why::Committed, "idle"),
    edge("trial", Why::BootObserved, "unmanaged"),
    edge("committing", Why::BootObserved, "unmanaged"),
    edge("rejecting", Why::BootObserved, "unmanaged"),
    edge("rejecting", Why::Committed, "idle"),
    edge("rejecting", Why::RolledBack, "idle"),
];

impl Firmware {
    /// Records a change from `prev` to the present state.
    pub(crate) fn note(
        &self,
        prev: &'static str,
        why: Why,
        subject: Option<DeploymentId>,
        failure: Option<&Failure>,
        cx: &mut Cx<'_>,
    ) {
        cx.transitions.push(Transition {
            machine: MachineName::Firmware,
            subject,
            component: None,
            prev,
            next: self.as_str(),
            why,
            failure: failure.cloned(),
        });
    }

    /// The attempt goes on to `phase`.
    pub(crate) fn go(&mut self, live: &mut Live, phase: Phase, why: Why, cx: &mut Cx<'_>) {
        let prev = self.as_str();
        let attempt = live.attempt;
        live.fresh_start(cx);
        if matches!(phase, Phase::Ready | Phase::Installing) {
            // A bundle that can be looked at but not installed is not tried at an ever faster pace.
            live.attempt = attempt;
        }
        let Some(update) = &mut self.update else { return };
        update.phase = phase;
        let (subject, failure) = (subject(update), update.failure.clone());
        self.note(prev, why, subject, failure.as_ref(), cx);
    }

    /// What is asked for cannot be done now. Nothing changes; the failure says why.
    pub(crate) fn refuse(
        &self,
        live: &mut Live,
        subject: Option<DeploymentId>,
        failure: Failure,
        cx: &mut Cx<'_>,
    ) {
        self.note(self.as_str(), Why::Ignored, subject, Some(&failure), cx);
        live.last_failure = Some(failure);
    }

    /// A new attempt, which nothing has been done for.
    pub(crate) fn begin(&mut self, live: &mut Live, origin: Origin, phase: Phase, cx: &mut Cx<'_>) {
        live.fresh_start(cx);
        live.trial_from_ms = 0;
        self.transactions = self.transactions.saturating_add(1);
        let boot = live.boot.as_ref().map(|boot| boot.boot.as_str()).unwrap_or("unknown");
        self.update = Some(Update {
            transaction: TransactionId::new(format!("{boot}-{}", self.transactions)),
            origin,
            phase,
            bundle: None,
            from: None,
            target: None,
            boot: None,
            baseline: Vec::new(),
            engine: false,
            failure: None,
        });
    }

    /// The attempt ends without a word: what it was for is wanted no more, or is attempted anew.
    pub(crate) fn abandon(&mut self, live: &mut Live, why: Why, cx: &mut Cx<'_>) {
        let prev = self.as_str();
        live.fresh_start(cx);
        if let Some(update) = self.update.take() {
            self.note(prev, why, subject(&update), None, cx);
        }
    }

    /// The attempt failed; what is booted, was booted before.
    pub(crate) fn fail(&mut self, live: &mut Live, failure: Failure, why: Why, cx: &mut Cx<'_>) {
        let prev = self.as_str();
        live.fresh_start(cx);
        let Some(update) = self.update.take() else { return };
        let failure = Failure { retry_after_ms: None, ..failure };
        if let Origin::Deployment { id, revision } = &update.origin
            && let Some(record) = self.deployments.get_mut(id)
            && record.desired.revision == *revision
        {
            record.adopted = Some(record.desired.version);
            record.verdict = Verdict::Failed;
            record.failure = Some(failure.clone());
        }
        self.note(prev, why, subject(&update), Some(&failure), cx);
        live.last_failure = Some(failure.clone());
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(Attempt {
            transaction: update.transaction,
            origin: update.origin,
            version: update.bundle.map(|bundle| bundle.version),
            failure,
        });
    }

    /// The attempt's slot runs and is committed.
    pub(crate) fn succeed(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        let prev = self.as_str();
        live.fresh_start(cx);
        live.last_failure = None;
        let Some(update) = self.update.take() else { return };
        if let Some(boot) = &mut live.boot {
            boot.committed = true;
            self.booted = Booted::Committed { slot: boot.slot.clone() };
        }
        let told = live.boot.as_ref().and_then(|boot| boot.version.clone());
        let version = update.bundle.as_ref().map(|bundle| bundle.version.clone()).or(told);
        if let Origin::Deployment { id, revision } = &update.origin
            && let Booted::Committed { slot } = &self.booted
            && let Some(record) = self.deployments.get_mut(id)
            && record.desired.revision == *revision
        {
            let version = version.unwrap_or_default();
            record.verdict = Verdict::Installed { slot: slot.clone(), version };
            record.failure = None;
        }
        self.note(prev, Why::Committed, subject(&update), None, cx);
        self.revise(
            live,
            match update.origin {
                Origin::Rollback => Some("an operator returned the device to its other slot"),
                Origin::Operator { .. } => Some("an operator installed other firmware"),
                Origin::Deployment { .. } | Origin::Foreign => None,
            },
        );
    }
}

/// The deployment an attempt is at.
pub(crate) fn subject(update: &Update) -> Option<DeploymentId> {
    match &update.origin {
        Origin::Deployment { id, .. } => Some(id.clone()),
        Origin::Operator { .. } | Origin::Rollback | Origin::Foreign => None,
    }
}
