//! Deleting what no revision needs any more. Run only while nothing is being prepared.

use super::prepared::{KIND, Prepared};
use super::{Workloads, blocking, firmware};
use crate::archive::remove_leftovers;
use crate::engine::ImageId;
use state_machine::failure::{Code, Failure};
use state_machine::ids::Digest;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

impl Workloads {
    /// Keeps what `revisions` need; of the rest, deletes documents, archives, extracted archives and the images
    /// this agent once pinned.
    ///
    /// # Errors
    /// Something could not be deleted. Nothing that is needed was.
    pub async fn collect_garbage(&self, revisions: BTreeSet<Digest>) -> Result<(), Failure> {
        let (artifacts, apps_dir) = (Arc::clone(&self.artifacts), self.apps_dir.clone());
        let sorted = blocking(move || {
            let sorted = sort_records(&artifacts, revisions)?;
            let mut needed = sorted.revisions.clone();
            for component in sorted.kept.iter().flat_map(|record| record.components.values()) {
                needed.extend([component.archive.clone(), component.manifest.clone()]);
            }
            needed.extend(sweep_bundles(&artifacts, &sorted.revisions)?);
            artifacts.gc(&needed).map_err(|error| error.to_failure())?;
            sweep_apps(&apps_dir, &needed)?;
            Ok(sorted)
        })
        .await?;
        let (candidates, keep) = (images(&sorted.dropped), images(&sorted.kept));
        if !candidates.is_subset(&keep) {
            let pruned = self.engine.prune_images(&candidates, &keep).await;
            pruned.map_err(|error| error.to_failure())?;
        }
        self.sweep_staged(true).await?;
        // Last: while a record exists, its images are not forgotten.
        let artifacts = Arc::clone(&self.artifacts);
        blocking(move || {
            for name in sorted.dropped_names {
                artifacts.remove_record(KIND, &name).map_err(|error| error.to_failure())?;
            }
            Ok(())
        })
        .await
    }
}

impl Workloads {
    /// Deletes what a power cut left half done: archives half extracted, and staged bundles that nothing may need. Call
    /// it before anything is prepared. Cheap: it looks at two directories, and there is one thing in them at most.
    /// `is_updating`: an attempt at firmware is under way, whose bundle is kept.
    pub(crate) async fn sweep_leftovers(&self, is_updating: bool) {
        let apps_dir = self.apps_dir.clone();
        let swept = blocking(move || {
            if !apps_dir.exists() {
                return Ok(());
            }
            remove_leftovers(&apps_dir).map_err(|error| error.to_failure())
        });
        // Space that is not freed is no reason not to start (I4).
        if let Err(failure) = swept.await {
            tracing::warn!(%failure, "what is left of an archive stays for now");
        }
        if let Err(failure) = self.sweep_staged(is_updating).await {
            tracing::warn!(%failure, "a staged bundle stays for now");
        }
    }
}

/// Records of needed revisions, and those of others.
#[derive(Default)]
struct Sorted {
    revisions: BTreeSet<Digest>,
    kept: Vec<Prepared>,
    dropped: Vec<Prepared>,
    dropped_names: Vec<String>,
}

fn sort_records(
    artifacts: &crate::artifacts::Artifacts,
    revisions: BTreeSet<Digest>,
) -> Result<Sorted, Failure> {
    let mut sorted = Sorted { revisions, ..Sorted::default() };
    for name in artifacts.record_names(KIND).map_err(|error| error.to_failure())? {
        let record: Option<Prepared> = match artifacts.read_record(KIND, &name) {
            Ok(record) => record,
            // A damaged record is as good as none: preparing the revision again writes it anew.
            Err(error) if error.is_lost() => None,
            Err(error) => return Err(error.to_failure()),
        };
        if sorted.revisions.contains(&Digest::new(&name)) {
            sorted.kept.extend(record);
        } else {
            sorted.dropped.extend(record);
            sorted.dropped_names.push(name);
        }
    }
    Ok(sorted)
}

/// Forgets what other revisions' bundles were; returns the manifests of those that are needed.
fn sweep_bundles(
    artifacts: &crate::artifacts::Artifacts,
    revisions: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, Failure> {
    let mut manifests = BTreeSet::new();
    for name in artifacts.record_names(firmware::KIND).map_err(|error| error.to_failure())? {
        if !revisions.contains(&Digest::new(&name)) {
            let removed = artifacts.remove_record(firmware::KIND, &name);
            removed.map_err(|error| error.to_failure())?;
        } else if let Some(bundle) = firmware::read(artifacts, &name)? {
            manifests.insert(bundle.manifest);
        }
    }
    Ok(manifests)
}

fn images(records: &[Prepared]) -> BTreeSet<ImageId> {
    let components = records.iter().flat_map(|record| record.components.values());
    components.flat_map(|c| c.images.values()).map(|pin| ImageId::new(&pin.id)).collect()
}

fn sweep_apps(apps_dir: &Path, needed: &BTreeSet<Digest>) -> Result<(), Failure> {
    let needed: BTreeSet<String> = needed.iter().map(|d| d.as_str().replace(':', "-")).collect();
    let fault = |error: std::io::Error| {
        Failure::new(Code::Internal, format!("{}: {error}", apps_dir.display()))
    };
    let entries = match std::fs::read_dir(apps_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error)),
    };
    for entry in entries {
        let entry = entry.map_err(fault)?;
        if !needed.contains(&*entry.file_name().to_string_lossy()) {
            std::fs::remove_dir_all(entry.path()).map_err(fault)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::Artifacts;
    use crate::config::Sources;
    use crate::engine::Engine;
    use crate::margo::DeviceId;

    fn workloads(root: &Path) -> Workloads {
        let mut settings = Sources::under(root).load().unwrap();
        settings.paths.state_dir = root.to_owned();
        let artifacts = Arc::new(Artifacts::open(root.join("artifacts")).unwrap());
        let engine = Engine::connect(&root.join("no-engine")).unwrap();
        let device = DeviceId::parse("d").unwrap();
        Workloads::new(&settings, artifacts, engine, device, (serde_json::Value::Null, true))
    }

    #[tokio::test]
    async fn what_a_power_cut_left_half_done_is_gone_after_the_start() {
        let root = tempfile::tempdir().unwrap();
        let workloads = workloads(root.path());
        workloads.sweep_leftovers(false).await;
        assert!(!workloads.firmware.staging_dir.exists(), "nothing to sweep, nothing made");

        std::fs::create_dir_all(workloads.apps_dir.join(".extract-x/tree")).unwrap();
        std::fs::create_dir_all(workloads.apps_dir.join("sha256-kept")).unwrap();
        let staged = Artifacts::open(workloads.firmware.staging_dir.clone()).unwrap();
        let (wanted, other) = (staged.put(b"wanted").unwrap(), staged.put(b"other").unwrap());
        let record = firmware::ResolvedBundle::of(wanted.clone());
        workloads.artifacts.write_record(firmware::KIND, "revision", &record).unwrap();

        workloads.sweep_leftovers(true).await;
        let left: Vec<_> = std::fs::read_dir(&workloads.apps_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["sha256-kept"]);
        assert_eq!((staged.contains(&wanted), staged.contains(&other)), (true, false));
        // It is in its slot, or was given up: nobody reads it any more.
        workloads.sweep_leftovers(false).await;
        assert!(!staged.contains(&wanted));
    }
}
