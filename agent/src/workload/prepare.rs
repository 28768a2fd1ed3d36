//! Obtaining everything a revision needs, before anything running is touched.
//!
//! Archives first, all of them checked and translated; then images; then the durability barrier; then the record.

use super::prepared::{Pin, Prepared, PreparedComponent};
use super::registries::engine_credentials;
use super::{Workloads, blocking};
use crate::archive::check_and_extract;
use crate::compose::{self, model::Project};
use crate::engine::{ImageId, PullRequest, PulledImage, Synced};
use crate::margo::ApplicationDeployment;
use crate::margo::deployment::{Component, ProfileKind};
use crate::oci::{OciReference, Puller};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An image as its author wants it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    reference: &'a str,
    platform: Option<&'a str>,
    puller: &'a Puller,
}

impl Workloads {
    /// Everything of a revision is on stable storage when this returns. What is there already is not fetched.
    ///
    /// # Errors
    /// The first thing that is missing or refused; nothing that runs has been touched.
    pub async fn prepare(
        &self,
        deployment: &DeploymentId,
        revision: &Digest,
    ) -> Result<(), Failure> {
        let document = self.document(deployment, revision).await?;
        self.judge(&document, revision, &ProfileKind::Compose).await?;
        let before = self.prepared(revision).await?.unwrap_or_default();
        let puller = self.puller().await?;
        let mut projects = Vec::new();
        for component in &document.components {
            let pinned = before.components.get(&component.name);
            let blame = |failure: Failure| failure.in_component(component.name.clone());
            let (artifact, project) =
                self.prepare_archive(&document, component, pinned, &puller).await.map_err(blame)?;
            projects.push((component.name.clone(), artifact, project));
        }
        let record = self.prepare_images(projects, &before, &puller).await?;
        self.record(revision, record).await
    }

    async fn prepare_archive(
        &self,
        document: &ApplicationDeployment,
        component: &Component,
        pinned: Option<&PreparedComponent>,
        puller: &Puller,
    ) -> Result<((Digest, Digest), Project), Failure> {
        let at_hand = pinned.filter(|pinned| self.artifacts.contains(&pinned.archive));
        let (manifest, archive) = match at_hand {
            Some(pinned) => (pinned.manifest.clone(), pinned.archive.clone()),
            None => {
                let reference = OciReference::parse(&component.repository, &component.revision)
                    .map_err(|error| Failure::new(Code::DeploymentInvalid, error.to_string()))?;
                let manifest = pinned.map(|pinned| &pinned.manifest);
                let pulled = puller
                    .pull_compose_artifact(&reference, manifest, &self.artifacts)
                    .await
                    .map_err(|error| error.to_failure())?;
                (pulled.manifest_digest, pulled.layer_digest)
            }
        };
        let environment = document.environment_for(component.name.as_str());
        let (project, _) = self.load(&archive, environment).await?;
        Ok(((manifest, archive), project))
    }

    /// The project of an extracted archive and its top directory. Extracts it (again) if need be.
    pub(super) async fn load(
        &self,
        archive: &Digest,
        environment: BTreeMap<String, String>,
    ) -> Result<(Project, PathBuf), Failure> {
        let (artifacts, policy) = (Arc::clone(&self.artifacts), self.host_policy.clone());
        let (archive, dir) = (archive.clone(), self.app_dir(archive));
        let (apps_dir, limits) = (self.apps_dir.clone(), self.archive_limits.clone());
        blocking(move || {
            if let Some(top) = top_directory(&dir)
                && let Ok(loaded) = compose::load(&top, &environment, &policy)
            {
                return Ok((loaded.project, top));
            }
            // Not extracted yet, or what is there is not what was extracted: the verified blob decides.
            let io = |error: std::io::Error| {
                Failure::new(Code::Internal, format!("{}: {error}", apps_dir.display()))
            };
            std::fs::create_dir_all(&apps_dir).map_err(io)?;
            let blob = artifacts.open_verified(&archive).map_err(|error| error.to_failure())?;
            let top = check_and_extract(blob, &dir, &limits).map_err(|e| e.to_failure())?.top_dir;
            let loaded = compose::load(&top, &environment, &policy);
            loaded.map(|loaded| (loaded.project, top)).map_err(|problems| problems.to_failure())
        })
        .await
    }

    async fn prepare_images(
        &self,
        projects: Vec<(ComponentName, (Digest, Digest), Project)>,
        before: &Prepared,
        puller: &Puller,
    ) -> Result<Prepared, Failure> {
        let mut record = Prepared::default();
        let mut pulled_any = false;
        for (name, (manifest, archive), project) in projects {
            let pins = before.components.get(&name).map(|component| &component.images);
            let mut images = BTreeMap::new();
            for (service, definition) in &project.services {
                let pin = pins.and_then(|pins| pins.get(service));
                let pin = pin.filter(|pin| pin.reference == definition.image);
                let blame = |failure: Failure| failure.in_component(name.clone());
                let platform = definition.platform.as_deref();
                let wanted = Wanted { reference: &definition.image, platform, puller };
                let (pin, is_new) = self.pin(wanted, pin).await.map_err(blame)?;
                pulled_any |= is_new;
                images.insert(service.clone(), pin);
            }
            record.components.insert(name, PreparedComponent { manifest, archive, images });
        }
        if pulled_any {
            self.sync_images().await?;
        }
        Ok(record)
    }

    /// Makes sure an image is here, the pinned one if there is a pin. Says whether it had to be looked for.
    async fn pin(&self, wanted: Wanted<'_>, pin: Option<&Pin>) -> Result<(Pin, bool), Failure> {
        if let Some(pin) = pin {
            let id = ImageId::new(&pin.id);
            if self.engine.image_present(&id).await.map_err(|error| error.to_failure())? {
                return Ok((pin.clone(), false));
            }
        }
        let Wanted { reference, platform, puller } = wanted;
        let exact = pin.and_then(|pin| pin.repo_digest.as_deref()).unwrap_or(reference);
        let request = PullRequest {
            reference: exact.to_owned(),
            platform: platform.map(str::to_owned),
            auth: engine_credentials(puller, reference),
            if_missing: true,
        };
        let pulled = match self.pull(&request).await {
            // Not here and not to be had: perhaps it ships with the device.
            Err(failure) if self.load_preloaded_images().await? > 0 => {
                tracing::debug!(image = %request.reference, %failure, "looking among loaded images");
                self.pull(&request).await?
            }
            pulled => pulled?,
        };
        let repo_digest = pulled.repo_digest.or_else(|| pin?.repo_digest.clone());
        let id = pulled.id.as_str().to_owned();
        Ok((Pin { reference: reference.to_owned(), id, repo_digest }, true))
    }

    async fn pull(&self, request: &PullRequest) -> Result<PulledImage, Failure> {
        let mut layers_done = 0;
        let pulled = self.engine.pull(request, |progress| {
            if progress.layers_done > layers_done {
                layers_done = progress.layers_done;
                tracing::info!(
                    image = %request.reference,
                    layers_done,
                    layers_total = progress.layers_total,
                    bytes_done = progress.bytes_done,
                    "pulling"
                );
            }
        });
        pulled.await.map_err(|error| error.to_failure())
    }

    /// Engines record a layer as complete before its files are on disk: without this, a power cut leaves images
    /// that look complete and hold empty files.
    async fn sync_images(&self) -> Result<(), Failure> {
        match self.engine.sync_images().await.map_err(|error| error.to_failure())? {
            Synced::Yes(_) => {}
            Synced::NotVisible(root) => tracing::debug!(
                root = %root.display(),
                "the engine's data root is not visible here, its durability is the engine's"
            ),
        }
        Ok(())
    }

    /// Brings back the images of one component after somebody deleted them.
    pub(super) async fn repull(
        &self,
        component: &PreparedComponent,
        project: &Project,
    ) -> Result<(), Failure> {
        let puller = self.puller().await?;
        let mut seen = BTreeSet::new();
        for (service, pin) in &component.images {
            if seen.insert(&pin.id) {
                let definition = project.services.get(service);
                let platform = definition.and_then(|definition| definition.platform.as_deref());
                let wanted = Wanted { reference: &pin.reference, platform, puller: &puller };
                let (found, _) = self.pin(wanted, Some(pin)).await?;
                if found.id != pin.id {
                    let message = format!(
                        "image `{}` is now {}, pinned was {}, and the pinned one is gone",
                        pin.reference, found.id, pin.id
                    );
                    return Err(Failure::new(Code::ArtifactLost, message));
                }
            }
        }
        self.sync_images().await
    }
}

/// The one directory of an extracted archive; `None` if it is not there.
fn top_directory(dir: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(dir).ok()?;
    let first = entries.next()?.ok()?.path();
    (entries.next().is_none() && first.is_dir()).then_some(first)
}
