//! How things fail: three classes the machine acts on, and stable codes that people and WFMs read.

use crate::ids::ComponentName;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest failure message kept, in bytes. Longer ones are cut at a character boundary (I11).
pub const MESSAGE_BYTES_MAX: usize = 512;

/// What the machine does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The same attempt may succeed later: retried with capped exponential back-off.
    Retryable,
    /// The same attempt fails until something outside changes: retried at the longest back-off.
    Permanent,
    /// This device will never do it as asked: not retried until the desired state or the policy changes.
    Refused,
}

macro_rules! codes {
    ($( $variant:ident = $text:literal, $class:ident, $cause:literal, $action:literal; )*) => {
        /// A stable failure code. The text form goes into reports, logs and `margoctl`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String")]
        pub enum Code {
            $( #[doc = $cause] #[serde(rename = $text)] $variant, )*
        }

        impl Code {
            /// Every code, in documentation order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable text, for example `ARTIFACT_PULL_FAILED`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The class a failure with this code has unless the adapter knows better.
            pub const fn class(self) -> FailureClass {
                match self { $(Self::$variant => FailureClass::$class),* }
            }

            /// What happened, for a person.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause),* }
            }

            /// What a person can do next.
            pub const fn next_action(self) -> &'static str {
                match self { $(Self::$variant => $action),* }
            }
        }
    };
}

codes! {
    ArtifactPullFailed = "ARTIFACT_PULL_FAILED", Retryable,
        "An application archive or container image could not be pulled.",
        "Check the network and the registry; the device keeps trying.";
    ArtifactAuthFailed = "ARTIFACT_AUTH_FAILED", Permanent,
        "The registry refused the device's credentials.",
        "Add or correct the registry's entry in the agent's configuration.";
    ArtifactNotFound = "ARTIFACT_NOT_FOUND", Permanent,
        "The registry has no such repository, revision or image.",
        "Push the artifact, or correct the deployment's repository and revision.";
    ArtifactDigestMismatch = "ARTIFACT_DIGEST_MISMATCH", Permanent,
        "Fetched bytes do not have the digest that was promised.",
        "Check the WFM or registry; a proxy that rewrites content also causes this.";
    ArtifactTooLarge = "ARTIFACT_TOO_LARGE", Refused,
        "An artifact is larger than this device accepts.",
        "Make the artifact smaller or raise the limit in the agent's configuration.";
    ArtifactLost = "ARTIFACT_LOST", Retryable,
        "An artifact that was prepared earlier is missing or damaged on this device.",
        "None: it is fetched again. If it repeats, check the storage.";
    ArchiveInvalid = "ARCHIVE_INVALID", Refused,
        "A compose archive breaks a rule of the specification (paths, links, layout, size).",
        "Rebuild the archive; `margoctl check-app` names the entry.";
    ComposeInvalid = "COMPOSE_INVALID", Refused,
        "A compose file cannot be read.",
        "Correct the file; `margoctl check-app` names the place.";
    ComposeUnsupported = "COMPOSE_UNSUPPORTED", Refused,
        "A compose file uses a key or value that this device does not support or permit.",
        "Remove the key, or permit it in the device's policy; `margoctl check-app` lists them all.";
    DeploymentInvalid = "DEPLOYMENT_INVALID", Refused,
        "An ApplicationDeployment document cannot be read or breaks the specification.",
        "Correct the deployment in the WFM.";
    Ineligible = "INELIGIBLE", Refused,
        "The device does not satisfy the deployment's constraints.",
        "Deploy to another device or change the constraints.";
    WrongDevice = "WRONG_DEVICE", Refused,
        "The deployment names another device.",
        "Correct `metadata.deviceId` in the WFM.";
    UnsupportedProfile = "UNSUPPORTED_PROFILE", Refused,
        "The deployment profile's type is not supported by this device.",
        "Use a profile type that the device reports in `supportedDeploymentTypes`.";
    StartFailed = "START_FAILED", Permanent,
        "A container could not be created or started, or exited with an error while starting.",
        "Read the container's log with `margoctl logs`.";
    StartTimeout = "START_TIMEOUT", Permanent,
        "A component did not come up within its timeout.",
        "Read the container's log, or raise the component's `timeout`.";
    Unhealthy = "UNHEALTHY", Retryable,
        "A container runs but its health check fails.",
        "Read the container's log with `margoctl logs`.";
    Mismatch = "MISMATCH", Retryable,
        "What runs differs from what is desired.",
        "None under `mismatch = \"reconcile\"`; else restore it by hand or change the policy.";
    RemoveFailed = "REMOVE_FAILED", Retryable,
        "A container, network or volume could not be removed.",
        "None: it is retried. If it repeats, look at the engine's log.";
    GroupRolledBack = "GROUP_ROLLED_BACK", Permanent,
        "Another deployment of the same manifest failed, and the policy is all-or-nothing.",
        "Look at the deployment that failed.";
    NoSpace = "NO_SPACE", Retryable,
        "The device's storage is full.",
        "Free space or remove applications.";
    StorageFailed = "STORAGE_FAILED", Retryable,
        "The device's storage cannot be read or written.",
        "Look at the disk: `journalctl -k` or `dmesg`. A restart repairs a damaged file system; a worn-out disk must be replaced.";
    EngineUnavailable = "ENGINE_UNAVAILABLE", Retryable,
        "The container engine does not answer.",
        "Check `systemctl status docker`.";
    WfmUnreachable = "WFM_UNREACHABLE", Retryable,
        "The fleet manager cannot be reached.",
        "Check the network and the WFM's address.";
    WfmUntrusted = "WFM_UNTRUSTED", Retryable,
        "The fleet manager's identity could not be verified.",
        "Check the trust bundle, the device's clock and the WFM's certificate.";
    WfmDenied = "WFM_DENIED", Permanent,
        "The fleet manager's policy denies this device (403).",
        "Ask the fleet operator to admit the device. Nothing is removed.";
    WfmBusy = "WFM_BUSY", Retryable,
        "The fleet manager asked for a pause (429, 500 or 503).",
        "None: the device waits as long as it was asked to.";
    WfmProtocol = "WFM_PROTOCOL", Permanent,
        "The fleet manager's answer breaks the Margo specification.",
        "Report it to the WFM's supplier; the log has the details.";
    ManifestInvalid = "MANIFEST_INVALID", Permanent,
        "The state manifest breaks the specification.",
        "Report it to the WFM's supplier; the previous state is kept.";
    ManifestOlder = "MANIFEST_OLDER", Permanent,
        "The state manifest's version is not greater than the last accepted one.",
        "If the WFM lost its data, reset the accepted version on purpose; the previous state is kept.";
    IdentityInvalid = "IDENTITY_INVALID", Permanent,
        "The device's SVID, key or trust bundle cannot be used.",
        "Provision the device again; `margoctl status` names the file.";
    ClockBehind = "CLOCK_BEHIND", Retryable,
        "The device's clock is before the last time it saw.",
        "Check time synchronisation. Workloads are not affected.";
    ReportRejected = "REPORT_REJECTED", Permanent,
        "The fleet manager rejected a status report as malformed.",
        "Report it to the WFM's supplier.";
    FirmwareUnavailable = "FIRMWARE_UNAVAILABLE", Retryable,
        "The installer (RAUC) or the service manager does not answer.",
        "Check `systemctl status rauc` and `margoctl firmware status`.";
    FirmwareFetchFailed = "FIRMWARE_FETCH_FAILED", Retryable,
        "The firmware bundle could not be read to its end.",
        "Check the network and the registry; the device keeps trying.";
    FirmwareRejected = "FIRMWARE_REJECTED", Refused,
        "The bundle is not for this device: signature, compatible, format or version.",
        "Build and sign the bundle for this device; `margoctl firmware status` has the details.";
    FirmwareInstallFailed = "FIRMWARE_INSTALL_FAILED", Refused,
        "The bundle could not be written to the other slot.",
        "Read `journalctl -u rauc`. Nothing running was touched; name the firmware anew to try again.";
    FirmwareUnhealthy = "FIRMWARE_UNHEALTHY", Refused,
        "In its trial, something that worked before did not work under the new firmware.",
        "Correct the firmware; the device is back on the old one.";
    FirmwareRolledBack = "FIRMWARE_ROLLED_BACK", Refused,
        "The device left the new firmware and runs the old one.",
        "Read the previous boots in the journal; name the firmware anew to try again.";
    Internal = "INTERNAL", Retryable,
        "The agent hit an error it has no better name for.",
        "Read the agent's log and report it.";
}

/// A code of a newer release, whose state a firmware fallback leaves to this one, is read as `INTERNAL`: one unknown word must
/// not cost the whole document.
impl From<String> for Code {
    fn from(text: String) -> Self {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Internal)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something did not work. Only adapters make these; only people read `message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// What to do about it.
    pub class: FailureClass,
    /// The stable name.
    pub code: Code,
    /// The component at fault, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// Details for a person; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// Do not try again sooner than this (`Retry-After`, R202), in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure with its code's usual class. Cuts `message` to [`MESSAGE_BYTES_MAX`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let mut end = MESSAGE_BYTES_MAX;
            while !message.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            message.truncate(end);
        }
        Self { class: code.class(), code, component: None, message, retry_after_ms: None }
    }

    /// The same failure, of another class.
    #[must_use]
    pub fn with_class(mut self, class: FailureClass) -> Self {
        self.class = class;
        self
    }

    /// The same failure, blamed on a component.
    #[must_use]
    pub fn in_component(mut self, name: ComponentName) -> Self {
        self.component = Some(name);
        self
    }

    /// The same failure, not to be retried before `ms` milliseconds have passed.
    #[must_use]
    pub fn retry_after(mut self, ms: Option<u64>) -> Self {
        self.retry_after_ms = ms;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.component {
            Some(component) => write!(f, "{} [{component}]: {}", self.code, self.message),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}
