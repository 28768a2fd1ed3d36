//! From a reference to verified bytes in the artifact store.

use super::blob;
use super::error::OciError;
use super::manifest::{ArtifactKind, Layer, MANIFEST_MEDIA_TYPE, ManifestFault, layer_of};
use super::reference::OciReference;
use super::registries::{Credentials, Registries};
use super::transport::{Session, read_bounded, transport};
use crate::artifacts::{Artifacts, ArtifactsError, digest};
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use state_machine::ids::Digest;
use std::time::Duration;

/// What the registry says the manifest's digest is.
const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// Limits of a pull (I11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciLimits {
    /// TCP and TLS handshake, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Silence in the middle of an answer, in milliseconds.
    pub read_timeout_ms: u64,
    /// A whole pull, in milliseconds.
    pub pull_timeout_ms: u64,
    /// Fruitless transfers of one blob in a row before the pull fails. What came is kept in between.
    pub attempts_max: u32,
    /// Pause after a fruitless transfer, times its number, in milliseconds.
    pub retry_pause_ms: u64,
    /// Manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// Layer of a compose artifact, in bytes.
    pub compose_layer_bytes_max: u64,
}

impl Default for OciLimits {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 15_000,
            read_timeout_ms: 60_000,
            pull_timeout_ms: 4 * 3600 * 1000,
            attempts_max: 8,
            retry_pause_ms: 1000,
            manifest_bytes_max: 1 << 20,
            compose_layer_bytes_max: 64 << 20,
        }
    }
}

/// An artifact whose manifest and layer are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledArtifact {
    /// To pin: the same deployment is pulled by this from now on.
    pub manifest_digest: Digest,
    /// The content.
    pub layer_digest: Digest,
    /// Its size, in bytes.
    pub layer_size_bytes: u64,
}

/// Pulls artifacts with one set of registry settings.
#[derive(Clone, Debug, Default)]
pub struct Puller {
    pub(super) registries: Registries,
    pub(super) limits: OciLimits,
}

impl Puller {
    /// A puller. Reads certificate authorities when it connects, so changed files need no restart.
    pub fn new(registries: Registries, limits: OciLimits) -> Self {
        Self { registries, limits }
    }

    /// Credentials that the container engine should use for this registry (`host[:port]`).
    pub fn credentials(&self, registry: &str) -> Option<&Credentials> {
        self.registries.credentials(registry)
    }

    /// Pulls a compose archive (section 4.6 of the interface). With `pinned`, by that digest and not by the tag,
    /// and without any network if the store has it all.
    ///
    /// # Errors
    /// See [`OciError`]. A repeated call continues with what is still missing.
    pub async fn pull_compose_artifact(
        &self,
        reference: &OciReference,
        pinned: Option<&Digest>,
        store: &Artifacts,
    ) -> Result<PulledArtifact, OciError> {
        let kind = ArtifactKind::compose(self.limits.compose_layer_bytes_max);
        self.pull_artifact(reference, pinned, &kind, store).await
    }

    /// Pulls an artifact of any kind that has exactly one layer.
    ///
    /// # Errors
    /// As for [`Self::pull_compose_artifact`].
    pub async fn pull_artifact(
        &self,
        reference: &OciReference,
        pinned: Option<&Digest>,
        kind: &ArtifactKind,
        store: &Artifacts,
    ) -> Result<PulledArtifact, OciError> {
        let limit = Duration::from_millis(self.limits.pull_timeout_ms);
        // Boxed: the future holds a whole HTTP exchange.
        let pull = Box::pin(self.pull(reference, pinned, kind, store));
        match tokio::time::timeout(limit, pull).await {
            Ok(result) => result,
            Err(_) => Err(OciError::GaveUp {
                what: reference.to_string(),
                reason: format!("not complete after {} s", limit.as_secs()),
            }),
        }
    }

    async fn pull(
        &self,
        reference: &OciReference,
        pinned: Option<&Digest>,
        kind: &ArtifactKind,
        store: &Artifacts,
    ) -> Result<PulledArtifact, OciError> {
        let mut session = None;
        let (body, layer) = self.manifest(&mut session, reference, (pinned, kind), store).await?;
        let what = format!("layer of {reference}");
        if !is_stored(store, &layer.digest, &what).await? {
            let session = open(&mut session, reference, self)?;
            blob::download(session, &layer, store, &self.limits, &what).await?;
        }
        // Last, so that a manifest in the store means that its layer was complete once.
        let manifest_digest = put(store, body, &what).await?;
        Ok(PulledArtifact {
            manifest_digest,
            layer_digest: layer.digest,
            layer_size_bytes: layer.size_bytes,
        })
    }

    /// The manifest, from the store if it is pinned and there, and the layer it names.
    pub(super) async fn manifest(
        &self,
        session: &mut Option<Session>,
        reference: &OciReference,
        (pinned, kind): (Option<&Digest>, &ArtifactKind),
        store: &Artifacts,
    ) -> Result<(Bytes, Layer), OciError> {
        let what = format!("manifest of {reference}");
        let local = match pinned {
            Some(pinned) => stored(store, pinned, &what).await?,
            None => None,
        };
        let body = match local {
            Some(body) => body,
            None => {
                let session = open(session, reference, self)?;
                self.fetch_manifest(session, reference, pinned, &what).await?
            }
        };
        let layer = self.layer(&body, kind, &what)?;
        Ok((body, layer))
    }

    fn layer(&self, body: &[u8], kind: &ArtifactKind, what: &str) -> Result<Layer, OciError> {
        layer_of(body, kind).map_err(|fault| match fault {
            ManifestFault::Kind(reason) => OciError::WrongKind { what: what.to_owned(), reason },
            ManifestFault::TooLarge(size_bytes) => OciError::TooLarge {
                what: what.to_owned(),
                size_bytes,
                size_bytes_max: kind.layer_bytes_max,
            },
        })
    }

    async fn fetch_manifest(
        &self,
        session: &mut Session,
        reference: &OciReference,
        pinned: Option<&Digest>,
        what: &str,
    ) -> Result<Bytes, OciError> {
        let wanted = pinned.map_or_else(|| reference.tag(), Digest::as_str);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_MEDIA_TYPE));
        let response = session.get(&format!("manifests/{wanted}"), &headers, what).await?;
        let promised = pinned.cloned().or_else(|| announced_digest(&response));
        let body = read_bounded(response, self.limits.manifest_bytes_max)
            .await
            .map_err(|source| transport(what, source))?;
        let limit = u64::try_from(self.limits.manifest_bytes_max).unwrap_or(u64::MAX);
        let body = body.ok_or_else(|| OciError::TooLarge {
            what: what.to_owned(),
            size_bytes: limit.saturating_add(1),
            size_bytes_max: limit,
        })?;
        let actual = digest::of(&body);
        match promised {
            Some(expected) if expected != actual => {
                Err(OciError::DigestMismatch { what: what.to_owned(), expected, actual })
            }
            Some(_) | None => Ok(body),
        }
    }
}

/// Connects to the registry at most once in a pull.
pub(super) fn open<'s>(
    session: &'s mut Option<Session>,
    reference: &OciReference,
    puller: &Puller,
) -> Result<&'s mut Session, OciError> {
    if session.is_none() {
        *session = Some(Session::new(reference, &puller.registries, &puller.limits)?);
    }
    session.as_mut().ok_or_else(|| OciError::GaveUp {
        what: reference.to_string(),
        reason: "no session".to_owned(),
    })
}

fn announced_digest(response: &Response) -> Option<Digest> {
    let header = response.headers().get(DIGEST_HEADER)?.to_str().ok()?;
    digest::parse(header).ok()
}

async fn stored(store: &Artifacts, wanted: &Digest, what: &str) -> Result<Option<Bytes>, OciError> {
    let wanted = wanted.clone();
    let get = on_disk(store, what, move |store| match store.get(&wanted) {
        Ok(bytes) => Ok(Some(Bytes::from(bytes))),
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error),
    });
    get.await
}

async fn is_stored(store: &Artifacts, wanted: &Digest, what: &str) -> Result<bool, OciError> {
    let wanted = wanted.clone();
    on_disk(store, what, move |store| store.is_intact(&wanted)).await
}

pub(super) async fn put(store: &Artifacts, bytes: Bytes, what: &str) -> Result<Digest, OciError> {
    on_disk(store, what, move |store| store.put(&bytes)).await
}

async fn on_disk<T: Send + 'static>(
    store: &Artifacts,
    what: &str,
    work: impl FnOnce(&Artifacts) -> Result<T, ArtifactsError> + Send + 'static,
) -> Result<T, OciError> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(result) => result.map_err(|source| OciError::store(what, source)),
        Err(error) => Err(OciError::GaveUp {
            what: what.to_owned(),
            reason: format!("storing stopped: {error}"),
        }),
    }
}
