//! Every setting and limit the machine obeys. Input only: a step never changes it.

use crate::time::Now;
use alloc::vec::Vec;

/// What to do before any manifest was ever received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstBoot {
    /// Wait for the WFM.
    #[default]
    Await,
    /// Run the desired state that shipped in the image until the WFM gives its first manifest.
    Preload,
}

/// When to restore the last-known desired state after a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// At once, with nothing but local storage and the container engine (I4).
    #[default]
    Auto,
    /// Only once the WFM has answered a poll, and its manifest, if there is another, was fetched or could not be.
    WaitForWfm,
}

/// What to do when a part of the desired state cannot be applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartialFailure {
    /// Keep what was applied; the failed component returns to its previous revision.
    #[default]
    Keep,
    /// The failed deployment returns to its previous revision as a whole.
    Rollback,
    /// Every deployment that the manifest changed returns to its previous revision.
    AllOrNothing,
}

/// What to do when what runs differs from what is desired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MismatchPolicy {
    /// Bring it back.
    #[default]
    Reconcile,
    /// Only report it.
    Report,
}

/// Exponential back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Before the first retry, in milliseconds.
    pub initial_ms: u64,
    /// Longest wait, in milliseconds.
    pub max_ms: u64,
    /// Spread in both directions, in percent (0–100).
    pub jitter_percent: u8,
}

/// A span of the day in UTC, in minutes since midnight. `from > to` spans midnight; equal means the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySpan {
    /// First minute inside, 0–1439.
    pub from_minute: u16,
    /// First minute outside, 0–1439.
    pub to_minute: u16,
}

const DAY_MINUTES: u64 = 1440;
const MINUTE_MS: u64 = 60_000;

impl DaySpan {
    fn contains(&self, minute: u64) -> bool {
        let (from, to) = (u64::from(self.from_minute), u64::from(self.to_minute));
        if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }
}

/// When a firmware is installed, and how it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwarePolicy {
    /// Whether an older version than the running one may be installed.
    pub downgrade: bool,
    /// Hours in which an installation, and with it the restart, may begin. Empty: always.
    pub hours: Vec<DaySpan>,
    /// How long a trial may last, in milliseconds since the boot; then it is rejected.
    pub trial_timeout_ms: u64,
    /// How long everything must be healthy without a break before a trial is committed, in milliseconds.
    pub healthy_window_ms: u64,
    /// Between two looks at the system during a trial, in milliseconds.
    pub check_interval_ms: u64,
}

impl Default for FirmwarePolicy {
    fn default() -> Self {
        Self {
            downgrade: false,
            hours: Vec::new(),
            trial_timeout_ms: 480_000,
            healthy_window_ms: 60_000,
            check_interval_ms: 5_000,
        }
    }
}

/// All settings. Durations are in milliseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// First boot.
    pub first_boot: FirstBoot,
    /// Reboot and reconnect.
    pub restore: Restore,
    /// Partial failure.
    pub partial_failure: PartialFailure,
    /// Configuration mismatch.
    pub mismatch: MismatchPolicy,
    /// Back-off of everything that is retried.
    pub retry: RetryPolicy,
    /// Mixed into every back-off so that devices differ.
    pub jitter_seed: u64,
    /// Between polls of the manifest (R009).
    pub poll_interval_ms: u64,
    /// Hours in which polling happens (R008). Empty: always.
    pub poll_hours: Vec<DaySpan>,
    /// Hours in which nothing is sent at all (R007).
    pub downtime: Vec<DaySpan>,
    /// Between full comparisons of what runs with what is desired, besides those that engine events cause.
    pub observe_interval_ms: u64,
    /// A workload that needed no recovery for this long counts as stable again.
    pub stable_ms: u64,
    /// Recoveries of one workload without a stable period before it is reported as failed.
    pub mismatch_retries_max: u32,
    /// How long the container engine may be away before running workloads are reported as failed.
    pub engine_grace_ms: u64,
    /// Longest wait between attempts to reach the container engine.
    pub engine_retry_max_ms: u64,
    /// Most component operations at a time.
    pub jobs_max: usize,
    /// Most deployments being prepared (pulled) at a time.
    pub prepares_max: usize,
    /// Most unsent reports kept for one deployment (at least 2).
    pub reports_per_deployment_max: usize,
    /// Firmware.
    pub firmware: FirmwarePolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_boot: FirstBoot::default(),
            restore: Restore::default(),
            partial_failure: PartialFailure::default(),
            mismatch: MismatchPolicy::default(),
            retry: RetryPolicy { initial_ms: 1_000, max_ms: 900_000, jitter_percent: 20 },
            jitter_seed: 0,
            poll_interval_ms: 60_000,
            poll_hours: Vec::new(),
            downtime: Vec::new(),
            observe_interval_ms: 300_000,
            stable_ms: 60_000,
            mismatch_retries_max: 3,
            engine_grace_ms: 120_000,
            engine_retry_max_ms: 5_000,
            jobs_max: 4,
            prepares_max: 2,
            reports_per_deployment_max: 4,
            firmware: FirmwarePolicy::default(),
        }
    }
}

impl Policy {
    /// Whether the network may be used at all (R007). With no trusted wall time the answer is yes.
    pub fn may_talk(&self, now: &Now) -> bool {
        minute_of_day(now).is_none_or(|minute| !self.downtime.iter().any(|s| s.contains(minute)))
    }

    /// Whether the manifest may be polled (R007, R008).
    pub fn may_poll(&self, now: &Now) -> bool {
        let inside = |minute| self.poll_hours.iter().any(|span| span.contains(minute));
        self.may_talk(now) && (self.poll_hours.is_empty() || minute_of_day(now).is_none_or(inside))
    }

    /// Whether an installation of firmware, and with it a restart, may begin. With no trusted wall time: yes.
    pub fn may_install(&self, now: &Now) -> bool {
        let hours = &self.firmware.hours;
        let inside = |minute| hours.iter().any(|span| span.contains(minute));
        hours.is_empty() || minute_of_day(now).is_none_or(inside)
    }

    /// When to look again at a closed window: the next full minute, in monotonic milliseconds.
    ///
    /// A minute is coarse on purpose: wall time may step, so no far deadline is derived from it.
    pub(crate) fn window_check_ms(&self, now: &Now) -> u64 {
        let into_minute = now.wall_unix_ms.unwrap_or(0) % MINUTE_MS;
        now.after(MINUTE_MS.saturating_sub(into_minute))
    }
}

fn minute_of_day(now: &Now) -> Option<u64> {
    now.wall_unix_ms.map(|ms| (ms / MINUTE_MS) % DAY_MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn at(hour: u64, minute: u64) -> Now {
        Now { monotonic_ms: 5, wall_unix_ms: Some((hour * 60 + minute) * MINUTE_MS + 1_000) }
    }

    #[test]
    fn polling_hours_and_downtime() {
        let policy = Policy {
            poll_hours: vec![DaySpan { from_minute: 22 * 60, to_minute: 6 * 60 }],
            downtime: vec![DaySpan { from_minute: 60, to_minute: 120 }],
            ..Policy::default()
        };
        for (now, may_poll, may_talk) in [
            (at(21, 59), false, true),
            (at(22, 0), true, true),
            (at(0, 59), true, true),
            (at(1, 0), false, false),
            (at(2, 0), true, true),
            (at(6, 0), false, true),
            (Now::monotonic(1), true, true),
        ] {
            assert_eq!(
                (policy.may_poll(&now), policy.may_talk(&now)),
                (may_poll, may_talk),
                "{now:?}"
            );
        }
        assert_eq!(policy.window_check_ms(&at(1, 0)), 5 + 59_000);
    }
}
