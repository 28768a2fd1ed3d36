//! Seeded mistakes. A model that cannot fail proves nothing: each of these must break the property it names.
//!
//! Each is a wrapper around the production `step` that changes what goes in or comes out as the mistake would.

use crate::checker::Scope;
use crate::scopes;
use state_machine::effect::{Effect, Outcome};
use state_machine::event::Event;
use state_machine::failure::{Code, Failure, FailureClass};
use state_machine::firmware::{Firmware, JobKind, Verdict};
use state_machine::ids::EffectId;
use state_machine::policy::{PartialFailure, Policy, Restore};
use state_machine::report::{DeploymentState, Queue, Report};
use state_machine::state::{Durable, State};
use state_machine::step::Step;
use state_machine::time::Now;
use state_machine::transition::{MachineName, Why};
use state_machine::workload::Phase;
use stateright::{Checker, HasDiscoveries, Model};
use std::sync::Arc;

type Case = (Fault, &'static str, fn() -> Scope);

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $fault:ident $test:ident in $scope:ident breaks $property:literal;)*) => {
        /// A mistake somebody could make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[doc = $doc])* $fault,)* }

        /// Each mistake, the property that finds it, and the world in which it does.
        pub(crate) const CAUGHT_BY: &[Case] =
            &[$((Fault::$fault, $property, scopes::$scope)),*];

        mod caught {
            use super::*;
            $(#[test]
            fn $test() {
                assert_caught(Fault::$fault, $property, scopes::$scope());
            })*
        }
    };
}

faults! {
    /// A manifest of the accepted version, with other content, is taken.
    AcceptsEqualVersion accepts_equal_version in sync breaks "i3_never_older";
    /// The accepted version is forgotten whenever the agent starts.
    ForgetsVersion forgets_version in sync breaks "i3_never_older";
    /// "Prepared" is acted on without having been written.
    ForgetsToPersist forgets_to_persist in nothing_to_run breaks "i1_durable_before_visible";
    /// The record is written with the next step instead of this one.
    EffectBeforePersist effect_before_persist in sync breaks "i1_durable_before_visible";
    /// 403 from the WFM is read as "nothing is desired".
    DenialRemoves denial_removes in sync breaks "i5_removal_has_one_cause";
    /// Pruning spares nothing.
    PrunesEverything prunes_everything in workload_keep breaks "i5_removal_has_one_cause";
    /// A component that could not be updated is no longer held at all.
    DropsHeld drops_held in workload_keep breaks "i2_last_known_good_survives";
    /// A revision is called good when it begins to be applied.
    GoodTooEarly good_too_early in workload_rollback breaks "i2_last_known_good_survives";
    /// Collecting garbage looks at what is desired only.
    GarbageIgnoresGood garbage_ignores_good in workload_rollback breaks "i2_last_known_good_survives";
    /// Garbage is collected while a manifest's artifacts arrive.
    CollectsBesideFetch collects_beside_fetch in sync breaks "i2_last_known_good_survives";
    /// `installed` is said when applying begins.
    InstalledTooEarly installed_too_early in outbox breaks "i8_truthful_reports";
    /// The outbox keeps the newest report only.
    LosesEnds loses_ends in outbox breaks "i8_truthful_reports";
    /// Every poll says everything again.
    RepeatsReports repeats_reports in sync breaks "i8_truthful_reports";
    /// Removed workloads are never mentioned again.
    ForgetsRemoved forgets_removed in wanted_again breaks "i7_convergence";
    /// Nobody sets an alarm for the next attempt.
    ForgetsTimer forgets_timer in nothing_to_run breaks "i7_convergence";
    /// The engine's events are not listened to.
    DeafToEngine deaf_to_engine in workload_disturbed breaks "i7_convergence";
    /// An attempt that was under way when power was lost counts as under way for ever.
    ForgetsAfterRestart forgets_after_restart in nothing_to_run breaks "i7_convergence";
    /// After a start nothing is restored before the WFM has spoken.
    RestoreWaits restore_waits in workload_keep breaks "i4_restore_needs_nothing";
    /// A refusal is tried again at once.
    RefusalForgotten refusal_forgotten in refused breaks "i11_no_busy_loop";
    /// The limit of the outbox is not applied.
    UnboundedOutbox unbounded_outbox in outbox breaks "i11_bounded";
    /// The outcome of an effect nobody waits for counts as that of another.
    AcceptsStale accepts_stale in workload_keep breaks "stale_outcomes_change_nothing";
    /// Under `all-or-nothing` everybody goes when ready.
    IgnoresGroup ignores_group in group breaks "i6_group_moves_together";
    /// Under `keep` a failure sends the others back to preparing.
    FailureSpreads failure_spreads in independent breaks "i6_independence";
    /// A slot on trial takes new desired state.
    SyncsOnTrial syncs_on_trial in firmware_foreign breaks "i9_no_sync_on_trial";
    /// A slot on trial is taken for a committed one.
    TrustsEverySlot trusts_every_slot in firmware_foreign breaks "i9_slots";
    /// The look at the system finds nothing, ever.
    IgnoresSystem ignores_system in firmware_bad breaks "i9_slots";
    /// What worked before is not remembered.
    ForgetsBaseline forgets_baseline in firmware_bad breaks "i9_slots";
    /// A trial has no end.
    ForgetsDeadline forgets_deadline in firmware_bad breaks "i9_slots";
    /// The answer to the commit is taken for a failure, and nobody looks.
    DoubtsCommit doubts_commit in firmware_update breaks "i9_slots";
    /// Firmware that failed is open again after a restart.
    RetriesFailed retries_failed in firmware_bad breaks "i9_named_anew";
    /// A workload goes on as soon as it is prepared.
    TurnsInBetween turns_in_between in firmware_update breaks "firmware_goes_first";
    /// The slot is written while the intent is not.
    IntentNotStored intent_not_stored in firmware_update breaks "i1_durable_before_visible";
    /// `installed` is said when the slot is written.
    FirmwareInstalledTooEarly firmware_installed_too_early in firmware_update breaks "i8_truthful_reports";
    /// The restart is forgotten.
    ForgetsRestart forgets_restart in firmware_update breaks "i7_convergence";
    /// After a fallback the attempt is still waited for.
    WaitsForEver waits_for_ever in firmware_bad breaks "i7_convergence";
    /// The document is written with every poll.
    WritesOnPoll writes_on_poll in wait_for_wfm breaks "i10_quiet";
    /// A change of phase is not logged.
    SilentChange silent_change in nothing_to_run breaks "transitions_tell_the_truth";
    /// A workload goes where no table leads.
    UnknownChange unknown_change in nothing_to_run breaks "only_known_transitions";
}

fn assert_caught(fault: Fault, property: &'static str, scope: Scope) {
    let checker = Scope { fault: Some(fault), ..scope }
        .checker()
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .spawn_bfs()
        .join();
    let found = checker.discovery(property);
    assert!(found.is_some(), "{property} does not see {fault:?}");
    let length = found.map_or(0, |path| path.into_actions().len());
    println!(
        "{fault:?}: {property} after {length} actions, {} states",
        checker.unique_state_count()
    );
}

impl Fault {
    /// The production step, with the mistake in it.
    pub(crate) fn step(self, state: &State, event: &Event, now: &Now, policy: &Policy) -> Step {
        let outcome = match event {
            Event::EffectFinished { outcome, .. } => Some(outcome),
            _ => None,
        };
        let failed = match outcome {
            Some(Outcome::Failed { failure }) => Some(failure),
            _ => None,
        };
        let started = matches!(event, Event::Started { .. });
        let plain = || state_machine::step(state, event, now, policy);
        match self {
            Self::AcceptsEqualVersion
                if matches!(outcome, Some(Outcome::ManifestReceived { .. })) =>
            {
                let lower = |durable: &mut Durable| {
                    durable.sync.accepted.iter_mut().for_each(|accepted| accepted.version.0 -= 1);
                };
                let restore = |durable: &mut Durable| {
                    durable.sync.accepted.clone_from(&state.durable.sync.accepted);
                };
                with_durable(state, event, now, policy, (lower, restore))
            }
            Self::SyncsOnTrial if !started => with_durable(
                state,
                event,
                now,
                policy,
                (
                    |durable: &mut Durable| durable.firmware = Firmware::default(),
                    |durable: &mut Durable| durable.firmware.clone_from(&state.durable.firmware),
                ),
            ),
            Self::TrustsEverySlot => {
                let mut event = event.clone();
                if let Event::Started { observation } = &mut event {
                    observation.boot.iter_mut().for_each(|boot| boot.committed = true);
                }
                state_machine::step(state, &event, now, policy)
            }
            Self::IgnoresSystem if matches!(outcome, Some(Outcome::SystemChecked { .. })) => {
                let Event::EffectFinished { id, .. } = event else { return plain() };
                let outcome = Outcome::SystemChecked { failures: Vec::new() };
                let event = Event::EffectFinished { id: *id, outcome };
                state_machine::step(state, &event, now, policy)
            }
            Self::ForgetsDeadline => {
                let mut policy = policy.clone();
                policy.firmware.trial_timeout_ms = u64::MAX;
                state_machine::step(state, event, now, &policy)
            }
            Self::DoubtsCommit if outcome == Some(&Outcome::SlotMarked) => {
                let job = state.live.firmware.job.map(|job| job.kind);
                match event {
                    Event::EffectFinished { id, .. } if job == Some(JobKind::Commit) => {
                        let failure = Failure::new(Code::FirmwareUnavailable, "no answer");
                        let outcome = Outcome::Failed { failure };
                        let event = Event::EffectFinished { id: *id, outcome };
                        state_machine::step(state, &event, now, policy)
                    }
                    _ => plain(),
                }
            }
            Self::TurnsInBetween if outcome == Some(&Outcome::DeploymentPrepared) => with_durable(
                state,
                event,
                now,
                policy,
                (
                    |durable: &mut Durable| durable.firmware = Firmware::default(),
                    |durable: &mut Durable| durable.firmware.clone_from(&state.durable.firmware),
                ),
            ),
            Self::WaitsForEver if started => {
                let mut step = plain();
                if step.next.durable.firmware.update.is_none() {
                    step.next.durable.firmware.update.clone_from(&state.durable.firmware.update);
                    step.effects.retain(|(_, effect)| *effect != Effect::Reboot);
                }
                step.persist = step.next.durable != state.durable;
                step
            }
            Self::ForgetsVersion if started => with_durable(
                state,
                event,
                now,
                policy,
                (|durable: &mut Durable| durable.sync.accepted = None, |_: &mut Durable| {}),
            ),
            Self::ForgetsAfterRestart if started => {
                let mut step = plain();
                step.next.live.workloads.values_mut().for_each(|live| {
                    live.prepare = Some(EffectId(4_000));
                });
                step
            }
            Self::RestoreWaits => {
                let policy = Policy { restore: Restore::WaitForWfm, ..policy.clone() };
                state_machine::step(state, event, now, &policy)
            }
            Self::IgnoresGroup => {
                let policy = Policy { partial_failure: PartialFailure::Keep, ..policy.clone() };
                state_machine::step(state, event, now, &policy)
            }
            Self::UnboundedOutbox => {
                let policy = Policy { reports_per_deployment_max: 1_000, ..policy.clone() };
                state_machine::step(state, event, now, &policy)
            }
            Self::DeafToEngine if matches!(event, Event::WorkloadChanged { .. }) => {
                state_machine::step(state, &Event::TimerElapsed, now, policy)
            }
            Self::AcceptsStale => {
                let jobs = state.live.workloads.values();
                let job = jobs.filter_map(|live| live.job.as_ref()).next().map(|job| job.id);
                match (event, job) {
                    (Event::EffectFinished { id: EffectId(999_999), outcome }, Some(id)) => {
                        let event = Event::EffectFinished { id, outcome: outcome.clone() };
                        state_machine::step(state, &event, now, policy)
                    }
                    _ => plain(),
                }
            }
            Self::RefusalForgotten
                if failed.is_some_and(|failure| failure.class == FailureClass::Refused) =>
            {
                let mut first = plain();
                for live in first.next.live.workloads.values_mut() {
                    live.blocked = false;
                    live.retry_at_ms = None;
                }
                let second = state_machine::step(&first.next, &Event::TimerElapsed, now, policy);
                first.effects.extend(second.effects);
                first.persist |= second.persist;
                Step { effects: first.effects, persist: first.persist, ..second }
            }
            _ => {
                let mut step = plain();
                self.spoil(state, outcome, &mut step);
                step
            }
        }
    }

    /// Mistakes in what comes out.
    fn spoil(self, state: &State, outcome: Option<&Outcome>, step: &mut Step) {
        let unchanged = outcome == Some(&Outcome::ManifestUnchanged);
        let failed = match outcome {
            Some(Outcome::Failed { failure }) => Some(failure),
            _ => None,
        };
        let durable = &mut step.next.durable;
        match self {
            Self::ForgetsToPersist if outcome == Some(&Outcome::DeploymentPrepared) => {
                step.persist = false;
            }
            Self::EffectBeforePersist if !step.effects.is_empty() => step.persist = false,
            Self::DenialRemoves if failed.is_some_and(|f| f.code == Code::WfmDenied) => {
                for (id, workload) in &mut durable.workloads {
                    workload.phase = Phase::Removing;
                    let effect = Effect::RemoveDeployment { deployment: id.clone() };
                    step.effects.push((EffectId(5_000), effect));
                }
                step.persist = true;
            }
            Self::PrunesEverything => {
                for (_, effect) in &mut step.effects {
                    if let Effect::PruneDeployment { keep, .. } = effect {
                        keep.clear();
                    }
                }
            }
            Self::DropsHeld => {
                for transition in &step.transitions {
                    let gave_up = transition.prev == "applying" && transition.why == Why::Failed;
                    let place = (&transition.subject, &transition.component);
                    if let (true, (Some(id), Some(name))) = (gave_up, place) {
                        durable.workloads.get_mut(id).map(|workload| workload.held.remove(name));
                    }
                }
            }
            Self::GoodTooEarly => {
                for workload in durable.workloads.values_mut() {
                    if matches!(workload.phase, Phase::Applying { .. }) {
                        workload.good = Some(Arc::clone(&workload.desired));
                    }
                }
                step.persist = *durable != state.durable;
            }
            Self::ForgetsBaseline => {
                if let Some(update) = &mut durable.firmware.update {
                    update.baseline.clear();
                }
                step.persist = *durable != state.durable;
            }
            Self::RetriesFailed => {
                let restarted = step.transitions.iter().any(|t| t.why == Why::Started);
                for record in durable.firmware.deployments.values_mut() {
                    if restarted && record.verdict == Verdict::Failed {
                        record.verdict = Verdict::Open;
                    }
                }
                step.persist = *durable != state.durable;
            }
            Self::IntentNotStored => {
                step.persist &= durable.firmware.as_str() != "installing";
            }
            Self::FirmwareInstalledTooEarly => {
                let is_written = durable.firmware.as_str() == "installed";
                each_report(durable, |report| {
                    if is_written && report.state == DeploymentState::Installing {
                        report.state = DeploymentState::Installed;
                        report.components.iter_mut().for_each(|c| c.state = report.state);
                    }
                });
                step.persist = *durable != state.durable;
            }
            Self::ForgetsRestart => step.effects.retain(|(_, e)| *e != Effect::Reboot),
            Self::CollectsBesideFetch => {
                let fetches = |(_, e): &(_, _)| matches!(e, Effect::FetchDeployments { .. });
                if step.effects.iter().any(fetches) {
                    step.effects.push((EffectId(5_000), Effect::CollectGarbage));
                }
            }
            Self::InstalledTooEarly => {
                each_report(durable, |report| {
                    if report.state == DeploymentState::Installing {
                        report.state = DeploymentState::Installed;
                    }
                });
                step.persist = *durable != state.durable;
            }
            Self::LosesEnds => {
                for Queue { waiting, .. } in durable.outbox.deployments.values_mut() {
                    while waiting.len() > 1 {
                        waiting.pop_front();
                    }
                }
                step.persist = *durable != state.durable;
            }
            Self::RepeatsReports if unchanged => {
                for Queue { waiting, latest } in durable.outbox.deployments.values_mut() {
                    waiting.extend(latest.clone());
                }
                step.persist = true;
            }
            Self::ForgetsRemoved => {
                for Queue { waiting, .. } in durable.outbox.deployments.values_mut() {
                    waiting.retain(|report| report.state != DeploymentState::Removed);
                }
                step.effects.retain(|(_, e)| {
                    !matches!(e, Effect::SendReport { report }
                    if report.state == DeploymentState::Removed)
                });
                step.persist = *durable != state.durable;
            }
            Self::ForgetsTimer => step.wake_at_ms = None,
            Self::FailureSpreads if failed.is_some() => {
                durable.workloads.values_mut().for_each(|w| w.phase = Phase::Preparing);
                step.persist = true;
            }
            Self::WritesOnPoll if unchanged => step.persist = true,
            Self::SilentChange => step.transitions.retain(|t| t.why != Why::Prepared),
            Self::UnknownChange => {
                for transition in &mut step.transitions {
                    if transition.machine == MachineName::Workload && transition.why == Why::Turn {
                        transition.prev = "preparing";
                    }
                }
            }
            _ => {}
        }
    }
}

/// A step on a spoiled record, whose traces are then removed.
fn with_durable(
    state: &State,
    event: &Event,
    now: &Now,
    policy: &Policy,
    (spoil, restore): (impl FnOnce(&mut Durable), impl FnOnce(&mut Durable)),
) -> Step {
    let mut spoiled = state.clone();
    spoil(&mut spoiled.durable);
    let mut step = state_machine::step(&spoiled, event, now, policy);
    restore(&mut step.next.durable);
    step.persist = step.next.durable != state.durable;
    step
}

fn each_report(durable: &mut Durable, mut change: impl FnMut(&mut Report)) {
    for Queue { waiting, latest } in durable.outbox.deployments.values_mut() {
        waiting.iter_mut().chain(latest).for_each(|report| change(Arc::make_mut(report)));
    }
}
