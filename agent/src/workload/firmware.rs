//! The bundle that a firmware deployment names, and how RAUC gets at it: streamed from the registry, or staged here.
//!
//! A staged bundle is verified against its digest as a whole. A streamed one cannot be: what protects it is its
//! signature, which covers the root hash of every block RAUC reads, and the manifest hash that preparing found.

use super::{Workloads, blocking};
use crate::artifacts::Artifacts;
use crate::config::Transfer;
use crate::margo::deployment::ProfileKind;
use crate::oci::{ArtifactKind, BlobAccess, OciReference, Puller};
use crate::updater::{Origin, Updater};
use rustix::fs::statvfs;
use serde::{Deserialize, Serialize};
use state_machine::effect::Bundle;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{DeploymentId, Digest};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// The kind under which what a revision was resolved to is stored; the name is the revision's digest.
pub(super) const KIND: &str = "firmware";
/// Left free on the data partition when a bundle is staged, in bytes: workloads write there too.
const RESERVE_BYTES: u64 = 64 << 20;

/// What a revision's tag stood for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResolvedBundle {
    pub(super) manifest: Digest,
    pub(super) layer: Digest,
    size_bytes: u64,
}

/// A revision's bundle in its registry.
struct Named {
    reference: OciReference,
    bundle: ResolvedBundle,
    puller: Puller,
}

impl Workloads {
    /// Reads what the bundle of a deployment is, staging it if it cannot be streamed.
    ///
    /// # Errors
    /// It is not for this device, cannot be fetched, or RAUC rejects it.
    pub(crate) async fn prepare_firmware(
        &self,
        updater: &Updater,
        deployment: &DeploymentId,
        revision: &Digest,
    ) -> Result<Bundle, Failure> {
        let named = self.named_bundle(deployment, revision).await?;
        if let Some(origin) = self.streamed(&named, revision).await? {
            match updater.inspect(&origin).await {
                Err(failure) if self.may_stage_after(&failure) => {
                    tracing::info!(%failure, "the bundle cannot be streamed, staging it");
                    self.do_not_stream(revision);
                }
                judged => return judged,
            }
        }
        let origin = self.staged(&named).await?;
        updater.inspect(&origin).await
    }

    /// Where RAUC finds the bundle of a prepared revision, with whatever the registry wants to see today.
    ///
    /// # Errors
    /// The registry does not answer, or the bundle cannot be staged.
    pub(crate) async fn firmware_origin(
        &self,
        deployment: &DeploymentId,
        revision: &Digest,
    ) -> Result<Origin, Failure> {
        let named = self.named_bundle(deployment, revision).await?;
        if self.firmware.staging_dir.exists() {
            let (dir, layer) = (self.firmware.staging_dir.clone(), named.bundle.layer.clone());
            let at_hand = blocking(move || {
                let store = Artifacts::open(dir).map_err(|error| error.to_failure())?;
                let is_intact = store.is_intact(&layer).map_err(|error| error.to_failure())?;
                let path = store.path(&layer).map_err(|error| error.to_failure())?;
                Ok(is_intact.then_some(path))
            });
            if let Some(path) = at_hand.await? {
                return Ok(Origin::plain(path.display().to_string()));
            }
        }
        match self.streamed(&named, revision).await? {
            Some(origin) => Ok(origin),
            None => self.staged(&named).await,
        }
    }

    /// Notes that a revision could not be streamed to its end; where that is permitted, it is staged next time.
    pub(crate) fn do_not_stream(&self, revision: &Digest) {
        let mut revisions =
            self.firmware.not_streamed.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.insert(revision.clone());
    }

    /// Deletes staged bundles, except those that a stored revision may still need.
    ///
    /// # Errors
    /// Something could not be deleted.
    pub(crate) async fn sweep_staged(&self, keep_needed: bool) -> Result<(), Failure> {
        let (dir, artifacts) = (self.firmware.staging_dir.clone(), Arc::clone(&self.artifacts));
        if !dir.exists() {
            return Ok(());
        }
        blocking(move || {
            let mut keep = BTreeSet::new();
            if keep_needed {
                for name in artifacts.record_names(KIND).map_err(|error| error.to_failure())? {
                    let bundle = read(&artifacts, &name)?;
                    keep.extend(bundle.into_iter().flat_map(|one| [one.layer, one.manifest]));
                }
            }
            let store = Artifacts::open(dir).map_err(|error| error.to_failure())?;
            store.gc(&keep).map(|_| ()).map_err(|error| error.to_failure())
        })
        .await
    }

    /// What the deployment's only component stands for; resolved once, kept with the revision.
    async fn named_bundle(
        &self,
        deployment: &DeploymentId,
        revision: &Digest,
    ) -> Result<Named, Failure> {
        let document = self.document(deployment, revision).await?;
        self.judge(&document, revision, &ProfileKind::Custom).await?;
        let [component] = document.components.as_slice() else {
            let message = "a firmware deployment has exactly one component: its bundle";
            return Err(Failure::new(Code::DeploymentInvalid, message));
        };
        let reference = OciReference::parse(&component.repository, &component.revision)
            .map_err(|error| Failure::new(Code::DeploymentInvalid, error.to_string()))?;
        let puller = self.puller().await?;
        let (artifacts, name) = (Arc::clone(&self.artifacts), revision.to_string());
        let kept = blocking(move || read(&artifacts, &name)).await?;
        if let Some(bundle) = kept {
            return Ok(Named { reference, bundle, puller });
        }
        let kind = ArtifactKind::firmware(self.firmware.size_bytes_max);
        let resolved = puller
            .resolve_artifact(&reference, None, &kind, &self.artifacts)
            .await
            .map_err(|error| error.to_failure())?;
        let bundle = ResolvedBundle {
            manifest: resolved.manifest_digest,
            layer: resolved.layer_digest,
            size_bytes: resolved.layer_size_bytes,
        };
        let (artifacts, name) = (Arc::clone(&self.artifacts), revision.to_string());
        let record = bundle.clone();
        blocking(move || {
            artifacts.write_record(KIND, &name, &record).map_err(|error| error.to_failure())
        })
        .await?;
        Ok(Named { reference, bundle, puller })
    }

    /// The bundle's address in the registry; `None` if it is to be staged.
    async fn streamed(&self, named: &Named, revision: &Digest) -> Result<Option<Origin>, Failure> {
        let failed_before = self
            .firmware
            .not_streamed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(revision);
        match self.firmware.transfer {
            Transfer::Stage => return Ok(None),
            Transfer::Auto if failed_before => return Ok(None),
            Transfer::Auto | Transfer::Stream => {}
        }
        let access = named.puller.blob_access(&named.reference, &named.bundle.layer).await;
        let access = access.map_err(|error| error.to_failure())?;
        match (access.has_ranges, self.firmware.transfer) {
            (true, _) => Ok(Some(self.origin(named, access))),
            (false, Transfer::Stream) => {
                let message = format!(
                    "{} does not answer range requests, and `firmware.transfer` is \"stream\"",
                    named.reference.registry()
                );
                Err(Failure::new(Code::FirmwareFetchFailed, message))
            }
            (false, Transfer::Auto | Transfer::Stage) => Ok(None),
        }
    }

    fn origin(&self, named: &Named, access: BlobAccess) -> Origin {
        let host = named.reference.registry();
        let registry = self.registries.iter().find(|registry| registry.host == host);
        let ca_file = registry.and_then(|registry| registry.ca_file.as_ref());
        let header = access.authorization.map(|value| format!("Authorization: {value}"));
        Origin {
            location: access.url,
            headers: header.into_iter().collect(),
            tls_ca: ca_file.map(|path| path.display().to_string()),
        }
    }

    /// The bundle on the data partition, complete and verified; downloads what is missing.
    async fn staged(&self, named: &Named) -> Result<Origin, Failure> {
        let (dir, layer) = (self.firmware.staging_dir.clone(), named.bundle.layer.clone());
        let (manifest, size_bytes) = (named.bundle.manifest.clone(), named.bundle.size_bytes);
        let store = blocking(move || {
            let store = Artifacts::open(dir.clone()).map_err(|error| error.to_failure())?;
            // Whatever else is there was staged for something that is no longer wanted.
            let keep = BTreeSet::from([layer.clone(), manifest]);
            store.gc(&keep).map_err(|error| error.to_failure())?;
            if !store.contains(&layer) {
                has_room(&dir, size_bytes)?;
            }
            Ok(store)
        })
        .await?;
        let kind = ArtifactKind::firmware(self.firmware.size_bytes_max);
        let pinned = Some(&named.bundle.manifest);
        let pulled = named.puller.pull_artifact(&named.reference, pinned, &kind, &store).await;
        let layer = pulled.map_err(|error| error.to_failure())?.layer_digest;
        let path = store.path(&layer).map_err(|error| error.to_failure())?;
        Ok(Origin::plain(path.display().to_string()))
    }

    /// Whether a bundle that RAUC did not take by streaming may be taken otherwise. What RAUC found out about the
    /// bundle itself would be the same.
    fn may_stage_after(&self, failure: &Failure) -> bool {
        self.firmware.transfer == Transfer::Auto
            && (failure.code == Code::FirmwareFetchFailed || failure.message.contains("stream"))
    }
}

pub(super) fn read(artifacts: &Artifacts, name: &str) -> Result<Option<ResolvedBundle>, Failure> {
    match artifacts.read_record(KIND, name) {
        Ok(record) => Ok(record),
        // As good as none: it is resolved anew.
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error.to_failure()),
    }
}

fn has_room(dir: &Path, size_bytes: u64) -> Result<(), Failure> {
    let room = statvfs(dir)
        .map_err(|error| Failure::new(Code::Internal, format!("{}: {error}", dir.display())))?;
    let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
    let needed_bytes = size_bytes.saturating_add(RESERVE_BYTES);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let message = format!(
        "staging the bundle needs {needed_bytes} bytes in {}, {free_bytes} are free",
        dir.display()
    );
    Err(Failure::new(Code::NoSpace, message))
}

#[cfg(test)]
impl ResolvedBundle {
    /// A bundle with this content.
    pub(super) fn of(layer: Digest) -> Self {
        Self { manifest: layer.clone(), layer, size_bytes: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_does_not_fit_is_told_in_numbers() {
        let dir = tempfile::tempdir().unwrap();
        has_room(dir.path(), 1).unwrap();
        let failure = has_room(dir.path(), u64::MAX / 2).unwrap_err();
        assert_eq!(failure.code, Code::NoSpace);
        assert!(failure.message.contains("bytes in"), "{failure}");
    }
}
