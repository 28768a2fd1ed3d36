//! Names of things, each with its own type, so that two of them cannot be swapped by mistake.
//!
//! Adapters build these from what a peer sent and refuse what does not fit; the machine only compares them.
//! They are shared, not copied: a step clones the whole state.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a text the caller has already validated.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Arc::from(text.into()))
            }

            /// The text as it appears on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }
    };
}

text_id! {
    /// A deployment's UUID, assigned by the WFM; stable while the deployment lives (R140).
    DeploymentId
}
text_id! {
    /// A component's name inside its deployment: lowercase letters, digits, dashes.
    ComponentName
}
text_id! {
    /// `sha256:<64 lowercase hex>` over exact bytes (R126, R128).
    Digest
}
text_id! {
    /// RAUC's name of a firmware slot, for example `rootfs.0`.
    SlotName
}
text_id! {
    /// One firmware installation, from the intent to the verdict. RAUC keeps it in the slot's status.
    TransactionId
}
text_id! {
    /// One boot of the kernel: another value means that the device was restarted.
    BootId
}
text_id! {
    /// One relationship with one WFM: trust domain, wfm-id, client id and endpoint joined; versions are
    /// only comparable inside one of these.
    IdentityKey
}

/// The WFM's `manifestVersion`: an unsigned 64-bit number, strictly increasing per client (R125).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ManifestVersion(pub u64);

impl fmt::Display for ManifestVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identifies one started effect within one boot of the agent. An outcome with an unknown id is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
