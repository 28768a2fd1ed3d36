//! Which operations to start now: derived from the state alone, so that nothing can be forgotten.

use super::live::{Job, JobKind, Live};
use super::{Phase, Workload};
use crate::effect::Effect;
use crate::ids::ComponentName;
use crate::step::Cx;
use crate::time::earliest;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Starts the runtime operation that is due, if any. Call only when the runtime may be touched.
pub(crate) fn schedule(workload: &Workload, live: &mut Live, cx: &mut Cx<'_>) {
    if live.job.is_some() {
        return;
    }
    let is_held = |name: &ComponentName| workload.held.contains_key(name);
    live.hold.retain(is_held);
    live.hold_failed.retain(is_held);
    if cx.now.reached(live.hold_at_ms) {
        live.hold_at_ms = None;
        let failed = core::mem::take(&mut live.hold_failed);
        live.hold.extend(failed);
    }
    let Some((kind, effect)) = next_job(workload, live, cx) else { return };
    if kind == JobKind::Observe {
        live.dirty = false;
        live.observe_at_ms = Some(cx.now.after(cx.policy.observe_interval_ms));
    }
    let id = cx.start(effect);
    live.job = Some(Job { id, kind });
}

/// Starts obtaining what the desired revision needs, if that is due.
pub(crate) fn schedule_prepare(workload: &Workload, live: &mut Live, cx: &mut Cx<'_>) {
    let due = !live.blocked && cx.now.reached(live.retry_at_ms);
    let revision = match (&live.repair, &workload.phase) {
        _ if live.prepare.is_some() => return,
        (Some(lost), Phase::Preparing | Phase::Prepared | Phase::Running | Phase::Leaving) => {
            live.repairing = true;
            lost.clone()
        }
        (None, Phase::Preparing) if due => workload.desired.revision.clone(),
        (
            _,
            Phase::Preparing
            | Phase::Prepared
            | Phase::Applying { .. }
            | Phase::Pruning
            | Phase::Restoring { .. }
            | Phase::Running
            | Phase::Leaving
            | Phase::Removing,
        ) => return,
    };
    let deployment = workload.desired.id.clone();
    live.prepare = Some(cx.start(Effect::PrepareDeployment { deployment, revision }));
}

fn next_job(workload: &Workload, live: &mut Live, cx: &Cx<'_>) -> Option<(JobKind, Effect)> {
    match &workload.phase {
        Phase::Applying { component } => Some((
            JobKind::Update { component: component.clone() },
            apply(workload, &workload.desired.revision, component)?,
        )),
        Phase::Pruning => cx.now.reached(live.retry_at_ms).then(|| {
            let keep = workload.desired.components.iter().map(|c| c.name.clone()).collect();
            prune(workload, keep)
        }),
        Phase::Restoring { component: Some(component) } => {
            let held = workload.held.get(component)?;
            let effect = apply(workload, &held.revision, component)?;
            Some((JobKind::Restore { component: component.clone() }, effect))
        }
        Phase::Restoring { component: None } => Some(restore_all(workload, live)),
        Phase::Removing => cx.now.reached(live.retry_at_ms).then(|| {
            let deployment = workload.desired.id.clone();
            (JobKind::Remove, Effect::RemoveDeployment { deployment })
        }),
        Phase::Preparing | Phase::Prepared | Phase::Running | Phase::Leaving => {
            keep_held(workload, live, cx)
        }
    }
}

fn restore_all(workload: &Workload, live: &mut Live) -> (JobKind, Effect) {
    let good = workload.good.as_deref();
    let names = || -> Vec<ComponentName> {
        good.map(|g| g.components.iter().map(|c| c.name.clone()).collect()).unwrap_or_default()
    };
    let rest = live.restore.get_or_insert_with(names);
    let next = rest.first().and_then(|component| {
        let effect = apply(workload, &good?.revision, component)?;
        Some((JobKind::Restore { component: component.clone() }, effect))
    });
    next.unwrap_or_else(|| prune(workload, names()))
}

fn keep_held(workload: &Workload, live: &Live, cx: &Cx<'_>) -> Option<(JobKind, Effect)> {
    if let Some(component) = live.hold.first() {
        let held = workload.held.get(component)?;
        let effect = apply(workload, &held.revision, component)?;
        return Some((JobKind::Hold { component: component.clone() }, effect));
    }
    let due = live.dirty || live.observe_at_ms.is_some_and(|at| cx.now.monotonic_ms >= at);
    (due && !workload.held.is_empty()).then(|| {
        let held = workload.held.iter().map(|(n, h)| (n.clone(), h.revision.clone())).collect();
        let deployment = workload.desired.id.clone();
        (JobKind::Observe, Effect::ObserveDeployment { deployment, held })
    })
}

fn prune(workload: &Workload, keep: Vec<ComponentName>) -> (JobKind, Effect) {
    let deployment = workload.desired.id.clone();
    (JobKind::Prune, Effect::PruneDeployment { deployment, keep })
}

/// The order to apply a component at a revision, with that revision's wait and timeout.
fn apply(
    workload: &Workload,
    revision: &crate::ids::Digest,
    name: &ComponentName,
) -> Option<Effect> {
    let of = |d: &Arc<crate::desired::Deployment>| {
        (d.revision == *revision).then(|| d.component(name).cloned()).flatten()
    };
    let held = || workload.held.get(name).filter(|h| h.revision == *revision);
    let component = of(&workload.desired)
        .or_else(|| workload.good.as_ref().and_then(of))
        .or_else(|| held().map(|h| h.component.clone()))?;
    Some(Effect::ApplyComponent {
        deployment: workload.desired.id.clone(),
        revision: revision.clone(),
        component: component.name,
        wait: component.wait,
        timeout_ms: component.timeout_ms,
    })
}

/// When this workload needs to be looked at again, if nothing else happens.
pub(crate) fn wake_at(workload: &Workload, live: &Live) -> Option<u64> {
    let waits_for_retry = match &workload.phase {
        Phase::Preparing => live.prepare.is_none() && !live.blocked,
        Phase::Pruning | Phase::Removing => live.job.is_none(),
        Phase::Prepared
        | Phase::Applying { .. }
        | Phase::Restoring { .. }
        | Phase::Running
        | Phase::Leaving => false,
    };
    let retry = if waits_for_retry { live.retry_at_ms } else { None };
    let observe = if live.job.is_none() { live.observe_at_ms } else { None };
    earliest(earliest(retry, live.hold_at_ms), earliest(observe, live.stable_at_ms))
}
