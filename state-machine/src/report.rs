//! Sub-machine: the outbox of status reports.
//!
//! A report is a projection of a workload's durable record. It is queued when it says something new, together
//! with the state that made it so (I1), and leaves the queue when the WFM took it (I8).

use crate::backoff::contact_delay_ms;
use crate::effect::Effect;
use crate::failure::{Code, Failure};
use crate::ids::{ComponentName, DeploymentId, EffectId, ManifestVersion};
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use crate::workload::{Phase, Workload};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use serde::{Deserialize, Serialize};

/// Every change of a deployment's outbox.
pub const EDGES: &[Edge] = &[
    edge("empty", Why::StatusChanged, "waiting"),
    edge("waiting", Why::StatusChanged, "waiting"),
    edge("waiting", Why::ReportAccepted, "waiting"),
    edge("waiting", Why::ReportAccepted, "empty"),
    edge("waiting", Why::ReportRejected, "waiting"),
    edge("waiting", Why::ReportRejected, "empty"),
    edge("waiting", Why::Failed, "waiting"),
    edge("waiting", Why::IdentityReplaced, "empty"),
];

/// Deployment state on the wire (R181), least to most severe (R182).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// It runs as desired.
    Installed,
    /// It is gone.
    Removed,
    /// Received, not yet applied.
    Pending,
    /// Being applied.
    Installing,
    /// Being removed.
    Removing,
    /// It could not be done.
    Failed,
}

impl DeploymentState {
    /// The wire's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Removed => "removed",
            Self::Pending => "pending",
            Self::Installing => "installing",
            Self::Removing => "removing",
            Self::Failed => "failed",
        }
    }

    /// An end that must reach the WFM; others may be superseded before they are sent.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Installed | Self::Removed | Self::Failed)
    }
}

/// One component's part of a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ComponentReport {
    /// As in the deployment (R183).
    pub name: ComponentName,
    /// Its state.
    pub state: DeploymentState,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One status report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// `metadata.name`, the source of deployment errors (R185).
    pub name: String,
    /// `adoptedManifestVersion` (R187), at least 1.
    pub version: ManifestVersion,
    /// Most severe component state (R182).
    pub state: DeploymentState,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// One entry for each component (R183).
    pub components: Vec<ComponentReport>,
}

impl Report {
    /// Whether both tell the WFM the same; wording of messages does not count, nor how far another attempt has come
    /// while the failure is still the last word (I8, I10).
    pub fn says_the_same(&self, other: &Self) -> bool {
        let code =
            |failure: &Option<Failure>| failure.as_ref().map(|f| (f.code, f.component.clone()));
        if self.state == DeploymentState::Failed && self.failure.is_some() {
            return other.state == self.state
                && self.version == other.version
                && code(&self.failure) == code(&other.failure);
        }
        let parts = |r: &Self| -> Vec<_> {
            r.components.iter().map(|c| (c.name.clone(), c.state, code(&c.failure))).collect()
        };
        self.version == other.version
            && self.state == other.state
            && code(&self.failure) == code(&other.failure)
            && parts(self) == parts(other)
    }
}

/// Whether the present WFM ever listed it: not if it came with the image, or from another WFM.
fn is_known(workload: &Workload) -> bool {
    workload.desired.version.0 > 0
}

/// What a workload's record means to the WFM. `None`: the WFM knows nothing of it.
pub fn status_of(workload: &Workload) -> Option<Report> {
    is_known(workload).then(|| project(workload))
}

/// The last word on a deployment: it is gone.
pub(crate) fn removed(workload: &Workload) -> Option<Report> {
    let version = workload.dropped_by.filter(|_| is_known(workload))?;
    let all = |component: &crate::desired::Component| ComponentReport {
        name: component.name.clone(),
        state: DeploymentState::Removed,
        failure: None,
    };
    Some(Report {
        deployment: workload.desired.id.clone(),
        name: workload.desired.name.clone(),
        version,
        state: DeploymentState::Removed,
        failure: None,
        components: workload.desired.components.iter().map(all).collect(),
    })
}

/// What a workload's record means to anybody, reported or not.
pub fn project(workload: &Workload) -> Report {
    let deployment = &workload.desired;
    // What was adopted from the image, of which no WFM knows the version, counts as what the WFM lists now.
    let adopted = workload.adopted.filter(|adopted| adopted.0 > 0);
    let version = workload.dropped_by.or(adopted).unwrap_or(deployment.version);
    let failure = workload.failure.as_ref();
    let components: Vec<ComponentReport> = deployment
        .components
        .iter()
        .map(|component| {
            let state = component_state(workload, &component.name);
            let failure = failure.filter(|_| state == DeploymentState::Failed).cloned();
            ComponentReport { name: component.name.clone(), state, failure }
        })
        .collect();
    let worst = components.iter().map(|component| component.state).max();
    let own = if failure.is_some() { DeploymentState::Failed } else { bare_state(workload) };
    Report {
        deployment: deployment.id.clone(),
        name: deployment.name.clone(),
        version,
        state: worst.map_or(own, |worst| worst.max(own)),
        failure: failure.cloned(),
        components,
    }
}

fn bare_state(workload: &Workload) -> DeploymentState {
    let is_good =
        workload.good.as_ref().is_some_and(|good| good.revision == workload.desired.revision);
    match &workload.phase {
        Phase::Preparing | Phase::Prepared => DeploymentState::Pending,
        Phase::Applying { .. } | Phase::Pruning | Phase::Restoring { .. } => {
            DeploymentState::Installing
        }
        // Under all-or-nothing it is only done when the whole group is: until then it may have to go back.
        Phase::Running if !is_good => DeploymentState::Installing,
        Phase::Running => DeploymentState::Installed,
        Phase::Leaving | Phase::Removing => DeploymentState::Removing,
    }
}

fn component_state(workload: &Workload, name: &ComponentName) -> DeploymentState {
    let removing = matches!(workload.phase, Phase::Leaving | Phase::Removing);
    let held = workload.held.get(name);
    let current = held.is_some_and(|held| held.revision == workload.desired.revision);
    if let Some(failure) = &workload.failure {
        match &failure.component {
            Some(culprit) if culprit == name => return DeploymentState::Failed,
            Some(_) => {}
            None if !current || removing => return DeploymentState::Failed,
            None if matches!(workload.phase, Phase::Running) => return DeploymentState::Failed,
            None => {}
        }
    }
    match &workload.phase {
        Phase::Leaving | Phase::Removing => DeploymentState::Removing,
        Phase::Applying { component } if component == name => DeploymentState::Installing,
        Phase::Preparing
        | Phase::Prepared
        | Phase::Applying { .. }
        | Phase::Pruning
        | Phase::Restoring { .. }
        | Phase::Running => {
            if current {
                DeploymentState::Installed
            } else {
                DeploymentState::Pending
            }
        }
    }
}

/// Durable: what the WFM has been, or is about to be, told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outbox {
    /// By deployment.
    pub deployments: BTreeMap<DeploymentId, Queue>,
}

/// One deployment's reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Queue {
    /// Not yet taken by the WFM, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub waiting: VecDeque<Arc<Report>>,
    /// The newest one ever queued, so that it is not said twice.
    pub latest: Option<Arc<Report>>,
}

/// Volatile: the report under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// The report being sent. One at a time keeps their order.
    pub sending: Option<(EffectId, Arc<Report>)>,
    /// Failed attempts in a row.
    pub attempt: u32,
    /// Not before this, in monotonic milliseconds.
    pub retry_at_ms: Option<u64>,
    /// The WFM asked not to be contacted before this (R202), in monotonic milliseconds.
    pub asked_until_ms: Option<u64>,
    /// Whose report was last tried: the next one's turn comes first, so that one the WFM does not take holds up
    /// no other.
    pub last_tried: Option<DeploymentId>,
    /// The latest failure.
    pub last_failure: Option<Failure>,
}

impl Outbox {
    /// Queues `report` if it says something new.
    pub(crate) fn offer(&mut self, report: Report, sending: Option<&Arc<Report>>, cx: &mut Cx<'_>) {
        let queue = self.deployments.entry(report.deployment.clone()).or_default();
        if queue.latest.as_ref().is_some_and(|latest| latest.says_the_same(&report)) {
            return;
        }
        let prev = queue.name();
        let report = Arc::new(report);
        // Intermediate states that nobody has begun to send are superseded; ends are kept.
        let superseded = queue
            .waiting
            .back()
            .is_some_and(|last| !last.state.is_terminal() && sending != Some(last));
        if superseded {
            queue.waiting.pop_back();
        }
        queue.waiting.push_back(Arc::clone(&report));
        if queue.waiting.len() > cx.policy.reports_per_deployment_max.max(2) {
            // The first may be under way and the last is the truth: the oldest in between goes.
            queue.waiting.remove(1);
        }
        queue.latest = Some(Arc::clone(&report));
        note(&report, prev, queue.name(), Why::StatusChanged, None, cx);
    }

    /// Reports not yet taken, in all.
    pub fn waiting(&self) -> usize {
        self.deployments.values().map(|queue| queue.waiting.len()).sum()
    }

    /// Starts sending the next report, if one waits. Call only when the WFM may be talked to.
    pub(crate) fn schedule(&self, live: &mut Live, cx: &mut Cx<'_>) {
        if live.sending.is_some() || !cx.now.reached(live.retry_at_ms) {
            return;
        }
        let from = live.last_tried.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.deployments.range((from, Bound::Unbounded));
        let next = later.chain(&self.deployments).find_map(|(_, queue)| queue.waiting.front());
        if let Some(report) = next {
            let id = cx.start(Effect::SendReport { report: Arc::clone(report) });
            live.last_tried = Some(report.deployment.clone());
            live.sending = Some((id, Arc::clone(report)));
        }
    }

    /// The WFM took the report under way.
    pub(crate) fn on_accepted(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.attempt = 0;
        live.retry_at_ms = None;
        live.asked_until_ms = None;
        live.last_failure = None;
        self.finish(live, Why::ReportAccepted, None, cx);
    }

    /// The report under way could not be delivered.
    pub(crate) fn on_failed(&mut self, live: &mut Live, failure: &Failure, cx: &mut Cx<'_>) {
        live.last_failure = Some(failure.clone());
        if failure.code == Code::ReportRejected {
            self.finish(live, Why::ReportRejected, Some(failure), cx);
            return;
        }
        let Some((_, report)) = live.sending.take() else { return };
        live.attempt = live.attempt.saturating_add(1);
        let wait_ms = contact_delay_ms(live.attempt, failure, 6, cx.policy);
        live.retry_at_ms = Some(cx.now.after(wait_ms));
        live.asked_until_ms = failure.retry_after_ms.map(|ms| cx.now.after(ms));
        note(&report, "waiting", "waiting", Why::Failed, Some(failure), cx);
    }

    fn finish(&mut self, live: &mut Live, why: Why, failure: Option<&Failure>, cx: &mut Cx<'_>) {
        let Some((_, sent)) = live.sending.take() else { return };
        let Some(queue) = self.deployments.get_mut(&sent.deployment) else { return };
        if queue.waiting.front() == Some(&sent) {
            queue.waiting.pop_front();
        }
        let next = queue.name();
        // Nothing more will ever be said about a removed deployment.
        if queue.waiting.is_empty() && sent.state == DeploymentState::Removed {
            self.deployments.remove(&sent.deployment);
        }
        note(&sent, "waiting", next, why, failure, cx);
    }

    /// Another WFM: what the old one was to be told no longer matters.
    pub(crate) fn on_identity_replaced(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        live.reset(cx);
        for queue in core::mem::take(&mut self.deployments).into_values() {
            if let (Some(latest), false) = (&queue.latest, queue.waiting.is_empty()) {
                note(latest, "waiting", "empty", Why::IdentityReplaced, None, cx);
            }
        }
    }
}

impl Live {
    /// Gives up on what is under way, to begin anew: identity or endpoint changed.
    pub(crate) fn reset(&mut self, cx: &mut Cx<'_>) {
        cx.cancel(self.sending.take().map(|(id, _)| id));
        *self = Self::default();
    }
}

impl Queue {
    fn name(&self) -> &'static str {
        if self.waiting.is_empty() { "empty" } else { "waiting" }
    }
}

fn note(
    report: &Report,
    prev: &'static str,
    next: &'static str,
    why: Why,
    failure: Option<&Failure>,
    cx: &mut Cx<'_>,
) {
    cx.transitions.push(Transition {
        machine: MachineName::Report,
        subject: Some(report.deployment.clone()),
        component: None,
        prev,
        next,
        why,
        failure: failure.or(report.failure.as_ref()).cloned(),
    });
}
