//! What must hold: at every step, and in every state. Each rule carries the name of the invariant it shows.

use crate::checker::Scope;
use crate::normal::T0;
use crate::support::is_allowed;
use crate::world::World;
use crate::{calm, faults, firmware_rules};
use state_machine::desired::{Deployment, DesiredState};
use state_machine::effect::{Effect, Outcome};
use state_machine::event::Event;
use state_machine::failure::{Code, MESSAGE_BYTES_MAX};
use state_machine::ids::{DeploymentId, EffectId};
use state_machine::policy::PartialFailure;
use state_machine::report::{DeploymentState, Report};
use state_machine::state::State;
use state_machine::step::Step;
use state_machine::transition::{MachineName, Why};
use state_machine::workload::Phase;
use stateright::Property;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules that are checked while a step is taken; breaking one is remembered in `World::broken`.
pub(crate) const STEP_RULES: &[&str] = &[
    "i2_last_known_good_survives",
    "i3_never_older",
    "i5_removal_has_one_cause",
    "i6_independence",
    "i6_group_moves_together",
    "i8_truthful_reports",
    "i9_no_sync_on_trial",
    "i9_slots",
    "i9_named_anew",
    "firmware_goes_first",
    "i11_bounded",
    "i11_no_busy_loop",
    "only_known_transitions",
    "transitions_tell_the_truth",
];

pub(crate) fn bit(name: &str) -> u32 {
    let place = STEP_RULES.iter().position(|rule| *rule == name);
    1 << place.expect("a rule of that name")
}

macro_rules! kept {
    ($($name:literal),*) => {
        vec![$(Property::always($name, |_, world: &World| world.broken & bit($name) == 0)),*]
    };
}

pub(crate) fn properties() -> Vec<Property<Scope>> {
    let mut all = kept![
        "i3_never_older",
        "i5_removal_has_one_cause",
        "i6_independence",
        "i6_group_moves_together",
        "i8_truthful_reports",
        "i9_no_sync_on_trial",
        "i9_slots",
        "i9_named_anew",
        "firmware_goes_first",
        "i11_bounded",
        "i11_no_busy_loop",
        "only_known_transitions",
        "transitions_tell_the_truth"
    ];
    all.extend([
        Property::<Scope>::always("i1_durable_before_visible", |_, world: &World| {
            world.disk.is_none()
        }),
        Property::always("i2_last_known_good_survives", |_, world: &World| {
            world.broken & bit("i2_last_known_good_survives") == 0 && good_survives(world)
        }),
        Property::always("i4_restore_needs_nothing", calm::restores),
        Property::always("i7_convergence", |scope, world| {
            calm::outcome(scope, world) != calm::Calm::Never
        }),
        Property::always("i10_quiet", |scope, world| {
            calm::outcome(scope, world) != calm::Calm::Loud
        }),
        Property::always("stale_outcomes_change_nothing", stale_changes_nothing),
        Property::sometimes("it_settles", calm::is_settled),
    ]);
    all
}

/// What the machine would return to is complete, was seen running, and is on stable storage.
fn good_survives(world: &World) -> bool {
    world.state.durable.workloads.values().all(|workload| {
        let kept = |component: &state_machine::desired::Component| {
            workload.held.contains_key(&component.name)
                || workload.desired.component(&component.name).is_none()
        };
        let kept = workload.good.iter().all(|good| good.components.iter().all(kept));
        let good = workload.good.iter().filter(|good| !good.components.is_empty());
        let needed = good.map(|good| &good.revision);
        let mut needed = needed.chain(workload.held.values().map(|held| &held.revision));
        let seen = workload
            .good
            .iter()
            .all(|good| good.components.is_empty() || world.complete.contains(&good.revision));
        kept && seen
            && (world.artifacts_lost || needed.all(|revision| world.stored.contains(revision)))
    })
}

/// An outcome nobody waits for, or a timer that is not due, changes nothing.
fn stale_changes_nothing(scope: &Scope, world: &World) -> bool {
    let stale = Event::EffectFinished { id: EffectId(999_999), outcome: Outcome::ComponentApplied };
    [stale, Event::TimerElapsed].iter().all(|event| {
        let now = state_machine::time::Now::monotonic(T0);
        let step = scope.production(world, event, &now);
        step.next == world.state && step.effects.is_empty() && step.cancels.is_empty()
    })
}

/// Checks one step against the world as it was before it, and updates the ghosts.
pub(crate) fn check_step(scope: &Scope, world: &mut World, event: &Event, step: &Step, now: u64) {
    let mut broken = 0;
    let mut rule = |name: &str, holds: bool| broken |= if holds { 0 } else { bit(name) };
    rule("only_known_transitions", step.transitions.iter().all(is_allowed));
    rule("transitions_tell_the_truth", transitions_are_true(&world.state, step));
    rule("i3_never_older", note_accepted(scope, world, step));
    let starts = |allowed: &dyn Fn(&Effect) -> bool| step.effects.iter().all(|(_, e)| allowed(e));
    rule("i5_removal_has_one_cause", starts(&|effect| may_remove(scope, world, step, effect)));
    rule("i2_last_known_good_survives", obtains_and_collects_apart(world, step));
    rule("i6_independence", is_independent(scope, world, event, step));
    rule("i6_group_moves_together", moves_together(scope, &world.state, step));
    rule("i8_truthful_reports", reports_are_true(scope, world, step));
    rule("i8_truthful_reports", keeps_ends(scope, &world.state, event, step));
    for (name, holds) in firmware_rules::check(scope, world, event, step, now) {
        rule(name, holds);
    }
    rule("i11_bounded", is_bounded(scope, step));
    let wakes_later = step.wake_at_ms.is_none_or(|at| at > now);
    rule("i11_no_busy_loop", wakes_later && !starts_again(world, event, step));
    world.broken |= broken;
}

/// The transitions of each workload form a chain from what it was to what it is.
fn transitions_are_true(before: &State, step: &Step) -> bool {
    let name = |state: &State, id: &DeploymentId| {
        state.durable.workloads.get(id).map_or("absent", |workload| workload.phase.as_str())
    };
    let ids = before.durable.workloads.keys().chain(step.next.durable.workloads.keys());
    let mut places: BTreeMap<_, _> = ids.map(|id| (id.clone(), name(before, id))).collect();
    let of_workloads = step.transitions.iter().filter(|t| t.machine == MachineName::Workload);
    for transition in of_workloads {
        let Some(id) = &transition.subject else { continue };
        if places.insert(id.clone(), transition.next) != Some(transition.prev) {
            return false;
        }
    }
    places.iter().all(|(id, place)| name(&step.next, id) == *place)
}

/// I3. Also keeps the ghosts `floor` and `accepted`.
fn note_accepted(scope: &Scope, world: &mut World, step: &Step) -> bool {
    let (before, after) = (&world.state.durable, &step.next.durable);
    let replaced = before.onboarding.identity.is_some()
        && before.onboarding.identity != after.onboarding.identity;
    if replaced {
        world.floor = 0;
        world.told.clear();
        world.may_repeat.clear();
    }
    let version = after.sync.accepted.as_ref().map_or(0, |accepted| accepted.version.0);
    let taken = step.transitions.iter().any(|t| t.why == Why::Accepted);
    if step.transitions.iter().any(|t| t.why == Why::Preloaded) {
        world.accepted = None;
    }
    if taken {
        let etag = after.sync.accepted.as_ref().and_then(|accepted| accepted.etag.clone());
        world.accepted = scope.manifests.iter().position(|manifest| manifest.etag == etag);
    }
    let rises = if taken { version > world.floor } else { version == world.floor };
    world.floor = version;
    rises
}

/// What the accepted manifest (or before any: the image) says of this deployment.
fn listed<'a>(scope: &'a Scope, world: &World, id: &DeploymentId) -> Option<&'a Arc<Deployment>> {
    let manifest = world.accepted.and_then(|index| scope.manifests.get(index));
    let manifest: Option<&DesiredState> = manifest.or(scope.preload.as_ref());
    manifest.and_then(|m| m.deployments.iter().find(|deployment| deployment.id == *id))
}

fn may_remove(scope: &Scope, world: &World, step: &Step, effect: &Effect) -> bool {
    match effect {
        Effect::RemoveDeployment { deployment } => {
            world.accepted.is_some() && listed(scope, world, deployment).is_none()
        }
        Effect::PruneDeployment { deployment, keep } => {
            let Some(desired) = listed(scope, world, deployment) else { return false };
            let Some(workload) = step.next.durable.workloads.get(deployment) else { return false };
            let going_back = matches!(workload.phase, Phase::Restoring { component: None })
                && scope.policy.partial_failure != PartialFailure::Keep;
            let needed = |component| match (&workload.good, going_back) {
                (Some(good), true) => good.component(component).is_some(),
                (None, true) => false,
                (_, false) => desired.component(component).is_some(),
            };
            let mut of_it = world.containers.keys().filter(|(id, _)| id == deployment);
            of_it.all(|(_, component)| keep.contains(component) || !needed(component))
        }
        _ => true,
    }
}

fn obtains_and_collects_apart(world: &World, step: &Step) -> bool {
    let stays = world.underway.iter().filter(|(id, _)| !step.cancels.contains(id));
    let all = || stays.clone().map(|(_, e)| e).chain(step.effects.iter().map(|(_, e)| e));
    let obtains = |e: &Effect| {
        matches!(e, Effect::FetchDeployments { .. } | Effect::PrepareDeployment { .. })
    };
    let collects = all().any(|e| *e == Effect::CollectGarbage);
    let prepared = |e: &Effect| match e {
        Effect::ApplyComponent { revision, .. } => {
            world.artifacts_lost || world.stored.contains(revision)
        }
        _ => true,
    };
    !(collects && all().any(obtains)) && step.effects.iter().all(|(_, e)| prepared(e))
}

/// The deployment an effect works on.
fn subject(effect: &Effect) -> Option<&DeploymentId> {
    match effect {
        Effect::PrepareDeployment { deployment, .. }
        | Effect::ApplyComponent { deployment, .. }
        | Effect::ObserveDeployment { deployment, .. }
        | Effect::PruneDeployment { deployment, .. }
        | Effect::RemoveDeployment { deployment } => Some(deployment),
        _ => None,
    }
}

/// Under `keep` and `rollback` a failure of one deployment changes nothing of another.
fn is_independent(scope: &Scope, world: &World, event: &Event, step: &Step) -> bool {
    let Event::EffectFinished { id, outcome: Outcome::Failed { failure } } = event else {
        return true;
    };
    let culprit = failed_effect(world, *id).and_then(subject);
    let Some(culprit) = culprit else { return true };
    let is_alone = scope.policy.partial_failure != PartialFailure::AllOrNothing
        && failure.code != Code::EngineUnavailable;
    let others = |state: &State| {
        let mut all = state.durable.workloads.clone();
        all.remove(culprit);
        all
    };
    let mut cancelled = step.cancels.iter().filter_map(|id| world.underway.get(id));
    !is_alone
        || (others(&world.state) == others(&step.next)
            && cancelled.all(|effect| subject(effect) == Some(culprit)))
}

/// The effect that the outcome is of. It has left `underway` by now; what remembers it is the state.
fn failed_effect(world: &World, id: EffectId) -> Option<&Effect> {
    world.ending.as_ref().filter(|(ended, _)| *ended == id).map(|(_, effect)| effect)
}

/// Under `all-or-nothing` nobody begins before all can, and nobody is done before all are.
fn moves_together(scope: &Scope, before: &State, step: &Step) -> bool {
    if scope.policy.partial_failure != PartialFailure::AllOrNothing {
        return true;
    }
    let after = &step.next.durable.workloads;
    let staying = || after.values().filter(|workload| workload.dropped_by.is_none());
    let begins = step
        .transitions
        .iter()
        .any(|t| t.machine == MachineName::Workload && t.why == Why::Turn && t.prev == "prepared");
    let ready = staying().all(|w| !matches!(w.phase, Phase::Preparing | Phase::Prepared));
    let promoted = after.iter().any(|(id, workload)| {
        let old = before.durable.workloads.get(id);
        workload.good.is_some() && old.is_none_or(|old| old.good != workload.good)
    });
    let all_run = staying().all(|workload| matches!(workload.phase, Phase::Running));
    let removes = step.effects.iter().any(|(_, e)| matches!(e, Effect::RemoveDeployment { .. }));
    (!begins || ready) && (!promoted || all_run) && (!removes || all_run || removing(before))
}

fn removing(state: &State) -> bool {
    state.durable.workloads.values().any(|workload| matches!(workload.phase, Phase::Removing))
}

fn reports_are_true(scope: &Scope, world: &World, step: &Step) -> bool {
    let before = &world.state.durable.outbox.deployments;
    step.next.durable.outbox.deployments.iter().all(|(id, queue)| {
        let Some(latest) = &queue.latest else { return true };
        let old = before.get(id).and_then(|queue| queue.latest.as_ref());
        let is_new = old.is_none_or(|old| !Arc::ptr_eq(old, latest) && old != latest);
        !is_new || report_is_true(scope, world, step, latest)
    })
}

fn report_is_true(scope: &Scope, world: &World, step: &Step, report: &Report) -> bool {
    let id = &report.deployment;
    // More than one manifest of that version may have been offered; one of them was accepted.
    let mut manifests = scope.manifests.iter().filter(|m| m.version == report.version);
    let of_it = |m: &DesiredState| m.deployments.iter().find(|d| d.id == *id).cloned();
    if world.accepted.is_none() || manifests.clone().next().is_none() {
        return false;
    }
    let rises = world.told.get(id).is_none_or(|told| told.version <= report.version);
    let workload = step.next.durable.workloads.get(id);
    let is_os = |c: &state_machine::report::ComponentReport| c.name.as_str() == "os";
    if report.components.iter().any(is_os) {
        // Under more than one manifest of a version it may be either; the transcripts tell them apart.
        let is_listed = manifests.all(|m| of_it(m).is_some());
        return rises && firmware_rules::report_is_true(world, step, report, is_listed);
    }
    let holds = match report.state {
        DeploymentState::Installed => workload.is_some_and(|workload| {
            let desired = &workload.desired;
            let applied = |name| {
                let container = world.containers.get(&(id.clone(), name));
                container.is_some_and(|container| container.revision == desired.revision)
            };
            manifests.any(|m| of_it(m).is_some_and(|listed| listed.revision == desired.revision))
                && desired.components.iter().all(|component| applied(component.name.clone()))
        }),
        DeploymentState::Removing => manifests.any(|m| of_it(m).is_none()),
        DeploymentState::Removed => {
            manifests.any(|m| of_it(m).is_none())
                && workload.is_none()
                && !world.containers.keys().any(|(deployment, _)| deployment == id)
        }
        DeploymentState::Failed => report.failure.is_some(),
        DeploymentState::Pending | DeploymentState::Installing => true,
    };
    let worst = report.components.iter().map(|component| component.state).max();
    holds && rises && worst.is_none_or(|worst| worst <= report.state)
}

/// An end once queued leaves the queue only by being taken or thrown away by the WFM, or with the WFM itself.
fn keeps_ends(scope: &Scope, before: &State, event: &Event, step: &Step) -> bool {
    let after = &step.next.durable.outbox.deployments;
    if before.durable.onboarding.identity != step.next.durable.onboarding.identity {
        return true;
    }
    let sent =
        before.live.report.sending.as_ref().filter(
            |(sending, _)| matches!(event, Event::EffectFinished { id, .. } if id == sending),
        );
    before.durable.outbox.deployments.iter().all(|(id, queue)| {
        let full = queue.waiting.len() >= scope.policy.reports_per_deployment_max;
        queue.waiting.iter().filter(|report| report.state.is_terminal()).all(|report| {
            let is_sent = sent.is_some_and(|(_, sent)| sent == report);
            full || is_sent || after.get(id).is_some_and(|queue| queue.waiting.contains(report))
        })
    })
}

fn is_bounded(scope: &Scope, step: &Step) -> bool {
    let (durable, live) = (&step.next.durable, &step.next.live);
    let jobs = live.workloads.values().filter(|workload| workload.job.is_some()).count();
    let prepares = live.workloads.values().filter(|workload| workload.prepare.is_some()).count();
    let queues = durable.outbox.deployments.values();
    let lists = live.workloads.iter().all(|(id, workload)| {
        let held = durable.workloads.get(id).map_or(0, |workload| workload.held.len());
        workload.hold.len() + workload.hold_failed.len() <= held.max(3)
    });
    let messages = durable.workloads.values().filter_map(|workload| workload.failure.as_ref());
    jobs <= scope.policy.jobs_max
        && prepares <= scope.policy.prepares_max
        && lists
        && messages.map(|failure| failure.message.len()).all(|size| size <= MESSAGE_BYTES_MAX)
        && queues.map(|q| q.waiting.len()).all(|n| n <= scope.policy.reports_per_deployment_max)
        && live.workloads.keys().eq(durable.workloads.keys())
}

/// What failed is ordered again in the same breath: the shortest of all busy loops.
fn starts_again(world: &World, event: &Event, step: &Step) -> bool {
    let Event::EffectFinished { id, outcome: Outcome::Failed { .. } } = event else {
        return false;
    };
    // The same order for another purpose is another attempt: what was held, say, is now to be updated.
    let purpose = |state: &State, id: &DeploymentId| {
        let job = state.live.workloads.get(id).and_then(|live| live.job.as_ref());
        job.map(|job| job.kind.clone())
    };
    failed_effect(world, *id).is_some_and(|failed| {
        let same_purpose =
            subject(failed).is_none_or(|id| purpose(&world.state, id) == purpose(&step.next, id));
        same_purpose && step.effects.iter().any(|(_, effect)| effect == failed)
    })
}

/// Checks an effect at the moment it does its work.
pub(crate) fn check_happening(world: &mut World, effect: &Effect) {
    if let Effect::SendReport { report } = effect {
        let told = world.told.get(&report.deployment);
        let again = told.is_some_and(|told| told.says_the_same(report));
        if again && !world.may_repeat.contains(&report.deployment) {
            world.broken |= bit("i8_truthful_reports");
        }
        world.may_repeat.remove(&report.deployment);
    }
}

/// Keeps the ghost `complete`.
pub(crate) fn note_complete(world: &mut World, effect: &Effect) {
    let Some(id) = subject(effect) else { return };
    let Some(workload) = world.state.durable.workloads.get(id) else { return };
    for deployment in [Some(&workload.desired), workload.good.as_ref()].into_iter().flatten() {
        let applied = |name: &state_machine::ids::ComponentName| {
            let container = world.containers.get(&(id.clone(), name.clone()));
            container.is_some_and(|container| container.revision == deployment.revision)
        };
        if deployment.components.iter().all(|component| applied(&component.name)) {
            world.complete.insert(deployment.revision.clone());
        }
    }
}

/// The faults must name rules that exist.
#[test]
fn every_fault_names_a_property() {
    let names: Vec<_> = properties().iter().map(|property| property.name).collect();
    for (fault, property, _) in faults::CAUGHT_BY {
        assert!(names.contains(property), "{fault:?} is to be caught by {property}");
    }
}
