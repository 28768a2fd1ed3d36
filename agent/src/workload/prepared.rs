//! What a revision was resolved to the first time: archives and images by content, so that a moved tag changes
//! nothing until the desired state does.

use super::{Workloads, blocking};
use serde::{Deserialize, Serialize};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, Digest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The kind under which these records are stored; their name is the revision's digest.
pub(super) const KIND: &str = "prepared";

/// The record of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// By component.
    pub(super) components: BTreeMap<ComponentName, PreparedComponent>,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreparedComponent {
    /// The OCI manifest that the revision's tag pointed to.
    pub(super) manifest: Digest,
    /// The compose archive.
    pub(super) archive: Digest,
    /// The image of each service.
    pub(super) images: BTreeMap<String, Pin>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    /// As the compose file has it.
    pub(super) reference: String,
    /// The engine's content id.
    pub(super) id: String,
    /// `repository@sha256:…`, where it came from a registry: how to get the same one again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repo_digest: Option<String>,
}

impl Workloads {
    /// The record of a revision; `None` if it was never prepared, or its record was damaged.
    pub(super) async fn prepared(&self, revision: &Digest) -> Result<Option<Prepared>, Failure> {
        let (artifacts, name) = (Arc::clone(&self.artifacts), revision.to_string());
        blocking(move || match artifacts.read_record(KIND, &name) {
            Ok(record) => Ok(record),
            Err(error) if error.is_lost() => Ok(None),
            Err(error) => Err(error.to_failure()),
        })
        .await
    }

    /// The same, for what cannot go on without it.
    pub(super) async fn prepared_component(
        &self,
        revision: &Digest,
        component: &ComponentName,
    ) -> Result<PreparedComponent, Failure> {
        let record = self.prepared(revision).await?;
        record.and_then(|mut record| record.components.remove(component)).ok_or_else(|| {
            let message = format!("no record of what revision {revision} was resolved to");
            Failure::new(Code::ArtifactLost, message).in_component(component.clone())
        })
    }

    /// Writes the record: from here on the revision can be applied without network.
    pub(super) async fn record(&self, revision: &Digest, record: Prepared) -> Result<(), Failure> {
        let (artifacts, name) = (Arc::clone(&self.artifacts), revision.to_string());
        blocking(move || {
            artifacts.write_record(KIND, &name, &record).map_err(|error| error.to_failure())
        })
        .await
    }

    /// Where an archive is extracted.
    pub(super) fn app_dir(&self, archive: &Digest) -> PathBuf {
        self.apps_dir.join(archive.as_str().replace(':', "-"))
    }
}
