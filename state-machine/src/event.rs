//! Everything that can happen, in the past tense: facts, never orders.

use crate::desired::DesiredState;
use crate::effect::Outcome;
use crate::ids::{BootId, DeploymentId, Digest, EffectId, SlotName};
use alloc::string::String;

/// A fact the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent started; everything that is not durable is forgotten.
    Started {
        /// What was found.
        observation: Observation,
    },
    /// `wake_at_ms` was reached. Harmless at any other time.
    TimerElapsed,
    /// An effect ended.
    EffectFinished {
        /// Which.
        id: EffectId,
        /// How.
        outcome: Outcome,
    },
    /// The container engine went away.
    EngineDisconnected,
    /// The engine reported a change of a deployment's containers, whoever caused it.
    WorkloadChanged {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// Key, SVID, trust bundle or endpoint may have changed.
    IdentityChanged,
    /// The device's capabilities now have this digest.
    CapabilitiesChanged {
        /// Digest of the document.
        capabilities: Digest,
    },
    /// The slot the device booted from was looked at again: it may have been committed meanwhile.
    BootObserved {
        /// The slot. `None` only where the firmware is not managed: it ends an attempt under way.
        boot: Option<BootSlot>,
    },
    /// The operator asked for a poll now, or the network came back.
    SyncRequested,
    /// The operator asked for another attempt now.
    RetryRequested {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// An operator wants this bundle installed, here and now.
    FirmwareRequested {
        /// Path or URL, as RAUC takes it.
        location: String,
    },
    /// An operator wants the other slot to run: of a trial, its rejection.
    FirmwareRollbackRequested,
    /// An operator judges the trial, in place of the gate.
    FirmwareJudged {
        /// Commit it, or leave it.
        good: bool,
    },
}

/// What the driver found when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How the durable state was found.
    pub store: StoreCondition,
    /// Digest of the device's capabilities document.
    pub capabilities: Digest,
    /// The desired state that ships in the image, verified and stored, if there is one.
    pub preload: Option<DesiredState>,
    /// The slot the device booted from. `None` only where the firmware is not managed: it ends an attempt under way.
    pub boot: Option<BootSlot>,
}

/// How the durable state was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreCondition {
    /// There never was one.
    Fresh,
    /// Both copies were readable.
    Intact,
    /// One copy was damaged and has been healed from the other.
    Healed,
    /// There was one, and it could not be read. Nothing may be removed because of that (I5).
    Lost,
}

/// The slot the device booted from, and what is known of this boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BootSlot {
    /// The slot.
    pub slot: SlotName,
    /// The slot an installation would write.
    pub other: Option<SlotName>,
    /// Whether the booted slot is marked good.
    pub committed: bool,
    /// This boot.
    pub boot: BootId,
    /// Version of the running firmware, where it tells one.
    pub version: Option<String>,
    /// What the boot loader or the guard noted about a trial that ended, for a person.
    pub note: Option<String>,
}
