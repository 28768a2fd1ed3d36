//! The desired state that ships in the image, for `behaviour.first_boot = "preload"`: documents, archives, images.
//!
//! ```text
//! <preload_dir>/deployments/<any>.yaml                     ApplicationDeployment documents
//! <preload_dir>/archives/<deployment id>/<component>.tar.gz  their compose archives (optional)
//! <preload_dir>/images/<any>.tar                           images, as `docker save` writes them (optional)
//! ```

use super::prepared::{KIND, Prepared, PreparedComponent};
use super::{Reading, Workloads, blocking, describe};
use crate::artifacts::{Artifacts, digest};
use crate::logging::ErrorChain;
use crate::margo::ApplicationDeployment;
use state_machine::desired::DesiredState;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{Digest, ManifestVersion};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most files looked at in one directory.
const FILES_MAX: usize = 256;
/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

/// Stores the documents and archives like fetched ones. `None` if there are none.
///
/// # Errors
/// A file that cannot be read or is invalid, by name: an image that is built wrong should be noticed.
pub fn preload(
    dir: &Path,
    artifacts: &Artifacts,
    timeout_ms: u64,
) -> Result<Option<DesiredState>, Failure> {
    let version = ManifestVersion(0);
    let mut deployments = Vec::new();
    for found in documents(dir)? {
        let (path, yaml) = found?;
        let document = ApplicationDeployment::parse(&yaml, None, timeout_ms)
            .map_err(|error| fault(&path, &error))?;
        let revision = digest::of(&yaml);
        artifacts.put(&yaml).map_err(|error| error.to_failure())?;
        preload_archives(dir, artifacts, &document, &revision)?;
        // Firmware in the image would be the firmware that runs.
        let reading = Reading { timeout_ms, is_managed: false };
        deployments.push(describe(&document.id, &revision, version, &yaml, reading));
    }
    let desired = DesiredState { version, etag: None, deployments };
    Ok(Some(desired).filter(|desired| !desired.deployments.is_empty()))
}

/// Records the archives as if they had been pulled, so that preparing the revision needs no registry.
fn preload_archives(
    dir: &Path,
    artifacts: &Artifacts,
    document: &ApplicationDeployment,
    revision: &Digest,
) -> Result<(), Failure> {
    let known: Option<Prepared> = artifacts.read_record(KIND, revision.as_str()).unwrap_or(None);
    if known.is_some() {
        return Ok(());
    }
    let dir = dir.join("archives").join(document.id.as_str());
    let mut components = BTreeMap::new();
    for component in &document.components {
        let path = dir.join(format!("{}.tar.gz", component.name));
        if !path.exists() {
            continue;
        }
        let bytes = read(&path, crate::archive::ArchiveLimits::default().total_size_bytes_max)?;
        let archive = artifacts.put(&bytes).map_err(|error| error.to_failure())?;
        let images = BTreeMap::new();
        // There is no OCI manifest; the archive stands for itself.
        let prepared = PreparedComponent { manifest: archive.clone(), archive, images };
        components.insert(component.name.clone(), prepared);
    }
    if components.is_empty() {
        return Ok(());
    }
    let record = Prepared { components };
    artifacts.write_record(KIND, revision.as_str(), &record).map_err(|error| error.to_failure())
}

impl Workloads {
    /// Whether the image this device runs brings a revision.
    pub(super) async fn is_preloaded(&self, revision: &Digest) -> Result<bool, Failure> {
        let (dir, revision) = (self.preload_dir.clone(), revision.clone());
        blocking(move || is_in(&dir, &revision)).await
    }

    /// Loads the images that ship with the device. Done when one is missing, not at every start.
    ///
    /// # Errors
    /// The directory or an archive cannot be read, or the engine refuses one.
    pub(super) async fn load_preloaded_images(&self) -> Result<usize, Failure> {
        let dir = self.preload_dir.join("images");
        let archives = blocking(move || files(&dir, "tar")).await?;
        for archive in &archives {
            tracing::info!(archive = %archive.display(), "loading images");
            self.engine.load_images(archive).await.map_err(|error| error.to_failure())?;
        }
        Ok(archives.len())
    }
}

fn is_in(dir: &Path, revision: &Digest) -> Result<bool, Failure> {
    for found in documents(dir)? {
        let (_, yaml) = found?;
        if digest::of(&yaml) == *revision {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The documents with their files, one in memory at a time.
fn documents(
    dir: &Path,
) -> Result<impl Iterator<Item = Result<(PathBuf, Vec<u8>), Failure>>, Failure> {
    let paths = files(&dir.join("deployments"), "yaml")?;
    Ok(paths.into_iter().map(|path| read(&path, DOCUMENT_BYTES_MAX).map(|yaml| (path, yaml))))
}

/// The files with this extension, sorted; none if there is no such directory.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(dir, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry.map_err(|error| fault(dir, &error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, size_bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let size = std::fs::metadata(path).map_err(|error| fault(path, &error))?.len();
    if size > size_bytes_max {
        let message = format!("{}: {size} bytes, at most {size_bytes_max}", path.display());
        return Err(Failure::new(Code::ArtifactTooLarge, message));
    }
    std::fs::read(path).map_err(|error| fault(path, &error))
}

fn fault(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    let text = format!("{}: {}", path.display(), ErrorChain(error));
    Failure::new(Code::DeploymentInvalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "id: 11111111-1111-4111-8111-111111111111\n\
        metadata: {name: app, namespace: ns, deviceId: d}\n\
        spec:\n  applicationId: app\n  deploymentProfile:\n    type: compose\n    components:\n      \
        - name: web\n        properties: {repository: \"oci://r.example/app\", revision: 1.0.0}\n";

    fn image(files: &[(&str, &str)]) -> (tempfile::TempDir, Artifacts) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let artifacts = Artifacts::open(dir.path().join("artifacts")).unwrap();
        (dir, artifacts)
    }

    #[test]
    fn documents_and_archives_are_as_good_as_fetched() {
        let archive = "archives/11111111-1111-4111-8111-111111111111/web.tar.gz";
        let (dir, artifacts) = image(&[("deployments/a.yaml", DOCUMENT), (archive, "bytes")]);
        let desired = preload(dir.path(), &artifacts, 1_000).unwrap().unwrap();
        let [deployment] = desired.deployments.as_slice() else { panic!("{desired:?}") };
        assert_eq!((desired.version.0, deployment.name.as_str()), (0, "app"));
        assert!(artifacts.contains(&deployment.revision));
        let record: Option<Prepared> =
            artifacts.read_record(KIND, deployment.revision.as_str()).unwrap();
        let record = record.unwrap();
        let web = record.components.values().next().unwrap();
        assert_eq!(artifacts.get(&web.archive).unwrap(), b"bytes");
        // It names device `d`, and is for whichever device has the image.
        assert!(is_in(dir.path(), &deployment.revision).unwrap());
        assert!(!is_in(dir.path(), &digest::of(b"what a fleet manager sent")).unwrap());
    }

    #[test]
    fn no_directory_is_nothing_to_preload() {
        let (dir, artifacts) = image(&[]);
        assert_eq!(preload(dir.path(), &artifacts, 1_000).unwrap(), None);
    }

    #[test]
    fn a_bad_document_is_named() {
        let (dir, artifacts) = image(&[("deployments/bad.yaml", "id: [")]);
        let failure = preload(dir.path(), &artifacts, 1_000).unwrap_err();
        assert!(failure.message.contains("deployments/bad.yaml"), "{failure}");
    }
}
