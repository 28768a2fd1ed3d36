//! Sub-machine: firmware, from being wanted to being committed or left again.
//!
//! There is one attempt at a time, [`Update`]. What it is and which slot it goes to is durable before anything is
//! written to a slot (I1), so that after a power cut at any point the booted slot and the record together tell what
//! happened. A slot is judged by what worked before (`gate`); only a committed slot counts as installed (I8, I9).
//! Deployments of firmware have a record each, [`FirmwareRecord`], of which one is acted on.

mod boot;
mod gate;
mod live;
mod operator;
mod outcome;
mod records;
mod report;
mod schedule;
mod transitions;
mod version;
mod view;

pub(crate) use gate::Surroundings;
pub use live::{Job, JobKind, Live};
pub(crate) use report::{removed, status_of};
pub use transitions::EDGES;
pub use version::compare;
pub use view::{UpdateView, View};

use crate::desired::Deployment;
use crate::effect::{Bundle, FirmwareSource};
use crate::failure::Failure;
use crate::ids::{BootId, DeploymentId, Digest, ManifestVersion, SlotName, TransactionId};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Most failed attempts remembered; the oldest goes first (I11).
pub const HISTORY_MAX: usize = 4;

/// Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Firmware {
    /// What was booted.
    pub booted: Booted,
    /// Deployments of firmware. At most one of them is acted on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deployments: BTreeMap<DeploymentId, FirmwareRecord>,
    /// The attempt under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// The last attempts that failed, oldest first; at most [`HISTORY_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
    /// Attempts so far: part of their ids.
    pub transactions: u64,
}

/// What was booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booted {
    /// No A/B slots here, or nobody told us.
    #[default]
    Unmanaged,
    /// A committed slot.
    Committed {
        /// RAUC's name of it.
        slot: SlotName,
    },
    /// A slot that is not committed.
    Trial {
        /// RAUC's name of it.
        slot: SlotName,
    },
}

/// How far an attempt is. Durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The bundle is being found and looked at.
    Preparing,
    /// It may be installed as soon as the workloads are settled and the hours permit.
    Ready,
    /// It is being written to the other slot.
    Installing,
    /// The other slot is the next one to boot; the restart is still to come.
    Installed,
    /// The other slot, as it is, is being made the next one to boot, because an operator said so.
    Returning,
    /// The booted slot is being made the next one to boot again: nobody wants the installation any more.
    Discarding,
    /// The new slot runs and is being judged.
    Trial,
    /// It was found good and is being marked so.
    Committing,
    /// It was found bad: it is being marked so, and left.
    Rejecting,
}

impl Phase {
    /// Lowercase name for logs, transcripts and diagrams.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Returning => "returning",
            Self::Discarding => "discarding",
            Self::Trial => "trial",
            Self::Committing => "committing",
            Self::Rejecting => "rejecting",
        }
    }

    /// Whether nothing of the device has been touched yet.
    pub(crate) const fn is_early(self) -> bool {
        matches!(self, Self::Preparing | Self::Ready)
    }
}

/// Who wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The desired state.
    Deployment {
        /// Which deployment.
        id: DeploymentId,
        /// Which revision.
        revision: Digest,
    },
    /// An operator named a bundle.
    Operator {
        /// Path or URL, as RAUC takes it.
        location: String,
    },
    /// An operator wanted the other slot as it is.
    Rollback,
    /// Nobody here: a slot on trial was booted that this agent did not install, or has forgotten.
    Foreign,
}

/// One attempt, from the wish to the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Update {
    /// Its name, unique on this device.
    pub transaction: TransactionId,
    /// Who wanted it.
    pub origin: Origin,
    /// How far it is.
    pub phase: Phase,
    /// What was found by preparing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// The slot that ran when it was installed, and that a fallback comes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SlotName>,
    /// The slot it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SlotName>,
    /// The boot in which the installation ended: any other one is the restart that was to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
    /// Workloads that ran as they should before. Only these are judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<DeploymentId>,
    /// The container engine worked before.
    #[serde(default)]
    pub engine: bool,
    /// Early: why the last attempt to prepare failed. Later: why the slot is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Update {
    /// Where its bundle comes from, if it needs one.
    pub(crate) fn source(&self) -> Option<FirmwareSource> {
        match &self.origin {
            Origin::Deployment { id, revision } => Some(FirmwareSource::Deployment {
                deployment: id.clone(),
                revision: revision.clone(),
            }),
            Origin::Operator { location } => {
                Some(FirmwareSource::Location { location: location.clone() })
            }
            Origin::Rollback | Origin::Foreign => None,
        }
    }

    /// Whether it is an attempt at a deployment, at whichever revision.
    pub(crate) fn is_of(&self, deployment: &DeploymentId) -> bool {
        matches!(&self.origin, Origin::Deployment { id, .. } if id == deployment)
    }
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Its name.
    pub transaction: TransactionId,
    /// Who wanted it.
    pub origin: Origin,
    /// The version it was to bring, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why.
    pub failure: Failure,
}

/// What became of a deployment's present revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is, or is going to be, attempted.
    Open,
    /// It runs, committed.
    Installed {
        /// From this slot.
        slot: SlotName,
        /// With this version.
        version: String,
    },
    /// It failed. It is not attempted again unless it is named anew (I9).
    Failed,
    /// Another deployment is the one that is acted on.
    Surplus,
}

/// One firmware deployment's durable record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FirmwareRecord {
    /// The last revision an accepted manifest listed.
    pub desired: Arc<Deployment>,
    /// The manifest version that no longer lists it, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_by: Option<ManifestVersion>,
    /// Version of the newest revision that was begun to be installed (R187).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<ManifestVersion>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Firmware {
    /// Lowercase name of the state: the attempt's phase, or what is booted while there is none.
    pub const fn as_str(&self) -> &'static str {
        match (&self.update, &self.booted) {
            (Some(update), _) => update.phase.as_str(),
            (None, Booted::Unmanaged) => "unmanaged",
            (None, Booted::Committed { .. }) => "idle",
            // A slot on trial always has an attempt.
            (None, Booted::Trial { .. }) => "trial",
        }
    }

    /// Whether a new desired state may be accepted: not while a slot is written, changed or judged.
    pub(crate) fn may_sync(&self) -> bool {
        self.update.as_ref().is_none_or(|update| update.phase.is_early())
    }

    /// Every revision whose documents must be kept.
    pub fn revisions(&self) -> impl Iterator<Item = &Digest> {
        let attempted = self.update.as_ref().and_then(|update| match &update.origin {
            Origin::Deployment { revision, .. } => Some(revision),
            Origin::Operator { .. } | Origin::Rollback | Origin::Foreign => None,
        });
        self.deployments.values().map(|record| &record.desired.revision).chain(attempted)
    }
}
