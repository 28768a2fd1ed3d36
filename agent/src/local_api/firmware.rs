//! What the firmware's queries carry.

use super::status::FailureStatus;
use serde::{Deserialize, Serialize};

/// The firmware of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareStatus {
    /// Whether it is the agent's to update.
    pub is_managed: bool,
    /// `unmanaged`, `idle`, or the phase of the attempt under way.
    pub state: String,
    /// RAUC's name of the booted slot; `None` until RAUC or the boot environment tells.
    pub slot: Option<String>,
    /// The slot an installation would write.
    pub other: Option<String>,
    /// Whether the booted slot is committed; a slot on trial is not.
    pub is_committed: bool,
    /// Version of the running firmware.
    pub version: Option<String>,
    /// What bundles must be made for.
    pub compatible: Option<String>,
    /// The attempt under way.
    pub update: Option<FirmwareUpdate>,
    /// The latest failure or refusal since the agent started.
    pub last_failure: Option<FailureStatus>,
    /// Attempts that failed, oldest first.
    pub history: Vec<FirmwareAttempt>,
    /// All slots as RAUC has them; empty while it installs or does not answer.
    #[serde(default)]
    pub slots: Vec<FirmwareSlot>,
}

/// An attempt, from the wish to the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareUpdate {
    /// Its name, also in RAUC's slot status.
    pub transaction: String,
    /// Who wanted it, for a person.
    pub origin: String,
    /// How far it is.
    pub phase: String,
    /// The version it brings, once known.
    pub version: Option<String>,
    /// The slot it goes to.
    pub target: Option<String>,
    /// How far the installation is, while there is one.
    pub progress: Option<FirmwareProgress>,
    /// Why preparing failed, what keeps a trial from being committed, or why the slot is left.
    pub failure: Option<FailureStatus>,
    /// In a trial: milliseconds until it ends at the latest.
    pub deadline_in_ms: Option<u64>,
    /// In a trial: milliseconds for which everything has been healthy.
    pub healthy_for_ms: Option<u64>,
    /// Milliseconds until the present operation is tried again.
    pub retry_in_ms: Option<u64>,
}

/// How far an installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareProgress {
    /// 0 to 100.
    pub percent: u8,
    /// In RAUC's words.
    pub message: String,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareAttempt {
    /// Its name.
    pub transaction: String,
    /// The version it was to bring, where known.
    pub version: Option<String>,
    /// Why it failed.
    pub failure: FailureStatus,
}

/// A slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareSlot {
    /// RAUC's name.
    pub name: String,
    /// The boot loader's name.
    pub bootname: String,
    /// The device runs from it.
    pub is_booted: bool,
    /// The next boot takes it.
    pub is_primary: bool,
    /// What the boot loader thinks of it; `None` where unknown.
    pub is_good: Option<bool>,
    /// `ok`, `pending`, `failed`, or empty.
    pub status: String,
    /// Version of the bundle in it.
    pub version: Option<String>,
}
