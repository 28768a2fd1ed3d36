//! What the engine is asked to make: plain data.

use crate::compose::model::Project;
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The engine's content id of a local image (`sha256:…`). Containers are created from it, so a tag that
/// moves later changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

impl ImageId {
    /// Wraps an id that the engine gave.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as the engine takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One component of a deployment with everything needed to make it run, offline.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// Its name in the deployment.
    pub component: ComponentName,
    /// The deployment's revision; becomes the label of containers that are created now.
    pub revision: Digest,
    /// What to run.
    pub project: Project,
    /// The image of each service, by service name.
    pub images: BTreeMap<String, ImageId>,
    /// Top directory of the extracted archive: where [`crate::compose::model::FileMount`] paths start.
    pub archive_dir: PathBuf,
    /// Variables every container gets unless its author set them (R231).
    pub extra_env: BTreeMap<String, String>,
    /// Host directories that bind mounts may reach, symlinks resolved.
    pub bind_roots: Vec<PathBuf>,
}

/// How long, and for what, [`super::Engine::apply`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitPolicy {
    /// Return only when all containers run (or have completed) and are healthy (R153, R155).
    pub wait: bool,
    /// Limit of the whole call in milliseconds (R152).
    pub timeout_ms: u64,
}

/// What [`super::Engine::apply`] did, by number of containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Made and started, or left half-made by an earlier call and finished.
    pub created: u32,
    /// Already right: left alone.
    pub adopted: u32,
    /// Replaced, because configuration or image differ or somebody edited them.
    pub recreated: u32,
    /// Right but stopped, paused or unhealthy: started again.
    pub restarted: u32,
}

/// What happens to named volumes on removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumePolicy {
    /// They stay, with their data.
    Keep,
    /// They go, data included.
    Delete,
}
