//! What must come of a world in which from now on everything goes well (I4, I7, I10).
//!
//! From any state there is one calm future; all states on the way to a good end share it, so each is walked once.

use crate::boot::Nature;
use crate::checker::{Noise, Scope, capabilities};
use crate::firmware_rules;
use crate::normal::{FAR_MS, T0};
use crate::world::{World, needs_network};
use state_machine::desired::Kind;
use state_machine::effect::Effect;
use state_machine::event::{Event, StoreCondition};
use state_machine::onboarding::Stage;
use state_machine::policy::{MismatchPolicy, Restore};
use state_machine::report::DeploymentState;
use state_machine::workload::Phase;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Longest way to a good end, in calm steps.
const STEPS_MAX: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calm {
    /// What runs is what is desired, everybody knows, and nothing happens any more.
    Quiet,
    /// So, but it goes on writing or sending.
    Loud,
    /// It never comes to that.
    Never,
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// What comes of this world.
pub(crate) fn outcome(scope: &Scope, world: &World) -> Calm {
    let mut way = Vec::new();
    let mut world = world.clone();
    for _ in 0..STEPS_MAX {
        let place = hash(&world);
        if scope.calm.lock().unwrap().contains(&place) {
            break;
        }
        way.push(place);
        if is_settled(scope, &world) {
            if !stays_quiet(scope, &world) {
                return Calm::Loud;
            }
            break;
        }
        match next(scope, &world) {
            Some(later) if way.len() < STEPS_MAX => world = later,
            _ => return Calm::Never,
        }
    }
    scope.calm.lock().unwrap().extend(way);
    Calm::Quiet
}

/// The world when all is well.
pub(crate) fn run(scope: &Scope, mut world: World) -> World {
    for _ in 0..STEPS_MAX {
        if is_settled(scope, &world) {
            break;
        }
        let Some(later) = next(scope, &world) else { break };
        world = later;
    }
    world
}

/// The world, and what it is when all good things that can happen have happened, for a person to read.
pub(crate) fn story(scope: &Scope, world: &World) -> String {
    let mut last = world.clone();
    for _ in 0..STEPS_MAX {
        match next(scope, &last) {
            Some(later) if !is_settled(scope, &last) => last = later,
            _ => break,
        }
    }
    let end = if is_settled(scope, &last) { "settled" } else { "not settled" };
    format!("which is\n{}\nand ends {end} in\n{}", world.describe(), last.describe())
}

/// The one good thing that happens next.
pub(crate) fn next(scope: &Scope, world: &World) -> Option<World> {
    let mut later = world.clone();
    let blocked = || {
        let mut all = world.state.live.workloads.iter();
        all.find(|(_, live)| live.blocked && live.job.is_none()).map(|(id, _)| id.clone())
    };
    let only_reported = || {
        let mut all = world.state.durable.workloads.iter();
        let wrong = |w: &state_machine::workload::Workload| {
            matches!(w.phase, Phase::Running) && w.failure.is_some()
        };
        let waits =
            |id| world.state.live.workloads.get(id).is_some_and(|l| l.stable_at_ms.is_some());
        let reports = scope.policy.mismatch == MismatchPolicy::Report;
        all.find(|(id, workload)| reports && wrong(workload) && !waits(id))
            .map(|(id, _)| id.clone())
    };
    if later.engine_down {
        later.engine_down = false;
    } else if let Some(id) = world.underway.keys().next() {
        scope.succeed(&mut later, *id, true);
    } else if let Some(deployment) = only_reported() {
        scope.feed(&mut later, &Event::RetryRequested { deployment }, T0);
    } else if let Some(deployment) = blocked() {
        scope.feed(&mut later, &Event::RetryRequested { deployment }, T0);
    } else if world.wake.is_some_and(|at| at < T0 + FAR_MS) {
        scope.wake(&mut later);
    } else if offers_news(scope, world) {
        scope.feed(&mut later, &Event::SyncRequested, T0);
    } else {
        return None;
    }
    (later != *world).then_some(later)
}

fn offers_news(scope: &Scope, world: &World) -> bool {
    let offered = world.offered.and_then(|index| scope.manifests.get(index));
    offered.is_some_and(|manifest| manifest.version.0 > world.floor)
}

/// Everything desired runs, nothing else does, and the WFM knows it.
pub(crate) fn is_settled(scope: &Scope, world: &World) -> bool {
    let state = &world.state;
    let manifest = world.accepted.and_then(|index| scope.manifests.get(index));
    let preloaded = scope.preload.as_ref().filter(|_| !state.durable.sync.preload_ended);
    let listed = manifest.or(preloaded).map_or(&[][..], |manifest| &manifest.deployments);
    let listed =
        if world.store_lost && state.durable.sync.accepted.is_none() { &[] } else { listed };
    let heard =
        world.offered.is_none() || (state.stage() == "synced" && !offers_news(scope, world));
    let registered = state.live.onboarding.stage == Stage::Registered
        && world.wfm_capabilities == Some(capabilities(world.capabilities));
    let trial = !firmware_rules::is_settled(world, listed);
    let pending = state.durable.outbox.waiting() > 0
        || !world.underway.is_empty()
        || world.disk.is_some()
        || !state.live.engine.connected
        // After the state was lost, nothing stored is garbage before a manifest says what is needed.
        || (state.live.garbage && state.durable.sync.accepted.is_some())
        || state
            .live
            .workloads
            .values()
            .any(|live| live.dirty || !live.hold.is_empty() || !live.hold_failed.is_empty());
    let mut of_containers = listed.iter().filter(|d| d.kind == Kind::Compose);
    let each_runs = of_containers.all(|deployment| {
        let id = &deployment.id;
        let runs =
            |c: &state_machine::desired::Component| world.runs(id, &c.name, &deployment.revision);
        let told = world.told.get(id).is_some_and(|r| r.state == DeploymentState::Installed);
        let known = told || world.rejected || deployment.version.0 == 0;
        known
            && deployment.components.iter().all(runs)
            && state.durable.workloads.get(id).is_some_and(|workload| {
                matches!(workload.phase, Phase::Running)
                    && workload.failure.is_none()
                    && workload.desired.revision == deployment.revision
                    && workload.good.as_ref().is_some_and(|g| g.revision == deployment.revision)
            })
    });
    let lists = |id: &state_machine::ids::DeploymentId| listed.iter().any(|d| d.id == *id);
    let no_other = world.containers.keys().all(|(id, component)| {
        let deployment = listed.iter().find(|deployment| deployment.id == *id);
        world.store_lost || deployment.is_some_and(|d| d.component(component).is_some())
    });
    let gone_is_known = world.told.iter().all(|(id, report)| {
        world.rejected || lists(id) || report.state == DeploymentState::Removed
    });
    let tidy = {
        let kept = state.durable.revisions();
        let is_unknown = world.store_lost && state.durable.sync.accepted.is_none();
        is_unknown || world.stored.iter().all(|revision| kept.contains(revision))
    };
    heard
        && registered
        && !trial
        && !pending
        && each_runs
        && no_other
        && gone_is_known
        && tidy
        && state.durable.workloads.keys().all(lists)
}

/// I10: nothing but polls and comparisons, and nothing written.
fn stays_quiet(scope: &Scope, world: &World) -> bool {
    let mut later = world.clone();
    let mut noise = Noise::Quiet;
    // A stable period may still be running; its end is silent as well.
    for _ in 0..6 {
        if let Some(id) = later.underway.keys().next().copied() {
            noise = noise.max(scope.succeed(&mut later, id, true));
        } else if later.wake.is_some_and(|at| at < T0 + FAR_MS) {
            noise = noise.max(scope.wake(&mut later));
        }
    }
    noise == Noise::Quiet && later.state.durable == world.state.durable
}

/// I4: a device whose power is cut now, and that never hears from anyone again, runs what it was last told to run.
pub(crate) fn restores(scope: &Scope, world: &World) -> bool {
    let by_wfm = scope.policy.restore == Restore::WaitForWfm;
    // Under firmware that breaks workloads there is nothing to restore them with.
    let breaks = |version: u8| (scope.nature)(version) == Nature::BreaksWorkloads;
    let breaks = world.boot.versions.into_iter().any(breaks);
    if by_wfm || breaks || world.engine_down || world.artifacts_lost {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    (&world.state.durable, &world.disk, &world.stored, &world.boot).hash(&mut hasher);
    if !scope.restored.lock().unwrap().insert(hasher.finish()) {
        return true;
    }
    let mut later = world.clone();
    scope.boot_alone(&mut later, StoreCondition::Intact);
    for _ in 0..STEPS_MAX {
        // Restoring is not going on with an update.
        let is_local = |effect: &Effect| {
            !needs_network(effect) && !matches!(effect, Effect::InstallFirmware { .. })
        };
        let local = later.underway.iter().find(|(_, effect)| is_local(effect));
        let Some(id) = local.map(|(id, _)| *id) else { break };
        scope.succeed(&mut later, id, false);
    }
    later.state.durable.workloads.iter().all(|(id, workload)| {
        workload.held.iter().all(|(name, held)| later.runs(id, name, &held.revision))
    })
}
