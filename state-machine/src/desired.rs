//! What should be: the parts of an accepted manifest that the machine acts on.
//!
//! Everything else of a deployment (parameters, repositories, constraints) stays in its YAML, which adapters
//! read from the content-addressed store by [`Deployment::revision`].

use crate::ids::{ComponentName, DeploymentId, Digest, ManifestVersion};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One component of a deployment, in install order (R150).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Component {
    /// Its name, unique in the deployment.
    pub name: ComponentName,
    /// Finish this component before the next one starts (R151).
    pub wait: bool,
    /// Longest time to come up, in milliseconds (R152).
    pub timeout_ms: u64,
}

/// What a deployment is made of (R110: profile type).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Containers.
    #[default]
    Compose,
    /// A firmware bundle for the other slot; only on devices whose firmware is managed.
    Firmware,
}

impl Kind {
    fn is_compose(&self) -> bool {
        *self == Self::Compose
    }
}

/// One revision of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Deployment {
    /// Which deployment.
    pub id: DeploymentId,
    /// Digest of its YAML: a new digest is a new revision, the same digest is the same revision (R140).
    pub revision: Digest,
    /// The manifest version this revision came with; 0 for one that shipped in the image.
    pub version: ManifestVersion,
    /// `metadata.name`, used as the source of errors (R185).
    pub name: String,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Kind::is_compose")]
    pub kind: Kind,
    /// Components in install order. Of a document that is refused, as many as could be read, perhaps none: they are
    /// there to be reported (R183); preparing says what is wrong.
    pub components: Vec<Component>,
}

impl Deployment {
    /// The component with this name.
    pub fn component(&self, name: &ComponentName) -> Option<&Component> {
        self.components.iter().find(|component| component.name == *name)
    }

    /// The component installed after `name`, if any.
    pub fn component_after(&self, name: &ComponentName) -> Option<&Component> {
        // From the last of that name, so that a malformed list is walked once and not for ever.
        let place = self.components.iter().rposition(|component| component.name == *name)?;
        self.components.get(place.saturating_add(1))
    }
}

/// A whole desired state: every artifact it names is verified and stored before this exists (R122).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DesiredState {
    /// The manifest's version; 0 for a preloaded one.
    pub version: ManifestVersion,
    /// The manifest's entity tag, sent back when polling.
    pub etag: Option<String>,
    /// What should run. Empty: nothing should.
    pub deployments: Vec<Arc<Deployment>>,
}
