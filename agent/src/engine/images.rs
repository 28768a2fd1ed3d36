//! Images: pulled, found, made durable, cleared away.

use super::docker::Engine;
use super::error::{EngineError, PullProblem, message, pull_problem, status as http_status};
use super::reference::ImageReference;
use super::unit::ImageId;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// The engine answers a pull only after the registry did; a slow link may take this long.
const PULL_ANSWER_LONGEST: Duration = Duration::from_secs(10 * 60);
/// Layers followed for progress (I11); Docker itself allows 127.
const LAYERS_MAX: usize = 512;
/// Longest text of a registry that goes into an error.
const DETAIL_CHARS: usize = 300;

/// What to pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// A reference as a compose file holds it, or `repository@sha256:…` from an earlier [`PulledImage`].
    pub reference: String,
    /// `os/arch[/variant]`; `None` = the engine's own.
    pub platform: Option<String>,
    /// For registries that ask.
    pub auth: Option<Credentials>,
    /// Ask no registry when the reference is here already (and has the platform).
    pub if_missing: bool,
}

/// A registry's user. No `Debug` output of the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Layers complete on this device.
    pub layers_done: usize,
    /// Layers known so far.
    pub layers_total: usize,
    /// Bytes fetched of layers whose size is known.
    pub bytes_done: u64,
    /// Size of those layers.
    pub bytes_total: u64,
}

/// A local image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledImage {
    /// Its content id: what containers are created from.
    pub id: ImageId,
    /// `repository@sha256:…`, the form to pin; `None` when it never came from a registry.
    pub repo_digest: Option<String>,
}

/// What [`Engine::sync_images`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The file systems of these directories are on stable storage.
    Yes(Vec<PathBuf>),
    /// The engine's data root is not visible here (an engine on another machine).
    NotVisible(PathBuf),
}

impl Engine {
    /// Pulls an image, or finds it here. Calls `progress` whenever something changed.
    ///
    /// # Errors
    /// `Pull` with its [`PullProblem`]; `Unavailable`.
    pub async fn pull(
        &self,
        request: &PullRequest,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<PulledImage, EngineError> {
        let fail = |problem, detail: &str| EngineError::Pull {
            reference: request.reference.clone(),
            problem,
            detail: detail.chars().take(DETAIL_CHARS).collect(),
        };
        let reference = ImageReference::parse(&request.reference)
            .map_err(|error| fail(PullProblem::BadReference, &error.to_string()))?;
        let docker = self.api().await?;
        if request.if_missing
            && let Some(found) = self.find_image(&docker, &reference, request).await?
        {
            return Ok(found);
        }
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference.repository())
            .tag(reference.selector())
            .platform(request.platform.as_deref().unwrap_or_default())
            .build();
        let asking = with_credentials(&docker, request.auth.as_ref(), reference.registry());
        let asking = asking.with_timeout(PULL_ANSWER_LONGEST);
        let mut stream = Box::pin(asking.create_image(Some(options), None, None));
        let mut layers = Layers::default();
        while let Some(item) = stream.next().await {
            match item {
                Ok(info) => {
                    if layers.note(&info) {
                        progress(layers.progress());
                    }
                }
                Err(
                    error @ (DockerError::SocketNotFoundError(_)
                    | DockerError::HyperLegacyError { .. }),
                ) => {
                    return self.seen("pull an image", Err(error));
                }
                Err(error) => {
                    self.note(&error);
                    return Err(fail(pull_problem(&error), &message(&error)));
                }
            }
        }
        let found = self.find_image(&docker, &reference, request).await?;
        // The engine closes the stream without a word when it is stopped in the middle.
        found.ok_or_else(|| fail(PullProblem::Cut, "the image is not here after the pull"))
    }

    async fn find_image(
        &self,
        docker: &Docker,
        reference: &ImageReference,
        request: &PullRequest,
    ) -> Result<Option<PulledImage>, EngineError> {
        let found = match docker.inspect_image(&reference.to_string()).await {
            Err(error) if http_status(&error) == Some(404) => return Ok(None),
            found => self.seen("inspect an image", found)?,
        };
        if request.platform.as_deref().is_some_and(|wanted| !has_platform(&found, wanted)) {
            return Ok(None);
        }
        let Some(id) = found.id.clone() else { return Ok(None) };
        let digests = found.repo_digests.unwrap_or_default();
        let prefix = format!("{}@", reference.familiar_repository());
        // A pinned reference keeps its pin: an image may have several digests in one repository.
        let pinned = reference.digest().map(|digest| format!("{prefix}{digest}"));
        let repo_digest = pinned
            .filter(|pinned| digests.contains(pinned))
            .or_else(|| digests.into_iter().find(|digest| digest.starts_with(&prefix)));
        Ok(Some(PulledImage { id: ImageId::new(id), repo_digest }))
    }

    /// True when an image is on this device.
    ///
    /// # Errors
    /// `Unavailable`, `Api`.
    pub async fn image_present(&self, image: &ImageId) -> Result<bool, EngineError> {
        let docker = self.api().await?;
        match docker.inspect_image(image.as_str()).await {
            Ok(_) => Ok(true),
            Err(error) if http_status(&error) == Some(404) => Ok(false),
            Err(error) => self.seen("inspect an image", Err(error)),
        }
    }

    /// Brings everything the engine has written to stable storage: it does not do so itself, and a power
    /// cut would leave layers that it believes complete.
    ///
    /// # Errors
    /// `Unavailable`, `Api`, `Local` when the sync fails.
    pub async fn sync_images(&self) -> Result<Synced, EngineError> {
        let docker = self.api().await?;
        let info = self.seen("ask for the data root", docker.info().await)?;
        let root = PathBuf::from(info.docker_root_dir.unwrap_or_default());
        let driver = info.driver_status.unwrap_or_default();
        let uses_containerd =
            driver.iter().flatten().any(|text| text == "io.containerd.snapshotter.v1");
        let mut dirs = vec![root.clone()];
        dirs.extend(uses_containerd.then(|| PathBuf::from("/var/lib/containerd")));
        let synced = tokio::task::spawn_blocking(move || {
            dirs.retain(|dir| dir.is_dir());
            for dir in &dirs {
                rustix::fs::syncfs(std::fs::File::open(dir)?)?;
            }
            Ok::<_, std::io::Error>(dirs)
        });
        let synced = synced.await.map_err(std::io::Error::other).flatten();
        match synced {
            Ok(dirs) if dirs.contains(&root) => Ok(Synced::Yes(dirs)),
            Ok(_) => Ok(Synced::NotVisible(root)),
            Err(source) => {
                Err(EngineError::Local { doing: format!("sync `{}`", root.display()), source })
            }
        }
    }

    /// Removes images that the caller pulled earlier and wants no more: those of `candidates` that are not
    /// in `keep` and that no container uses. Returns the ones removed.
    ///
    /// # Errors
    /// `Unavailable`, `Api`. An image that cannot be removed is left and logged.
    pub async fn prune_images(
        &self,
        candidates: &BTreeSet<ImageId>,
        keep: &BTreeSet<ImageId>,
    ) -> Result<Vec<ImageId>, EngineError> {
        let docker = self.api().await?;
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let list = self.seen("list containers", docker.list_containers(Some(options)).await)?;
        let used: BTreeSet<String> = list.into_iter().filter_map(|one| one.image_id).collect();
        let mut removed = Vec::new();
        for image in candidates.difference(keep).filter(|image| !used.contains(image.as_str())) {
            match remove_image(&docker, image).await {
                Ok(true) => removed.push(image.clone()),
                Ok(false) => {}
                Err(error) => {
                    self.note(&error);
                    tracing::warn!(%image, %error, "unused image could not be removed, ignoring");
                }
            }
        }
        Ok(removed)
    }
}

/// Removes all names of an image, and with the last one its content. False when it was gone.
async fn remove_image(docker: &Docker, image: &ImageId) -> Result<bool, DockerError> {
    let found = match docker.inspect_image(image.as_str()).await {
        Err(error) if http_status(&error) == Some(404) => return Ok(false),
        found => found?,
    };
    // By id the engine refuses an image with several names; forcing would also cut down running ones.
    let names = found.repo_tags.into_iter().chain(found.repo_digests).flatten();
    for name in names.filter(|name| !name.starts_with("<none>")) {
        let options = RemoveImageOptionsBuilder::default().build();
        docker.remove_image(&name, Some(options), None).await.or_else(gone)?;
    }
    let options = RemoveImageOptionsBuilder::default().build();
    docker.remove_image(image.as_str(), Some(options), None).await.or_else(gone)?;
    Ok(true)
}

fn gone<T: Default>(error: DockerError) -> Result<T, DockerError> {
    if http_status(&error) == Some(404) { Ok(T::default()) } else { Err(error) }
}

/// Sends credentials itself: the engine reads URL-safe Base64, bollard writes the other one, and the engine
/// silently pulls anonymously when it cannot decode.
fn with_credentials(docker: &Docker, auth: Option<&Credentials>, registry: &str) -> Docker {
    let Some(auth) = auth else { return docker.clone() };
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    let json = serde_json::json!({
        "username": auth.username, "password": auth.password, "serveraddress": server,
    });
    let header = BASE64_URL_SAFE.encode(json.to_string());
    docker.clone().with_request_modifier(move |mut request| {
        // Base64 is always a valid header value.
        if let Ok(value) = header.parse() {
            request.headers_mut().insert("X-Registry-Auth", value);
        }
        request
    })
}

fn has_platform(image: &ImageInspect, wanted: &str) -> bool {
    let mut parts = wanted.split('/');
    let matches = |part: Option<&str>, found: &Option<String>| {
        part.is_none_or(|part| {
            found.as_deref().is_none_or(|found| found.is_empty() || found == part)
        })
    };
    matches(parts.next(), &image.os)
        && matches(parts.next(), &image.architecture)
        && matches(parts.next(), &image.variant)
}

/// The layers of one pull by their short ids.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Layer>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layer {
    is_done: bool,
    bytes_done: u64,
    bytes_total: u64,
}

impl Layers {
    /// Takes in one line of the engine's report; true when the progress changed.
    fn note(&mut self, info: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&info.id, info.status.as_deref()) else { return false };
        let is_known = self.0.contains_key(id);
        let is_layer = matches!(
            status,
            "Pulling fs layer"
                | "Waiting"
                | "Downloading"
                | "Verifying Checksum"
                | "Download complete"
        ) || matches!(status, "Extracting" | "Pull complete" | "Already exists");
        if !is_layer || (!is_known && self.0.len() >= LAYERS_MAX) {
            return false;
        }
        let layer = self.0.entry(id.clone()).or_default();
        let before = *layer;
        let detail = info.progress_detail.clone().unwrap_or_default();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match status {
            "Downloading" => {
                layer.bytes_done = number(detail.current).unwrap_or(layer.bytes_done);
                layer.bytes_total = number(detail.total).unwrap_or(layer.bytes_total);
            }
            "Download complete" | "Verifying Checksum" => layer.bytes_done = layer.bytes_total,
            "Pull complete" | "Already exists" => {
                layer.is_done = true;
                layer.bytes_done = layer.bytes_total;
            }
            _ => {}
        }
        !is_known || before != *layer
    }

    fn progress(&self) -> PullProgress {
        self.0.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            layers_done: sum.layers_done.saturating_add(usize::from(layer.is_done)),
            layers_total: sum.layers_total.saturating_add(1),
            bytes_done: sum.bytes_done.saturating_add(layer.bytes_done),
            bytes_total: sum.bytes_total.saturating_add(layer.bytes_total),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    fn info(id: &str, status: &str, detail: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn progress_adds_up_over_layers() {
        let mut layers = Layers::default();
        assert!(!layers.note(&info("1.0", "Pulling from library/x", None)));
        assert!(layers.note(&info("a", "Pulling fs layer", None)));
        assert!(layers.note(&info("b", "Already exists", None)));
        assert!(layers.note(&info("a", "Downloading", Some((10, 40)))));
        assert!(!layers.note(&info("a", "Downloading", Some((10, 40)))));
        assert_eq!(
            layers.progress(),
            PullProgress { layers_done: 1, layers_total: 2, bytes_done: 10, bytes_total: 40 }
        );
        assert!(layers.note(&info("a", "Pull complete", None)));
        assert_eq!(layers.progress().layers_done, 2);
        assert_eq!(layers.progress().bytes_done, 40);
    }

    #[test]
    fn passwords_are_not_printed() {
        let auth = Credentials { username: "u".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{auth:?}").contains("secret"));
    }

    #[test]
    fn platforms_match_by_what_is_said() {
        let image = ImageInspect {
            os: Some("linux".to_owned()),
            architecture: Some("arm64".to_owned()),
            variant: Some("v8".to_owned()),
            ..ImageInspect::default()
        };
        for (wanted, expected) in [
            ("linux/arm64", true),
            ("linux/arm64/v8", true),
            ("linux/amd64", false),
            ("linux", true),
        ] {
            assert_eq!(has_platform(&image, wanted), expected, "{wanted}");
        }
    }
}
