//! What the machine asks for, and how it ended.
//!
//! An effect is an order in the imperative, idempotent by contract: the executor may be killed at any point of it
//! and be given the same order again.

use crate::desired::DesiredState;
use crate::failure::Failure;
use crate::ids::{ComponentName, DeploymentId, Digest, IdentityKey, ManifestVersion};
use crate::ids::{SlotName, TransactionId};
use crate::report::Report;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Work for the executor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read and validate key, SVID and configuration. Ends with [`Outcome::IdentityLoaded`].
    LoadIdentity,
    /// Read or fetch the trust bundle. Ends with [`Outcome::TrustLoaded`].
    LoadTrust,
    /// Send the capabilities whose digest is given (R100). Ends with [`Outcome::CapabilitiesAccepted`].
    PutCapabilities {
        /// Digest of the document to send.
        capabilities: Digest,
    },
    /// Connect to the container engine and watch its events. Ends with [`Outcome::EngineReady`].
    ConnectEngine,
    /// Ask for the state manifest (R120). Ends with [`Outcome::ManifestUnchanged`] or
    /// [`Outcome::ManifestReceived`].
    PollManifest {
        /// Sent as `If-None-Match`.
        etag: Option<String>,
    },
    /// Fetch, verify and durably store every deployment of the manifest just received (R122). Ends with
    /// [`Outcome::DeploymentsFetched`].
    FetchDeployments {
        /// The manifest's own digest.
        manifest: Digest,
    },
    /// Obtain and check everything a revision needs, without touching what runs. Ends with
    /// [`Outcome::DeploymentPrepared`].
    PrepareDeployment {
        /// Which deployment.
        deployment: DeploymentId,
        /// Which revision.
        revision: Digest,
    },
    /// Make one component run as its revision says, leaving alone what already does. Ends with
    /// [`Outcome::ComponentApplied`].
    ApplyComponent {
        /// Which deployment.
        deployment: DeploymentId,
        /// Which revision.
        revision: Digest,
        /// Which component.
        component: ComponentName,
        /// Whether to wait until it runs (R151).
        wait: bool,
        /// Longest time, in milliseconds (R152).
        timeout_ms: u64,
    },
    /// Compare what runs with what is held, changing nothing. Ends with [`Outcome::DeploymentObserved`].
    ObserveDeployment {
        /// Which deployment.
        deployment: DeploymentId,
        /// Each component and the revision it is held to.
        held: Vec<(ComponentName, Digest)>,
    },
    /// Remove everything of a deployment that belongs to other components than these. Ends with
    /// [`Outcome::DeploymentPruned`].
    PruneDeployment {
        /// Which deployment.
        deployment: DeploymentId,
        /// Components to leave alone.
        keep: Vec<ComponentName>,
    },
    /// Remove everything of a deployment (I5). Ends with [`Outcome::DeploymentRemoved`].
    RemoveDeployment {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// Send a status report (R133). Ends with [`Outcome::ReportAccepted`].
    SendReport {
        /// What to send.
        report: Arc<Report>,
    },
    /// Delete stored artifacts that no revision in `State::revisions` needs. Ends with
    /// [`Outcome::GarbageCollected`].
    CollectGarbage,
    /// Find the bundle and read what it is, with its signature verified, writing no slot. Ends with
    /// [`Outcome::FirmwarePrepared`].
    PrepareFirmware {
        /// Where it comes from.
        source: FirmwareSource,
    },
    /// Write the bundle to the other slot and make that slot the next one to boot, on trial. Given again for the same
    /// transaction, it joins an installation under way or finds it done. Ends with [`Outcome::FirmwareInstalled`];
    /// after any failure the booted slot is the next one to boot.
    InstallFirmware {
        /// Kept by RAUC in the slot's status.
        transaction: TransactionId,
        /// Where it comes from.
        source: FirmwareSource,
        /// What was found by preparing; a bundle that has become another one is a failure.
        bundle: Bundle,
        /// The slot it goes to.
        target: SlotName,
    },
    /// Make the booted slot the next one to boot, and the other one not bootable: an installation nobody wants any
    /// more. Ends with [`Outcome::SlotMarked`].
    DiscardFirmware,
    /// Look at everything about the device, apart from workloads, that a trial is judged by. Ends with
    /// [`Outcome::SystemChecked`].
    CheckSystem,
    /// Mark the booted slot good (commit). Ends with [`Outcome::SlotMarked`]; a failure means that it was looked at
    /// afterwards and is not good.
    CommitSlot,
    /// Mark the booted slot bad, so that the next boot leaves it. A slot that is committed is not marked, which is a
    /// failure (I9). Ends with [`Outcome::SlotMarked`].
    RejectSlot,
    /// Make the other slot the next one to boot, if it is bootable. Ends with [`Outcome::SlotMarked`].
    ActivateOther,
    /// Restart the device in good order. It comes back only as a failure.
    Reboot,
}

/// Where a firmware bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareSource {
    /// The artifact that a stored deployment document names.
    Deployment {
        /// Which deployment.
        deployment: DeploymentId,
        /// Which revision.
        revision: Digest,
    },
    /// A path on the device or a URL, given by an operator.
    Location {
        /// As RAUC takes it.
        location: String,
    },
}

/// What a bundle says of itself, its signature verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bundle {
    /// Version of the firmware in it.
    pub version: String,
    /// Digest of its manifest, by which it is recognised; `None` where RAUC does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// The head of a manifest whose form is valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ManifestHead {
    /// Its version.
    pub version: ManifestVersion,
    /// Digest of its exact bytes.
    pub manifest: Digest,
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Key and SVID are usable.
    IdentityLoaded {
        /// The relationship they stand for.
        identity: IdentityKey,
    },
    /// There is a trust bundle to verify the WFM with.
    TrustLoaded,
    /// The WFM took the capabilities.
    CapabilitiesAccepted,
    /// The engine answers and its events are being watched.
    EngineReady,
    /// The manifest is the one we have (304).
    ManifestUnchanged,
    /// There is another manifest.
    ManifestReceived {
        /// Its head.
        head: ManifestHead,
    },
    /// Every deployment of the manifest is verified and on stable storage.
    DeploymentsFetched {
        /// The new desired state.
        desired: DesiredState,
    },
    /// Everything the revision needs is on stable storage.
    DeploymentPrepared,
    /// The component runs as desired.
    ComponentApplied,
    /// What runs was compared with what is held.
    DeploymentObserved {
        /// One failure for each component that differs; empty when all is right.
        mismatches: Vec<Failure>,
    },
    /// Only the kept components are left.
    DeploymentPruned,
    /// Nothing of the deployment is left.
    DeploymentRemoved,
    /// The WFM took the report.
    ReportAccepted,
    /// Unneeded artifacts are gone.
    GarbageCollected,
    /// The bundle is there and is meant for this device.
    FirmwarePrepared {
        /// What it is.
        bundle: Bundle,
    },
    /// The bundle is in the slot, and the slot is the next one to boot.
    FirmwareInstalled,
    /// The device apart from its workloads was looked at.
    SystemChecked {
        /// Everything that is not as it must be; empty when all is right.
        failures: Vec<Failure>,
    },
    /// The slot is marked.
    SlotMarked,
    /// The effect failed.
    Failed {
        /// Why.
        failure: Failure,
    },
}
