//! What the agent tells about itself. Plain data; the driver fills it in.
//!
//! Times are milliseconds since 1970 and absent where the clock was not to be trusted.

use super::firmware::FirmwareStatus;
use super::protocol::{ApiError, ApiErrorKind};
use crate::provision::Attempt;
use serde::{Deserialize, Serialize};

/// The whole agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub agent_version: String,
    /// How far onboarding has come.
    pub stage: Stage,
    /// What the next stage lacks, for a person; `None` when there is no next one.
    pub lacking: Option<String>,
    /// The last attempt to provision the device since its boot.
    #[serde(default)]
    pub provisioning: Option<Attempt>,
    /// Device id given to the fleet manager.
    pub device_id: String,
    /// The device's own identity.
    pub identity: IdentityStatus,
    /// The fleet manager.
    pub wfm: WfmStatus,
    /// The accepted manifest version; `None` before the first.
    pub manifest_version: Option<u64>,
    /// The durable state.
    pub store: StoreStatus,
    /// Deployments, counted.
    pub workloads: WorkloadsSummary,
    /// The firmware, where it is the agent's to update.
    #[serde(default)]
    pub firmware: Option<Box<FirmwareStatus>>,
    /// Reports waiting to be sent.
    pub outbox_len: u64,
    /// Milliseconds until the agent next does something by itself; `None` = not before an event.
    pub next_wake_ms: Option<u64>,
    /// The wall clock.
    pub clock: ClockStatus,
}

/// Stages of onboarding, each including the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No usable identity or fleet manager address.
    Unprovisioned,
    /// Identity and address are there.
    Provisioned,
    /// The trust bundle is valid and fresh.
    Trusted,
    /// The fleet manager accepted the capabilities.
    Registered,
    /// The desired state was received.
    Synced,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 5] =
        [Self::Unprovisioned, Self::Provisioned, Self::Trusted, Self::Registered, Self::Synced];

    /// The word in the protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unprovisioned => "unprovisioned",
            Self::Provisioned => "provisioned",
            Self::Trusted => "trusted",
            Self::Registered => "registered",
            Self::Synced => "synced",
        }
    }
}

/// The device's X.509-SVID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityStatus {
    /// SPIFFE id.
    pub spiffe_id: Option<String>,
    /// End of validity.
    pub not_after_unix_ms: Option<u64>,
    /// Why there is none, or why it cannot be used.
    pub error: Option<String>,
}

/// The fleet manager, as seen from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WfmStatus {
    /// Configured address.
    pub url: Option<String>,
    /// When it last answered.
    pub last_contact_unix_ms: Option<u64>,
    /// The last failure, if nothing succeeded since.
    pub last_error: Option<FailureStatus>,
}

/// A failure with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// Stable code.
    pub code: String,
    /// Details.
    pub message: String,
    /// What a person can do.
    pub next_action: String,
}

impl From<&state_machine::failure::Failure> for FailureStatus {
    fn from(failure: &state_machine::failure::Failure) -> Self {
        Self {
            code: failure.code.as_str().to_owned(),
            message: failure.message.clone(),
            next_action: failure.code.next_action().to_owned(),
        }
    }
}

/// In what state the durable state was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum StoreStatus {
    /// Nothing was ever saved.
    Fresh,
    /// Fine.
    Intact,
    /// One copy was damaged and has been healed.
    Healed {
        /// Which, and what was wrong.
        detail: String,
    },
    /// One copy is damaged and cannot be healed.
    Unhealed {
        /// Which, what is wrong, and why it stays so.
        detail: String,
    },
    /// Both copies were lost.
    Lost {
        /// What is wrong with each.
        detail: String,
    },
}

impl From<&crate::store::Condition> for StoreStatus {
    fn from(condition: &crate::store::Condition) -> Self {
        use crate::store::Condition;
        match condition {
            Condition::Fresh => Self::Fresh,
            Condition::Intact => Self::Intact,
            Condition::Healed { damaged_file, reason } => {
                Self::Healed { detail: format!("{damaged_file}: {reason}") }
            }
            Condition::Unhealed { damaged_file, reason, error } => {
                let error = crate::logging::ErrorChain(error);
                Self::Unhealed { detail: format!("{damaged_file}: {reason}; {error}") }
            }
            Condition::Lost { reasons } => Self::Lost { detail: reasons.join("; ") },
        }
    }
}

/// Deployments, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadsSummary {
    /// Listed by the accepted desired state.
    pub desired: u32,
    /// Of these: at their desired revision and running.
    pub installed: u32,
    /// Being worked on.
    pub changing: u32,
    /// Failed, whatever is done about it.
    pub failed: u32,
}

/// The wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Not before a time known to have passed.
    pub is_trusted: bool,
    /// What it says.
    pub wall_unix_ms: u64,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    /// UUID given by the fleet manager.
    pub id: String,
    /// Name from its metadata; empty if it cannot be read.
    pub name: String,
    /// Digest of the desired revision; `None` when it is to be removed.
    pub desired: Option<String>,
    /// Digest of the revision that is on the device.
    pub held: Option<String>,
    /// Margo's state: `pending`, `installing`, `installed`, `failed`, `removing`, `removed`.
    pub state: String,
    /// What the agent is doing inside that state.
    pub phase: String,
    /// Its components.
    pub components: Vec<ComponentStatus>,
    /// Why it failed, if it did.
    pub error: Option<FailureStatus>,
    /// Attempts at the desired revision.
    pub attempts: u32,
    /// Milliseconds until the next one; `None` = none is planned.
    pub next_retry_ms: Option<u64>,
}

/// One component of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Name.
    pub name: String,
    /// Margo's state.
    pub state: String,
    /// Why it failed, if it did.
    pub error: Option<FailureStatus>,
    /// Its containers.
    pub containers: Vec<ContainerStatus>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Name on the engine.
    pub name: String,
    /// Service in the compose file.
    pub service: String,
    /// Image as pinned.
    pub image: String,
    /// Engine's state: `running`, `exited`, ….
    pub state: String,
    /// Health check's result, if it has one.
    pub health: Option<String>,
    /// Exit code, if it has ended.
    pub exit_code: Option<i64>,
    /// Times the engine restarted it.
    pub restarts: u64,
}

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one with each; starts anew with the agent.
    pub seq: u64,
    /// When.
    pub time_unix_ms: Option<u64>,
    /// Sub-machine: `onboarding`, `sync`, `workload`, `firmware`, `report`.
    pub machine: String,
    /// What it is about, for example a deployment's id; may be empty.
    pub subject: String,
    /// State before.
    pub prev: String,
    /// State after.
    pub next: String,
    /// What caused it.
    pub why: String,
    /// Details; may be empty.
    pub detail: String,
}

/// Which of a container's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Component.
    pub component: String,
    /// Service.
    pub service: String,
    /// Output.
    pub stream: LogStream,
    /// Time as the engine has it, RFC 3339; may be empty.
    pub time: String,
    /// The line, without its end; long ones are cut.
    pub text: String,
}

/// Shortest beginning of an id that stands for it.
const ID_PREFIX_CHARS_MIN: usize = 4;

/// The deployment a person means: by id, name, or beginning of an id.
///
/// # Errors
/// [`ApiErrorKind::NotFound`] when there is none, or more than one.
pub fn select_deployment<'a>(
    deployments: &'a [DeploymentStatus],
    text: &str,
) -> Result<&'a DeploymentStatus, ApiError> {
    let not_found = |message| Err(ApiError::new(ApiErrorKind::NotFound, message));
    if let Some(found) = deployments.iter().find(|deployment| deployment.id == text) {
        return Ok(found);
    }
    let is_prefix = |id: &str| text.len() >= ID_PREFIX_CHARS_MIN && id.starts_with(text);
    let found: Vec<_> = deployments.iter().filter(|d| d.name == text || is_prefix(&d.id)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => not_found(format!("there is no deployment {text:?}")),
        several => {
            let ids: Vec<_> = several.iter().map(|deployment| deployment.id.as_str()).collect();
            not_found(format!("{text:?} is more than one deployment: {}", ids.join(", ")))
        }
    }
}
