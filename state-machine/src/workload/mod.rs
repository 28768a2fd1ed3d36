//! Sub-machine: one deployment's life, from being desired to being gone.
//!
//! Two truths are kept apart. `desired` is what an accepted manifest says; `held` is, component by component, the
//! revision that the runtime is kept to right now. An update moves `held` to `desired` one component at a time;
//! whatever happens in between, everything in `held` is kept running. The diagram is in the README beside `src`.

mod coordinate;
mod live;
mod schedule;
mod transitions;

pub(crate) use coordinate::coordinate;
pub use live::{Job, JobKind, Live};
pub(crate) use schedule::{schedule, schedule_prepare, wake_at};
pub use transitions::EDGES;

use crate::desired::{Component, Deployment};
use crate::failure::Failure;
use crate::ids::{ComponentName, Digest, ManifestVersion};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Where a workload is in its life. Durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// What the desired revision needs is being obtained. Nothing running is touched.
    Preparing,
    /// Everything is on stable storage; waits for its turn.
    Prepared,
    /// This component is being brought to the desired revision.
    Applying {
        /// Which component.
        component: ComponentName,
    },
    /// Components that the desired revision no longer has are being removed.
    Pruning,
    /// After a failure: going back to what was held (`Some`: one component) or to the last good revision (`None`).
    Restoring {
        /// The one component, or all of them.
        component: Option<ComponentName>,
    },
    /// Every component runs at the desired revision. With a `failure`: it no longer does, and is being recovered.
    Running,
    /// No longer desired; waits for its turn to be removed.
    Leaving,
    /// Everything of it is being removed.
    Removing,
}

impl Phase {
    /// Lowercase name for logs, transcripts and diagrams.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Applying { .. } => "applying",
            Self::Pruning => "pruning",
            Self::Restoring { .. } => "restoring",
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Removing => "removing",
        }
    }
}

/// A component and the revision the runtime is kept to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The deployment's revision that this component's definition comes from.
    pub revision: Digest,
    /// Place in the install order.
    pub order: u32,
    /// Name, wait and timeout as that revision says.
    pub component: Component,
}

/// One deployment's durable record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// The last revision an accepted manifest listed.
    pub desired: Arc<Deployment>,
    /// The manifest version that no longer lists it, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_by: Option<ManifestVersion>,
    /// Version of the newest revision that was begun to be applied (R187).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<ManifestVersion>,
    /// The last revision of which everything ran; its artifacts are kept (I2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Arc<Deployment>>,
    /// What the runtime is kept to, by component.
    pub held: BTreeMap<ComponentName, Held>,
    /// Where it is.
    pub phase: Phase,
    /// Why the desired revision does not run, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// A superseded revision may have left things behind that only pruning finds.
    #[serde(default)]
    pub untidy: bool,
}

impl Workload {
    /// A deployment seen for the first time.
    pub(crate) fn new(desired: Arc<Deployment>) -> Self {
        Self {
            desired,
            dropped_by: None,
            adopted: None,
            good: None,
            held: BTreeMap::new(),
            phase: Phase::Preparing,
            failure: None,
            untidy: false,
        }
    }

    /// The device now belongs to another WFM, which never listed this. What runs, runs on.
    pub(crate) fn on_identity_replaced(&mut self) {
        Arc::make_mut(&mut self.desired).version = ManifestVersion(0);
        self.adopted = None;
    }

    /// Every revision whose artifacts this workload may still need.
    pub fn revisions(&self) -> impl Iterator<Item = &Digest> {
        core::iter::once(&self.desired.revision)
            .chain(self.good.as_deref().map(|good| &good.revision))
            .chain(self.held.values().map(|held| &held.revision))
    }

    /// Whether every component of the desired revision is held to it.
    pub fn is_current(&self) -> bool {
        let current = |component: &Component| {
            self.held.get(&component.name).is_some_and(|h| h.revision == self.desired.revision)
        };
        self.desired.components.iter().all(current)
    }

    /// Held components in install order.
    pub(crate) fn held_in_order(&self) -> Vec<ComponentName> {
        let mut held: Vec<(u32, &ComponentName)> =
            self.held.iter().map(|(name, held)| (held.order, name)).collect();
        held.sort();
        held.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Holds everything to the last good revision from now on, whatever of a newer one was applied already.
    pub(crate) fn hold_good(&mut self) {
        if let Some(good) = self.good.clone() {
            for component in &good.components {
                self.hold(&good, &component.name);
            }
        }
    }

    /// Records that a component of `deployment` runs, or is to run.
    pub(crate) fn hold(&mut self, deployment: &Deployment, name: &ComponentName) {
        let place = deployment.components.iter().position(|component| component.name == *name);
        let Some((order, component)) = place.and_then(|i| Some((i, deployment.components.get(i)?)))
        else {
            return;
        };
        self.held.insert(
            name.clone(),
            Held {
                revision: deployment.revision.clone(),
                order: u32::try_from(order).unwrap_or(u32::MAX),
                component: component.clone(),
            },
        );
    }

    /// Remembers why it failed; a repetition of the same failure changes nothing durable (I10).
    pub(crate) fn blame(&mut self, failure: &Failure) {
        let same = |old: &Failure| old.code == failure.code && old.component == failure.component;
        if !self.failure.as_ref().is_some_and(same) {
            self.failure = Some(Failure { retry_after_ms: None, ..failure.clone() });
        }
    }
}
