//! The record of one change of one sub-machine: it becomes the log line, the local event, and the transcript.

use crate::failure::Failure;
use crate::ids::{ComponentName, DeploymentId};
use core::fmt;

/// Which sub-machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MachineName {
    /// From first power-on to being known to the WFM.
    Onboarding,
    /// Accepting desired state.
    Sync,
    /// One deployment's life.
    Workload,
    /// The outbox of status reports.
    Report,
    /// The firmware slot.
    Firmware,
    /// The connection to the container engine.
    Engine,
}

impl MachineName {
    /// Lowercase name for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarding => "onboarding",
            Self::Sync => "sync",
            Self::Workload => "workload",
            Self::Report => "report",
            Self::Firmware => "firmware",
            Self::Engine => "engine",
        }
    }
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, )*) => {
        /// Why a state changed, or why an event changed nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Why { $( $(#[$doc])* $name, )* }

        impl Why {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// A few words for logs and transcripts.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

reasons! {
    /// The agent started.
    Started = "started",
    /// The agent started and its durable state was unreadable.
    StateLost = "state lost",
    /// One copy of the durable state had to be healed.
    StateHealed = "state healed",
    /// The desired state that ships in the image was taken.
    Preloaded = "preloaded",
    /// Key and SVID are usable.
    IdentityLoaded = "identity loaded",
    /// Key and SVID now stand for another relationship.
    IdentityReplaced = "identity replaced",
    /// Key, SVID, bundle or endpoint may have changed.
    IdentityChanged = "identity changed",
    /// There is a trust bundle.
    TrustLoaded = "trust loaded",
    /// The WFM took the capabilities.
    CapabilitiesAccepted = "capabilities accepted",
    /// The capabilities differ from those the WFM has.
    CapabilitiesChanged = "capabilities changed",
    /// A poll is due.
    PollDue = "poll due",
    /// The WFM has nothing new.
    Unchanged = "unchanged",
    /// The WFM has another manifest.
    ManifestReceived = "manifest received",
    /// The manifest's version is not greater than the accepted one: a security event (R125).
    ManifestOlder = "manifest older",
    /// The manifest with all its artifacts was accepted.
    Accepted = "accepted",
    /// A revision became desired.
    Desired = "desired",
    /// The accepted manifest lists the deployment no longer.
    Dropped = "dropped",
    /// Everything the revision needs is stored.
    Prepared = "prepared",
    /// It is this workload's turn.
    Turn = "turn",
    /// A component runs.
    ComponentApplied = "component applied",
    /// A component was brought back.
    ComponentRestored = "component restored",
    /// What no longer belongs is gone.
    Pruned = "pruned",
    /// All of it is gone.
    Removed = "removed",
    /// An attempt failed.
    Failed = "failed",
    /// Another deployment of the group failed.
    GroupFailed = "group failed",
    /// What runs differs from what is desired.
    MismatchFound = "mismatch found",
    /// It is as desired again.
    Recovered = "recovered",
    /// The container engine answers.
    EngineReady = "engine ready",
    /// The container engine went away, or has been away for too long.
    EngineLost = "engine lost",
    /// A new status is waiting to be sent.
    StatusChanged = "status changed",
    /// The WFM took the report.
    ReportAccepted = "report accepted",
    /// The WFM rejected the report for good.
    ReportRejected = "report rejected",
    /// The booted slot was observed.
    BootObserved = "boot observed",
    /// The bundle is in the other slot.
    Installed = "installed",
    /// The other slot is the next one to boot.
    SlotActivated = "slot activated",
    /// Everything that worked before works in the trial.
    Healthy = "healthy",
    /// Something that worked before did not work by the trial's deadline.
    Unhealthy = "unhealthy",
    /// An operator judged the trial.
    Judged = "judged",
    /// The new slot is committed.
    Committed = "committed",
    /// The device runs from the old slot again.
    RolledBack = "rolled back",
    /// Firmware is under way: no desired state is accepted meanwhile.
    FirmwareFirst = "firmware first",
    /// Nobody wants the firmware any more.
    Unwanted = "unwanted",
    /// The installation was taken back before it was booted.
    Discarded = "discarded",
    /// An operator wants the other slot.
    RollbackRequested = "rollback requested",
    /// An operator asked for it.
    Requested = "requested",
    /// The outcome of an effect nobody waits for any more.
    Stale = "stale",
    /// Nothing to do here.
    Ignored = "ignored",
}

/// One change, or one event that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub machine: MachineName,
    /// Which deployment's, for workload and report.
    pub subject: Option<DeploymentId>,
    /// Which component it is about, if one.
    pub component: Option<ComponentName>,
    /// Name of the state before.
    pub prev: &'static str,
    /// Name of the state after; equal to `prev` when nothing changed.
    pub next: &'static str,
    /// The reason.
    pub why: Why,
    /// The failure behind it, if one.
    pub failure: Option<Failure>,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine.as_str())?;
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        if let Some(component) = &self.component {
            write!(f, "/{component}")?;
        }
        write!(f, ": {} -> {} ({})", self.prev, self.next, self.why.as_str())?;
        match &self.failure {
            Some(failure) => write!(f, ": {failure}"),
            None => Ok(()),
        }
    }
}

/// One allowed change of a sub-machine, for diagrams and for checking that no other happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// State before.
    pub prev: &'static str,
    /// Reason.
    pub why: Why,
    /// State after.
    pub next: &'static str,
}

/// Shorthand for tables of edges.
pub(crate) const fn edge(prev: &'static str, why: Why, next: &'static str) -> Edge {
    Edge { prev, why, next }
}
