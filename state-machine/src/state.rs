//! The machine's whole state: what survives a power cut and what does not.

use crate::engine::Engine;
use crate::firmware::{self, Firmware, Surroundings};
use crate::ids::{DeploymentId, Digest, EffectId};
use crate::onboarding::{self, Onboarding};
use crate::policy::Policy;
use crate::report::{self, Outbox};
use crate::sync::{self, Sync};
use crate::workload::{self, Workload};
use alloc::collections::{BTreeMap, BTreeSet};
use serde::{Deserialize, Serialize};

/// The version of [`Durable`]'s layout. Raised when an older reader would misread a newer document.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Written to stable storage whenever it changes.
    pub durable: Durable,
    /// Forgotten whenever the agent ends.
    pub live: Live,
}

/// What survives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Durable {
    /// Who the device is to the WFM.
    pub onboarding: Onboarding,
    /// What was accepted.
    pub sync: Sync,
    /// Every deployment that should run, runs, or is not yet removed.
    pub workloads: BTreeMap<DeploymentId, Workload>,
    /// What the WFM is to be told.
    pub outbox: Outbox,
    /// Firmware: what is booted, what is deployed, the attempt under way.
    pub firmware: Firmware,
}

/// What does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Live {
    /// The last effect id given out.
    pub next_effect: u64,
    /// Onboarding.
    pub onboarding: onboarding::Live,
    /// Sync.
    pub sync: sync::Live,
    /// Workloads, by the same keys as the durable ones.
    pub workloads: BTreeMap<DeploymentId, workload::Live>,
    /// Reports.
    pub report: report::Live,
    /// Firmware.
    pub firmware: firmware::Live,
    /// The container engine.
    pub engine: Engine,
    /// Artifacts may have become unneeded.
    pub garbage: bool,
    /// Their removal is under way.
    pub collecting: Option<EffectId>,
}

impl Durable {
    /// Every revision whose artifacts must be kept.
    pub fn revisions(&self) -> BTreeSet<&Digest> {
        let workloads = self.workloads.values().flat_map(Workload::revisions);
        workloads.chain(self.firmware.revisions()).collect()
    }
}

impl State {
    /// The state of an agent that starts with this durable part.
    pub fn with_durable(durable: Durable) -> Self {
        Self { durable, live: Live::default() }
    }

    /// What a person may know of the firmware.
    pub fn firmware(&self, policy: &Policy) -> firmware::View<'_> {
        let around = Surroundings {
            workloads: &self.durable.workloads,
            live: &self.live.workloads,
            engine_connected: self.live.engine.connected,
            engine_lost: false,
            sync_idle: self.live.sync.stage == sync::Stage::Idle,
            may_run: true,
        };
        self.durable.firmware.view(&self.live.firmware, &around, policy)
    }

    /// What people call the device's stage: the onboarding stage, or `synced`.
    pub fn stage(&self) -> &'static str {
        let onboarding = self.live.onboarding.stage;
        let synced = onboarding == onboarding::Stage::Registered
            && self.live.sync.contacted
            && self.durable.sync.accepted.is_some();
        if synced { "synced" } else { onboarding.as_str() }
    }
}
