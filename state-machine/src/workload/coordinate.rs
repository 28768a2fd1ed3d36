//! What depends on more than one workload: whose turn it is, and what a failure means for the others.

use super::{Live, Phase, Workload};
use crate::failure::{Code, Failure};
use crate::ids::DeploymentId;
use crate::policy::PartialFailure;
use crate::step::Cx;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;

/// Lets every workload whose turn it is go on. `may_turn`: not while firmware is under way, which goes first.
pub(crate) fn coordinate(
    workloads: &mut BTreeMap<DeploymentId, Workload>,
    live: &mut BTreeMap<DeploymentId, Live>,
    may_turn: bool,
    cx: &mut Cx<'_>,
) {
    match cx.policy.partial_failure {
        // I6: under these, no deployment's fate changes another's.
        PartialFailure::Keep | PartialFailure::Rollback => {
            for workload in workloads.values_mut() {
                if may_turn {
                    workload.on_turn(cx);
                }
                promote(workload);
            }
        }
        PartialFailure::AllOrNothing => as_a_group(workloads, live, may_turn, cx),
    }
}

/// Everything of the desired revision runs: it is what to come back to from now on.
fn promote(workload: &mut Workload) {
    let is_news =
        workload.good.as_ref().is_none_or(|good| good.revision != workload.desired.revision);
    if is_news && matches!(workload.phase, Phase::Running) {
        workload.good = Some(Arc::clone(&workload.desired));
    }
}

fn as_a_group(
    workloads: &mut BTreeMap<DeploymentId, Workload>,
    live: &mut BTreeMap<DeploymentId, Live>,
    may_turn: bool,
    cx: &mut Cx<'_>,
) {
    if let Some(culprit) = workloads.values().find(|w| has_failed(w)).map(|w| w.desired.id.clone())
    {
        let failure = Failure::new(Code::GroupRolledBack, format!("deployment {culprit} failed"));
        for (id, workload) in workloads.iter_mut() {
            let live = live.entry(id.clone()).or_default();
            if *id != culprit && is_ahead(workload) {
                workload.on_group_failed(live, &failure, cx);
            }
        }
        return;
    }
    let staying = || workloads.values().filter(|w| w.dropped_by.is_none());
    // What is still being verified after a start may yet turn out not to run.
    let is_verified = |w: &Workload| live.get(&w.desired.id).is_some_and(Live::is_verified);
    let all_running = staying().all(|w| matches!(w.phase, Phase::Running) && is_verified(w));
    let all_ready =
        staying().all(|w| !matches!(w.phase, Phase::Preparing | Phase::Restoring { .. }));
    for workload in workloads.values_mut() {
        match (&workload.phase, all_ready, all_running) {
            (Phase::Prepared, true, _) | (Phase::Leaving, _, true) if may_turn => {
                workload.on_turn(cx);
            }
            (Phase::Running, _, true) => promote(workload),
            (
                Phase::Prepared
                | Phase::Leaving
                | Phase::Running
                | Phase::Preparing
                | Phase::Applying { .. }
                | Phase::Pruning
                | Phase::Restoring { .. }
                | Phase::Removing,
                _,
                _,
            ) => {}
        }
    }
}

/// Failed by itself, not with others, and not merely drifted while running.
fn has_failed(workload: &Workload) -> bool {
    let own = |failure: &Failure| failure.code != Code::GroupRolledBack;
    workload.dropped_by.is_none()
        && matches!(workload.phase, Phase::Preparing | Phase::Restoring { .. })
        && workload.failure.as_ref().is_some_and(own)
}

/// Has begun to move to a revision that the group has not agreed on.
fn is_ahead(workload: &Workload) -> bool {
    let is_news =
        workload.good.as_ref().is_none_or(|good| good.revision != workload.desired.revision);
    is_news && matches!(workload.phase, Phase::Applying { .. } | Phase::Pruning | Phase::Running)
}
