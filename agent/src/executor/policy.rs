//! The machine's policy, from the settings.

use crate::config::{self, DailyRange, Settings};
use state_machine::policy::{
    DaySpan, FirmwarePolicy, FirstBoot, MismatchPolicy, PartialFailure, Policy, Restore,
    RetryPolicy,
};

/// Milliseconds in a second.
const SEC_MS: u64 = 1_000;

/// Translates the settings. `jitter_seed` must differ between devices and stay the same on one.
pub fn policy(settings: &Settings, jitter_seed: u64) -> Policy {
    let behaviour = &settings.behaviour;
    let retry = &settings.retry;
    Policy {
        first_boot: match behaviour.first_boot {
            config::FirstBoot::Await => FirstBoot::Await,
            config::FirstBoot::Preload => FirstBoot::Preload,
        },
        restore: match behaviour.restore {
            config::Restore::Auto => Restore::Auto,
            config::Restore::WaitForWfm => Restore::WaitForWfm,
        },
        partial_failure: match behaviour.partial_failure {
            config::PartialFailure::Keep => PartialFailure::Keep,
            config::PartialFailure::Rollback => PartialFailure::Rollback,
            config::PartialFailure::AllOrNothing => PartialFailure::AllOrNothing,
        },
        mismatch: match behaviour.mismatch {
            config::Mismatch::Reconcile => MismatchPolicy::Reconcile,
            config::Mismatch::Report => MismatchPolicy::Report,
        },
        retry: RetryPolicy {
            initial_ms: retry.initial_ms,
            max_ms: retry.max_ms,
            jitter_percent: retry.jitter_percent,
        },
        jitter_seed,
        poll_interval_ms: settings.wfm.poll_interval_secs.saturating_mul(SEC_MS),
        poll_hours: settings.wfm.poll_hours.iter().map(span).collect(),
        downtime: settings.wfm.downtime.iter().map(span).collect(),
        observe_interval_ms: retry.observe_interval_secs.saturating_mul(SEC_MS),
        mismatch_retries_max: retry.mismatch_retries_max,
        jobs_max: retry.jobs_max,
        firmware: FirmwarePolicy {
            downgrade: settings.firmware.downgrade,
            hours: settings.firmware.hours.iter().map(span).collect(),
            trial_timeout_ms: settings.firmware.trial_timeout_secs.saturating_mul(SEC_MS),
            healthy_window_ms: settings.firmware.healthy_window_secs.saturating_mul(SEC_MS),
            check_interval_ms: settings.firmware.check_interval_secs.saturating_mul(SEC_MS),
        },
        ..Policy::default()
    }
}

fn span(range: &DailyRange) -> DaySpan {
    DaySpan { from_minute: range.start_minute, to_minute: range.end_minute }
}
