//! When an installation may begin, and what a trial is judged by: nothing but what worked before.

use super::live::Live;
use super::{Booted, Firmware, Origin, Phase, Verdict};
use crate::failure::{Code, Failure};
use crate::ids::DeploymentId;
use crate::step::Cx;
use crate::time::{Now, earliest};
use crate::transition::Why;
use crate::workload::{self, JobKind, Workload};
use alloc::collections::BTreeMap;
use alloc::format;

/// What the firmware machine sees of the others.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) workloads: &'a BTreeMap<DeploymentId, Workload>,
    pub(crate) live: &'a BTreeMap<DeploymentId, workload::Live>,
    pub(crate) engine_connected: bool,
    /// It has been away for too long to wait for it.
    pub(crate) engine_lost: bool,
    /// Nothing is being fetched from the WFM.
    pub(crate) sync_idle: bool,
    /// Workloads may be touched at all.
    pub(crate) may_run: bool,
}

/// How a workload of the baseline is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// Good as far as is known, and being compared right now.
    Pending,
    Broken(Failure),
}

impl Surroundings<'_> {
    /// How a workload is at what it is held to.
    pub(crate) fn health(&self, id: &DeploymentId) -> Health {
        let (Some(workload), Some(live)) = (self.workloads.get(id), self.live.get(id)) else {
            // Removed meanwhile; nobody can be blamed for what is not to run.
            return Health::Good;
        };
        let broken = |text: &str| {
            let why = live.last_failure.as_ref().or(workload.failure.as_ref());
            Health::Broken(why.cloned().unwrap_or_else(|| Failure::new(Code::Mismatch, text)))
        };
        if !self.engine_connected {
            return Health::Broken(Failure::new(Code::EngineUnavailable, "the engine is away"));
        }
        match workload.phase {
            workload::Phase::Running if workload.failure.is_some() => return broken("it failed"),
            workload::Phase::Running
            | workload::Phase::Preparing
            | workload::Phase::Prepared
            | workload::Phase::Leaving => {}
            workload::Phase::Applying { .. }
            | workload::Phase::Pruning
            | workload::Phase::Restoring { .. }
            | workload::Phase::Removing => return broken("it is being changed"),
        }
        if !live.hold_failed.is_empty() || live.repair.is_some() || live.differs {
            return broken("it does not run as it should");
        }
        if !live.is_verified() {
            return broken("it is being restored");
        }
        let observing = live.job.as_ref().is_some_and(|job| job.kind == JobKind::Observe);
        let is_pending = live.dirty || observing || live.observe_attempt > 0;
        if is_pending { Health::Pending } else { Health::Good }
    }

    /// Whether the workloads are as they are going to stay, so that what works before the update can be told.
    fn is_settled(&self) -> bool {
        if !self.may_run {
            return true;
        }
        if !self.engine_connected {
            return self.engine_lost;
        }
        self.workloads.iter().all(|(id, workload)| {
            let Some(live) = self.live.get(id) else { return true };
            let is_at_rest = match workload.phase {
                workload::Phase::Preparing
                | workload::Phase::Prepared
                | workload::Phase::Running
                | workload::Phase::Leaving => true,
                // What cannot be removed is not waited for: it may be the new firmware that can.
                workload::Phase::Pruning | workload::Phase::Removing => workload.failure.is_some(),
                workload::Phase::Applying { .. } | workload::Phase::Restoring { .. } => false,
            };
            let is_observing = live.job.as_ref().is_none_or(|job| job.kind == JobKind::Observe);
            let is_blind = live.observe_attempt > 0;
            let is_compared = is_blind || (!live.dirty && live.job.is_none());
            is_at_rest && live.hold.is_empty() && is_observing && is_compared
        })
    }
}

impl Firmware {
    /// Whether workloads stay as they are: firmware goes first, and is judged by what it found (design, section 2).
    /// One that cannot be had, or has to wait for its hours, holds up nobody (I6).
    pub(crate) fn holds_turns(&self, now: &Now, policy: &crate::policy::Policy) -> bool {
        self.update.as_ref().is_some_and(|update| match update.phase {
            Phase::Preparing => update.failure.is_none() && policy.may_install(now),
            Phase::Ready => policy.may_install(now),
            Phase::Installing
            | Phase::Installed
            | Phase::Returning
            | Phase::Discarding
            | Phase::Trial
            | Phase::Committing
            | Phase::Rejecting => true,
        })
    }

    /// Ready: begins to install once everything permits. The intent is stored by the step that orders it (I1).
    pub(crate) fn install_if_settled(
        &mut self,
        live: &mut Live,
        around: &Surroundings<'_>,
        cx: &mut Cx<'_>,
    ) {
        // Never from a trial: the other slot is then the only one that is known to work.
        let Booted::Committed { slot: from } = &self.booted else { return };
        let is_ready = self.update.as_ref().is_some_and(|update| update.phase == Phase::Ready);
        if !is_ready || !around.sync_idle || !around.is_settled() || !cx.policy.may_install(cx.now)
        {
            return;
        }
        let from = from.clone();
        let Some(target) = live.boot.as_ref().and_then(|boot| boot.other.clone()) else { return };
        let ran = |(id, workload): &(&DeploymentId, &Workload)| {
            workload.dropped_by.is_none()
                && !workload.held.is_empty()
                && around.health(id) == Health::Good
        };
        let Some(update) = &mut self.update else { return };
        update.from = Some(from);
        update.target = Some(target);
        update.baseline = around.workloads.iter().filter(ran).map(|(id, _)| id.clone()).collect();
        update.engine = around.engine_connected;
        if let Origin::Deployment { id, .. } = &update.origin
            && let Some(record) = self.deployments.get_mut(id)
        {
            record.adopted = Some(record.desired.version);
        }
        self.go(live, Phase::Installing, Why::Turn, cx);
    }

    /// Judges a trial: good for long enough, or not good by its deadline.
    pub(crate) fn judge(&mut self, live: &mut Live, around: &Surroundings<'_>, cx: &mut Cx<'_>) {
        let Some(phase) = self.update.as_ref().map(|update| update.phase) else { return };
        let is_late = cx.now.monotonic_ms >= live.deadline_ms(cx.policy);
        match phase {
            Phase::Trial => {
                let health = self.health(live, around);
                match &health {
                    Health::Broken(_) => live.healthy_since_ms = None,
                    Health::Good => {
                        live.healthy_since_ms.get_or_insert(cx.now.monotonic_ms);
                    }
                    Health::Pending => {}
                }
                let good_at = live
                    .healthy_since_ms
                    .map(|at| at.saturating_add(cx.policy.firmware.healthy_window_ms));
                if health == Health::Good && good_at.is_some_and(|at| cx.now.monotonic_ms >= at) {
                    self.go(live, Phase::Committing, Why::Healthy, cx);
                } else if is_late {
                    self.reject(live, &unhealthy(health), Why::Unhealthy, cx);
                }
            }
            // While it is being marked nobody knows which it is; what was marked is never left (I9).
            Phase::Committing if is_late && live.job.is_none() => {
                let why = live.last_failure.clone();
                let why =
                    why.unwrap_or_else(|| Failure::new(Code::FirmwareUnavailable, "no answer"));
                let text = format!("it could not be marked good: {why}");
                let failure = Failure::new(Code::FirmwareUnhealthy, text);
                self.reject(live, &failure, Why::Unhealthy, cx);
            }
            Phase::Preparing
            | Phase::Ready
            | Phase::Installing
            | Phase::Installed
            | Phase::Returning
            | Phase::Discarding
            | Phase::Committing
            | Phase::Rejecting => {}
        }
    }

    /// The slot on trial is going to be left. Why is stored first: after the restart nothing else tells.
    pub(crate) fn reject(&mut self, live: &mut Live, failure: &Failure, why: Why, cx: &mut Cx<'_>) {
        if let Some(update) = &mut self.update {
            update.failure = Some(failure.clone());
        }
        self.go(live, Phase::Rejecting, why, cx);
        live.last_failure = Some(failure.clone());
    }

    /// Everything that worked before, taken together.
    pub(crate) fn health(&self, live: &Live, around: &Surroundings<'_>) -> Health {
        let Some(update) = &self.update else { return Health::Pending };
        if update.engine && !around.engine_connected {
            let text = "the container engine is away";
            return Health::Broken(Failure::new(Code::FirmwareUnhealthy, text));
        }
        let mut is_pending = live.system.is_none() || live.check.is_some();
        for id in &update.baseline {
            match around.health(id) {
                Health::Good => {}
                Health::Pending => is_pending = true,
                Health::Broken(failure) => {
                    let text = format!("workload {id}: {failure}");
                    return Health::Broken(Failure::new(Code::FirmwareUnhealthy, text));
                }
            }
        }
        if let Some(failure) = live.system.iter().flatten().next() {
            let text = format!("{failure}");
            return Health::Broken(Failure::new(Code::FirmwareUnhealthy, text));
        }
        if is_pending { Health::Pending } else { Health::Good }
    }

    /// When a trial needs to be looked at again, if nothing else happens.
    pub(crate) fn judge_at(&self, live: &Live, policy: &crate::policy::Policy) -> Option<u64> {
        let phase = self.update.as_ref().map(|update| update.phase)?;
        let is_judged = match phase {
            Phase::Trial => true,
            Phase::Committing => live.job.is_none(),
            Phase::Preparing
            | Phase::Ready
            | Phase::Installing
            | Phase::Installed
            | Phase::Returning
            | Phase::Discarding
            | Phase::Rejecting => false,
        };
        if !is_judged {
            return None;
        }
        let since = live.healthy_since_ms.filter(|_| phase == Phase::Trial);
        let good_at = since.map(|at| at.saturating_add(policy.firmware.healthy_window_ms));
        earliest(good_at, Some(live.deadline_ms(policy)))
    }

    /// Dropped, or discarded by an operator, before the restart.
    pub(crate) fn discard_unwanted(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        let Some(update) = self.update.as_ref().filter(|u| u.phase == Phase::Installed) else {
            return;
        };
        let Origin::Deployment { id, .. } = &update.origin else { return };
        let is_dropped =
            |r: &super::FirmwareRecord| r.dropped_by.is_some() && r.verdict == Verdict::Open;
        if self.deployments.get(id).is_none_or(is_dropped) {
            self.discard(live, "it is no longer wanted", cx);
        }
    }

    /// Takes back an installation that was not booted yet.
    pub(crate) fn discard(&mut self, live: &mut Live, why: &str, cx: &mut Cx<'_>) {
        if let Some(update) = &mut self.update {
            update.failure = Some(Failure::new(Code::FirmwareRolledBack, why));
        }
        self.go(live, Phase::Discarding, Why::Unwanted, cx);
    }
}

fn unhealthy(health: Health) -> Failure {
    match health {
        Health::Broken(failure) => failure,
        Health::Good => Failure::new(Code::FirmwareUnhealthy, "it was not healthy for long enough"),
        Health::Pending => {
            Failure::new(Code::FirmwareUnhealthy, "its health could not be told in time")
        }
    }
}
