//! Sub-machine: the firmware slot. Here it only knows which slot was booted and whether it is committed.
//!
//! While the booted slot is on trial nothing new is accepted, so that whatever goes wrong is the firmware's doing.

use crate::event::BootSlot;
use crate::ids::SlotName;
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};
use serde::{Deserialize, Serialize};

/// Every change of the firmware machine.
pub const EDGES: &[Edge] = &[
    edge("unmanaged", Why::BootObserved, "idle"),
    edge("unmanaged", Why::BootObserved, "trial"),
    edge("idle", Why::BootObserved, "trial"),
    edge("idle", Why::BootObserved, "unmanaged"),
    edge("trial", Why::BootObserved, "idle"),
    edge("trial", Why::BootObserved, "unmanaged"),
];

/// Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// No A/B slots here, or nobody told us.
    #[default]
    Unmanaged,
    /// A committed slot is booted.
    Idle {
        /// RAUC's name of it.
        slot: SlotName,
    },
    /// A slot that is not committed is booted.
    Trial {
        /// RAUC's name of it.
        slot: SlotName,
    },
}

impl Firmware {
    /// Lowercase name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unmanaged => "unmanaged",
            Self::Idle { .. } => "idle",
            Self::Trial { .. } => "trial",
        }
    }

    /// Whether a new desired state may be accepted.
    pub(crate) const fn may_sync(&self) -> bool {
        match self {
            Self::Unmanaged | Self::Idle { .. } => true,
            Self::Trial { .. } => false,
        }
    }

    /// The booted slot was observed. "Idle" is only ever a committed slot (I9).
    pub(crate) fn on_boot(&mut self, boot: Option<&BootSlot>, cx: &mut Cx<'_>) {
        let next = match boot {
            None => Self::Unmanaged,
            Some(boot) if boot.committed => Self::Idle { slot: boot.slot.clone() },
            Some(boot) => Self::Trial { slot: boot.slot.clone() },
        };
        if next != *self {
            let prev = core::mem::replace(self, next);
            if prev.as_str() != self.as_str() {
                cx.transitions.push(Transition {
                    machine: MachineName::Firmware,
                    subject: None,
                    component: None,
                    prev: prev.as_str(),
                    next: self.as_str(),
                    why: Why::BootObserved,
                    failure: None,
                });
            }
        }
    }
}
