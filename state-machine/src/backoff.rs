//! How long to wait before the next attempt: pure, capped, never zero, never wrapping.

use crate::failure::{Failure, FailureClass};
use crate::policy::{Policy, RetryPolicy};

/// Milliseconds to wait before attempt number `attempt` (1 = first retry).
///
/// Doubles from `initial_ms` up to `max_ms`, then spread by `jitter_percent` in both directions so that a fleet
/// does not return at once. The same inputs give the same answer.
pub fn delay_ms(attempt: u32, seed: u64, retry: &RetryPolicy) -> u64 {
    let doublings = attempt.saturating_sub(1).min(63);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let base = retry.initial_ms.saturating_mul(factor).min(retry.max_ms).max(1);
    let spread = base.saturating_mul(u64::from(retry.jitter_percent.min(100))) / 100;
    let width = spread.saturating_mul(2).saturating_add(1);
    let offset = mix(seed ^ u64::from(attempt)).checked_rem(width).unwrap_or(0);
    base.saturating_sub(spread).saturating_add(offset).max(1)
}

/// Milliseconds to wait before the WFM is contacted again. `head_start`: how many doublings a failure is worth that
/// only changes when something outside does.
///
/// What may succeed at any time is tried no more rarely than the regular poll: nobody tells the device when a long
/// outage is over. Only a pause that the WFM asked for (R202) is longer.
pub(crate) fn contact_delay_ms(
    attempt: u32,
    failure: &Failure,
    head_start: u32,
    policy: &Policy,
) -> u64 {
    let wait_ms = match failure.class {
        FailureClass::Retryable => delay_ms(attempt, policy.jitter_seed, &policy.retry)
            .min(policy.poll_interval_ms.max(policy.retry.initial_ms).max(1)),
        FailureClass::Permanent | FailureClass::Refused => {
            delay_ms(attempt.saturating_add(head_start), policy.jitter_seed, &policy.retry)
        }
    };
    wait_ms.max(failure.retry_after_ms.unwrap_or(0))
}

/// A seed from a name, so that deployments on one device do not retry in step either.
pub fn seed_of(name: &str, seed: u64) -> u64 {
    name.bytes().fold(seed, |sum, byte| mix(sum ^ u64::from(byte)))
}

/// SplitMix64's finaliser: spreads any change of the input over all bits.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy = RetryPolicy { initial_ms: 500, max_ms: 300_000, jitter_percent: 0 };

    #[test]
    fn doubles_and_stays_at_the_cap_for_ever() {
        assert_eq!(delay_ms(1, 7, &RETRY), 500);
        assert_eq!(delay_ms(2, 7, &RETRY), 1000);
        assert_eq!(delay_ms(10, 7, &RETRY), 256_000);
        for attempt in [11, 61, 62, 63, 64, 65, 1_000_000, u32::MAX] {
            assert_eq!(delay_ms(attempt, 7, &RETRY), 300_000, "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_stays_in_its_band_and_differs_between_names() {
        let retry = RetryPolicy { jitter_percent: 20, ..RETRY };
        let delays: alloc::vec::Vec<u64> =
            ["a", "b", "c", "d"].iter().map(|name| delay_ms(3, seed_of(name, 1), &retry)).collect();
        assert!(delays.iter().all(|ms| (1600..=2400).contains(ms)), "{delays:?}");
        assert!(delays.windows(2).any(|pair| pair[0] != pair[1]), "{delays:?}");
    }

    #[test]
    fn is_never_zero() {
        let retry = RetryPolicy { initial_ms: 0, max_ms: 0, jitter_percent: 100 };
        assert!((0..100).all(|attempt| delay_ms(attempt, u64::from(attempt), &retry) > 0));
    }
}
