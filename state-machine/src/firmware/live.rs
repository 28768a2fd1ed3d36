//! What the firmware machine remembers only while the agent runs: the job under way, timers, the last look at the system.

use crate::backoff::{delay_ms, seed_of};
use crate::event::BootSlot;
use crate::failure::{Failure, FailureClass};
use crate::ids::EffectId;
use crate::policy::Policy;
use crate::step::Cx;
use alloc::vec::Vec;

/// Most failures of one look at the system that are kept (I11).
pub(crate) const SYSTEM_FAILURES_MAX: usize = 8;

/// An operation under way. One at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Which effect.
    pub id: EffectId,
    /// What for.
    pub kind: JobKind,
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Look at the bundle.
    Prepare,
    /// Write the other slot.
    Install,
    /// Undo that.
    Discard,
    /// Make the other slot the next one as it is.
    Activate,
    /// Mark the slot good.
    Commit,
    /// Mark the slot bad.
    Reject,
    /// Restart. While this is under way nothing else begins.
    Reboot,
}

/// Volatile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// What is known of this boot.
    pub boot: Option<BootSlot>,
    /// The operation under way.
    pub job: Option<Job>,
    /// Failed attempts in a row.
    pub attempt: u32,
    /// No operation before this, in monotonic milliseconds. `None`: at once.
    pub retry_at_ms: Option<u64>,
    /// Rejecting: the slot is marked, or could not be. Only the restart is missing.
    pub marked: bool,
    /// A trial counts from here, in monotonic milliseconds: from the boot, unless it only became one later.
    pub trial_from_ms: u64,
    /// The look at the system under way.
    pub check: Option<EffectId>,
    /// The next look not before this, in monotonic milliseconds.
    pub check_at_ms: Option<u64>,
    /// What the last look found. `None`: there was none yet.
    pub system: Option<Vec<Failure>>,
    /// Since when everything is healthy without a break, in monotonic milliseconds.
    pub healthy_since_ms: Option<u64>,
    /// The latest failure or refusal of any kind, for `margoctl`.
    pub last_failure: Option<Failure>,
}

impl Live {
    /// Gives up on what is under way and forgets attempts: another phase begins.
    pub(crate) fn fresh_start(&mut self, cx: &mut Cx<'_>) {
        cx.cancel(self.job.take().map(|job| job.id));
        cx.cancel(self.check.take());
        *self = Self {
            boot: self.boot.take(),
            trial_from_ms: self.trial_from_ms,
            last_failure: self.last_failure.take(),
            ..Self::default()
        };
    }

    /// When a trial is over, in monotonic milliseconds.
    pub(crate) fn deadline_ms(&self, policy: &Policy) -> u64 {
        self.trial_from_ms.saturating_add(policy.firmware.trial_timeout_ms)
    }

    /// The operation failed and is tried again: soon if it is a local one, else at the pace of its kind of failure.
    pub(crate) fn retry_later(&mut self, failure: &Failure, is_local: bool, cx: &Cx<'_>) {
        self.attempt = self.attempt.saturating_add(1);
        self.last_failure = Some(failure.clone());
        let seed = seed_of("firmware", cx.policy.jitter_seed);
        let wait_ms = if is_local {
            delay_ms(self.attempt, seed, &cx.policy.retry).min(cx.policy.engine_retry_max_ms.max(1))
        } else {
            // A cause that lies outside the device's reach is looked at less often from the beginning.
            let head_start = if failure.class == FailureClass::Retryable { 0 } else { 3 };
            let wait_ms = delay_ms(self.attempt.saturating_add(head_start), seed, &cx.policy.retry);
            wait_ms.max(failure.retry_after_ms.unwrap_or(0))
        };
        self.retry_at_ms = Some(cx.now.after(wait_ms));
    }

    /// The device is going down: nothing else is to begin.
    pub(crate) fn is_rebooting(&self) -> bool {
        self.job.is_some_and(|job| job.kind == JobKind::Reboot)
    }

    /// Whether artifacts are being obtained.
    pub(crate) fn is_preparing(&self) -> bool {
        self.job.is_some_and(|job| job.kind == JobKind::Prepare)
    }
}
