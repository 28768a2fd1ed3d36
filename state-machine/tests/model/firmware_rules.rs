//! What must hold about firmware: at every step (I1, I8, I9), and when all is done (I7).

use crate::boot::Nature;
use crate::checker::Scope;
use crate::support::version_of;
use crate::world::World;
use state_machine::desired::{Deployment, Kind};
use state_machine::effect::{Effect, FirmwareSource};
use state_machine::event::Event;
use state_machine::failure::Code;
use state_machine::firmware::{Firmware, HISTORY_MAX, Origin, Phase, Verdict};
use state_machine::ids::DeploymentId;
use state_machine::report::{DeploymentState, Report};
use state_machine::state::State;
use state_machine::step::Step;
use state_machine::transition::{MachineName, Why};

/// The attempt's phase.
fn phase(firmware: &Firmware) -> Option<Phase> {
    firmware.update.as_ref().map(|update| update.phase)
}

/// A slot is being written, changed or judged.
fn is_late(firmware: &Firmware) -> bool {
    phase(firmware).is_some_and(|phase| !matches!(phase, Phase::Preparing | Phase::Ready))
}

/// Every rule with whether it holds. Also keeps the ghost `failed`.
pub(crate) fn check(
    scope: &Scope,
    world: &mut World,
    event: &Event,
    step: &Step,
    now: u64,
) -> Vec<(&'static str, bool)> {
    let firmware = &step.next.durable.firmware;
    let starts = |allowed: &dyn Fn(&Effect) -> bool| step.effects.iter().all(|(_, e)| allowed(e));
    let asks =
        |e: &Effect| matches!(e, Effect::PollManifest { .. } | Effect::FetchDeployments { .. });
    vec![
        ("i9_no_sync_on_trial", !is_late(firmware) || starts(&|effect| !asks(effect))),
        ("i9_slots", starts(&|effect| respects_slots(world, firmware, effect))),
        ("i9_slots", commits_what_works(scope, world, step)),
        ("i9_slots", is_judged_in_time(world, step, now)),
        ("i9_named_anew", names_anew(world, event, step)),
        ("firmware_goes_first", goes_first(step)),
        ("transitions_tell_the_truth", chain_is_true(&world.state, step)),
        ("i11_bounded", firmware.history.len() <= HISTORY_MAX),
    ]
}

/// The only slot known to work is neither written nor left.
fn respects_slots(world: &World, firmware: &Firmware, effect: &Effect) -> bool {
    let trial = world.boot.is_on_trial();
    let phase = phase(firmware);
    match effect {
        // The intent is on record before the first byte (I1), and never from a trial.
        Effect::InstallFirmware { .. } => phase == Some(Phase::Installing) && !trial,
        Effect::Reboot => match phase {
            Some(Phase::Installed) => !trial,
            Some(Phase::Rejecting) => trial,
            _ => false,
        },
        Effect::RejectSlot => trial && phase == Some(Phase::Rejecting),
        Effect::CommitSlot => trial && phase == Some(Phase::Committing),
        Effect::ActivateOther | Effect::DiscardFirmware => !trial,
        _ => true,
    }
}

/// Nothing is found healthy that is not.
fn commits_what_works(scope: &Scope, world: &World, step: &Step) -> bool {
    if !step.transitions.iter().any(|transition| transition.why == Why::Healthy) {
        return true;
    }
    let Some(update) = &world.state.durable.firmware.update else { return false };
    let runs = |id: &DeploymentId| {
        let workload = world.state.durable.workloads.get(id);
        workload.is_some_and(|workload| {
            workload.held.iter().all(|(name, held)| world.runs(id, name, &held.revision))
        })
    };
    (scope.nature)(world.boot.version()) == Nature::Sound && update.baseline.iter().all(runs)
}

/// A trial ends by its deadline, and an alarm is set for it.
fn is_judged_in_time(world: &World, step: &Step, now: u64) -> bool {
    let is_trial = phase(&step.next.durable.firmware) == Some(Phase::Trial);
    let wakes = step.wake_at_ms.is_some_and(|at| at <= world.boot.deadline);
    !is_trial || (now < world.boot.deadline && wakes)
}

/// What failed is attempted again only when it is named anew, or an operator says so.
fn names_anew(world: &mut World, event: &Event, step: &Step) -> bool {
    let records = &step.next.durable.firmware.deployments;
    if let Event::RetryRequested { deployment } = event
        && let Some(record) = records.get(deployment)
    {
        world.failed.remove(&record.desired.revision);
    }
    let is_listed = |revision: &_| records.values().any(|r| r.desired.revision == *revision);
    world.failed.retain(is_listed);
    let source = |effect: &Effect| match effect {
        Effect::PrepareFirmware { source } | Effect::InstallFirmware { source, .. } => match source
        {
            FirmwareSource::Deployment { revision, .. } => Some(revision.clone()),
            FirmwareSource::Location { .. } => None,
        },
        _ => None,
    };
    let mut attempted = step.effects.iter().filter_map(|(_, effect)| source(effect));
    let holds = attempted.all(|revision| !world.failed.contains(&revision));
    let before = world.state.durable.firmware.update.as_ref();
    if let (true, Some(Origin::Deployment { revision, .. })) =
        (gave_up(step), before.map(|update| &update.origin))
    {
        world.failed.insert(revision.clone());
    }
    holds
}

/// Whether the attempt ended as a failure.
fn gave_up(step: &Step) -> bool {
    let mut all = step.transitions.iter().filter(|t| t.machine == MachineName::Firmware);
    all.any(|t| t.next == "idle" && matches!(t.why, Why::Failed | Why::RolledBack | Why::Discarded))
}

/// No workload takes a turn between the first look at a bundle and the verdict.
fn goes_first(step: &Step) -> bool {
    let firmware = &step.next.durable.firmware;
    let holds = firmware
        .update
        .as_ref()
        .is_some_and(|update| update.phase != Phase::Preparing || update.failure.is_none());
    let is_turn = |t: &&state_machine::transition::Transition| {
        t.machine == MachineName::Workload && t.why == Why::Turn
    };
    !holds || !step.transitions.iter().any(|transition| is_turn(&transition))
}

/// The transitions form a chain from what it was to what it is.
fn chain_is_true(before: &State, step: &Step) -> bool {
    let mut place = before.durable.firmware.as_str();
    for transition in step.transitions.iter().filter(|t| t.machine == MachineName::Firmware) {
        if transition.prev != place {
            return false;
        }
        place = transition.next;
    }
    place == step.next.durable.firmware.as_str()
}

/// I8, for a report about firmware. `is_listed`: by the manifest that the report names.
pub(crate) fn report_is_true(world: &World, step: &Step, report: &Report, is_listed: bool) -> bool {
    let firmware = &step.next.durable.firmware;
    let record = firmware.deployments.get(&report.deployment);
    let runs = record.is_some_and(|record| {
        !world.boot.is_on_trial()
            && world.boot.version().to_string() == version_of(&record.desired.revision)
    });
    let agree = report.components.iter().all(|component| component.state == report.state);
    let code = report.failure.as_ref().map(|failure| failure.code);
    let holds = match report.state {
        DeploymentState::Installed => runs,
        DeploymentState::Removed => record.is_none() && !is_listed,
        DeploymentState::Removing => !is_listed,
        DeploymentState::Failed => {
            code.is_some() && !(runs && code == Some(Code::FirmwareRolledBack))
        }
        DeploymentState::Pending => !is_late(firmware) || !is_of(firmware, &report.deployment),
        DeploymentState::Installing => is_late(firmware),
    };
    agree && holds
}

fn is_of(firmware: &Firmware, deployment: &DeploymentId) -> bool {
    let origin = firmware.update.as_ref().map(|update| &update.origin);
    matches!(origin, Some(Origin::Deployment { id, .. }) if id == deployment)
}

/// I7: every attempt is over, and each deployment of firmware runs or has failed, and the WFM knows which.
pub(crate) fn is_settled(world: &World, listed: &[std::sync::Arc<Deployment>]) -> bool {
    let firmware = &world.state.durable.firmware;
    let mut wanted = listed.iter().filter(|deployment| deployment.kind == Kind::Firmware);
    let is_done = |deployment: &std::sync::Arc<Deployment>| {
        let told = world.told.get(&deployment.id).map(|report| report.state);
        let record = firmware.deployments.get(&deployment.id);
        record.is_some_and(|record| {
            let end = match record.verdict {
                Verdict::Open => return false,
                Verdict::Installed { .. } => DeploymentState::Installed,
                Verdict::Failed | Verdict::Surplus => DeploymentState::Failed,
            };
            let runs = world.boot.version().to_string() == version_of(&deployment.revision);
            record.desired.revision == deployment.revision
                && (told == Some(end) || world.rejected)
                // Where nobody manages it any more, nobody can tell.
                && (runs || end == DeploymentState::Failed || world.unmanaged)
        })
    };
    let is_listed = |id: &DeploymentId| listed.iter().any(|deployment| deployment.id == *id);
    firmware.update.is_none()
        && (!world.boot.is_on_trial() || world.unmanaged)
        && wanted.all(is_done)
        && firmware.deployments.keys().all(is_listed)
}
