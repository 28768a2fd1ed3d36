//! What a person may know of the firmware: for `margoctl firmware status`.

use super::gate::{Health, Surroundings};
use super::live::Live;
use super::{Attempt, Firmware, Origin, Phase};
use crate::failure::Failure;
use crate::ids::{DeploymentId, SlotName, TransactionId};
use crate::policy::Policy;

/// The firmware at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// Name of the state: `unmanaged`, `idle`, or the attempt's phase.
    pub state: &'static str,
    /// The booted slot, if one is known.
    pub slot: Option<&'a SlotName>,
    /// The other one.
    pub other: Option<&'a SlotName>,
    /// Whether the booted slot is committed.
    pub committed: bool,
    /// Version of the running firmware, where it tells one.
    pub version: Option<&'a str>,
    /// The attempt under way.
    pub update: Option<UpdateView<'a>>,
    /// The latest failure or refusal since the agent started.
    pub last_failure: Option<&'a Failure>,
    /// Attempts that failed, oldest first.
    pub history: &'a [Attempt],
}

/// The attempt under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateView<'a> {
    /// Its name, also in RAUC's slot status.
    pub transaction: &'a TransactionId,
    /// Who wanted it.
    pub origin: &'a Origin,
    /// How far it is.
    pub phase: Phase,
    /// The version it brings, once that is known.
    pub version: Option<&'a str>,
    /// The slot a fallback comes back to.
    pub from: Option<&'a SlotName>,
    /// The slot it goes to.
    pub target: Option<&'a SlotName>,
    /// Workloads it is judged by.
    pub baseline: &'a [DeploymentId],
    /// Early: why the last attempt to prepare failed. Later: why the slot is left.
    pub failure: Option<&'a Failure>,
    /// In a trial: when it ends at the latest, in milliseconds since the boot.
    pub deadline_ms: Option<u64>,
    /// In a trial: since when everything is healthy, in milliseconds since the boot.
    pub healthy_since_ms: Option<u64>,
    /// In a trial: what keeps it from being committed, if something is broken.
    pub unhealthy: Option<Failure>,
    /// When the present operation is tried again, in milliseconds since the boot.
    pub retry_at_ms: Option<u64>,
}

impl Firmware {
    /// What a person may know.
    pub(crate) fn view<'a>(
        &'a self,
        live: &'a Live,
        around: &Surroundings<'_>,
        policy: &Policy,
    ) -> View<'a> {
        let is_trial = self.update.as_ref().is_some_and(|update| update.phase == Phase::Trial);
        let unhealthy = match self.health(live, around) {
            Health::Broken(failure) if is_trial => Some(failure),
            Health::Broken(_) | Health::Good | Health::Pending => None,
        };
        let boot = live.boot.as_ref();
        View {
            state: self.as_str(),
            slot: boot.map(|boot| &boot.slot),
            other: boot.and_then(|boot| boot.other.as_ref()),
            committed: boot.is_some_and(|boot| boot.committed),
            version: boot.and_then(|boot| boot.version.as_deref()),
            update: self.update.as_ref().map(|update| UpdateView {
                transaction: &update.transaction,
                origin: &update.origin,
                phase: update.phase,
                version: update.bundle.as_ref().map(|bundle| bundle.version.as_str()),
                from: update.from.as_ref(),
                target: update.target.as_ref(),
                baseline: &update.baseline,
                failure: update.failure.as_ref(),
                deadline_ms: matches!(update.phase, Phase::Trial | Phase::Committing)
                    .then(|| live.deadline_ms(policy)),
                healthy_since_ms: live.healthy_since_ms,
                unhealthy,
                retry_at_ms: live.retry_at_ms,
            }),
            last_failure: live.last_failure.as_ref(),
            history: &self.history,
        }
    }
}
