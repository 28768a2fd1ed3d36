//! Makes states that differ only in counters equal, so that the world is finite: effect ids by their place, time
//! relative to now, attempts only as far as they matter, wording not at all.
//!
//! Sound because the worlds' policies make every back-off equally long, and because nothing but equality is ever
//! asked of an id.

use crate::world::World;
use state_machine::effect::Effect;
use state_machine::ids::EffectId;
use state_machine::policy::Policy;
use state_machine::sync::Stage;
use std::collections::BTreeMap;

/// The present, in every normal state.
pub(crate) const T0: u64 = 1_000_000_000;
/// What is further away than this is not waited for.
pub(crate) const NEAR_MS: u64 = 5_000;
/// Where it is put.
pub(crate) const FAR_MS: u64 = 1_000_000;

/// Brings a world whose present is `now` to normal form.
pub(crate) fn normalise(world: &mut World, now: u64, policy: &Policy) {
    renumber(world);
    let point = |at: &mut Option<u64>| {
        *at = at.filter(|at| *at > now).map(|at| match at - now {
            near if near <= NEAR_MS => T0 + near,
            _ => T0 + FAR_MS,
        });
    };
    point(&mut world.wake);
    let deadline = world.boot.deadline;
    let mut left = Some(deadline);
    point(&mut left);
    world.boot.deadline = left.unwrap_or(T0);
    firmware(world, now, policy);
    let live = &mut world.state.live;
    point(&mut live.onboarding.retry_at_ms);
    point(&mut live.onboarding.asked_until_ms);
    point(&mut live.sync.poll_at_ms);
    point(&mut live.sync.asked_until_ms);
    point(&mut live.report.retry_at_ms);
    point(&mut live.report.asked_until_ms);
    point(&mut live.engine.retry_at_ms);
    let away_ms = now.saturating_sub(live.engine.away_since_ms).min(policy.engine_grace_ms);
    live.engine.away_since_ms = T0 - away_ms;
    live.onboarding.attempt = live.onboarding.attempt.min(1);
    live.sync.attempt = live.sync.attempt.min(1);
    live.report.attempt = live.report.attempt.min(1);
    live.engine.attempt = live.engine.attempt.min(1);
    live.onboarding.last_failure = None;
    live.sync.last_failure = None;
    live.report.last_failure = None;
    live.engine.last_failure = None;
    for workload in live.workloads.values_mut() {
        point(&mut workload.retry_at_ms);
        point(&mut workload.hold_at_ms);
        point(&mut workload.stable_at_ms);
        // Here a point that has passed is not the same as none.
        let due = workload.observe_at_ms.is_some_and(|at| at <= now);
        point(&mut workload.observe_at_ms);
        workload.observe_at_ms = if due { Some(T0) } else { workload.observe_at_ms };
        workload.attempt = workload.attempt.min(1);
        workload.observe_attempt = workload.observe_attempt.min(1);
        workload.recoveries = workload.recoveries.min(policy.mismatch_retries_max + 1);
        workload.hold_attempts.values_mut().for_each(|attempts| *attempts = (*attempts).min(1));
        workload.last_failure = None;
    }
}

/// Attempts have no names here: nothing but the order to install carries one, and it is the attempt's own.
fn firmware(world: &mut World, now: u64, policy: &Policy) {
    let point = |at: &mut Option<u64>| {
        *at = at.filter(|at| *at > now).map(|at| T0 + (at - now).min(NEAR_MS));
    };
    let live = &mut world.state.live.firmware;
    point(&mut live.retry_at_ms);
    point(&mut live.check_at_ms);
    live.attempt = live.attempt.min(2);
    live.last_failure = None;
    if let Some(since) = &mut live.healthy_since_ms {
        *since = T0 - now.saturating_sub(*since).min(policy.firmware.healthy_window_ms);
    }
    let durable = &mut world.state.durable.firmware;
    durable.history.clear();
    durable.transactions = 0;
    if let Some(update) = &mut durable.update {
        update.transaction = "attempt".into();
    }
    for effect in world.underway.values_mut() {
        if let Effect::InstallFirmware { transaction, .. } = effect {
            *transaction = "attempt".into();
        }
    }
}

/// Every slot in which the machine remembers an effect has its own number.
fn renumber(world: &mut World) {
    let mut map = BTreeMap::new();
    let mut slot = 0;
    let mut place = |id: &mut EffectId| {
        slot += 1;
        map.insert(*id, EffectId(slot));
        *id = EffectId(slot);
    };
    let live = &mut world.state.live;
    live.onboarding.job.iter_mut().for_each(&mut place);
    if let Stage::Polling { id } | Stage::Fetching { id, .. } = &mut live.sync.stage {
        place(id);
    }
    live.report.sending.iter_mut().for_each(|(id, _)| place(id));
    live.engine.job.iter_mut().for_each(&mut place);
    live.collecting.iter_mut().for_each(&mut place);
    live.firmware.job.iter_mut().for_each(|job| place(&mut job.id));
    live.firmware.check.iter_mut().for_each(&mut place);
    for workload in live.workloads.values_mut() {
        workload.job.iter_mut().for_each(|job| place(&mut job.id));
        workload.prepare.iter_mut().for_each(&mut place);
    }
    live.next_effect = 1_000;
    let underway = std::mem::take(&mut world.underway);
    // An effect that nobody waits for keeps an id that is no slot's.
    let mut lost = 2_000;
    for (id, effect) in underway {
        let id = map.get(&id).copied().unwrap_or_else(|| {
            lost += 1;
            EffectId(lost)
        });
        world.underway.insert(id, effect);
    }
}
