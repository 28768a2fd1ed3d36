//! Artifacts that stay in their registry: what a tag stands for, and how somebody else can read the layer.

use super::error::OciError;
use super::manifest::ArtifactKind;
use super::pull::{Puller, open, put};
use super::reference::OciReference;
use super::transport::Session;
use crate::artifacts::Artifacts;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use state_machine::ids::Digest;

/// An artifact whose manifest is in the store, and whose layer may be anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedArtifact {
    /// To pin: the same deployment means this from now on.
    pub manifest_digest: Digest,
    /// The content.
    pub layer_digest: Digest,
    /// Its size, in bytes.
    pub layer_size_bytes: u64,
}

/// How a blob is read from outside this program.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobAccess {
    /// Its address.
    pub url: String,
    /// Value of the `Authorization` header that the registry wants, if it wants one. It may run out.
    pub authorization: Option<String>,
    /// The registry sends parts of it when asked for parts.
    pub has_ranges: bool,
}

impl std::fmt::Debug for BlobAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token must never reach a log.
        f.debug_struct("BlobAccess").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Puller {
    /// Finds out what a reference stands for and keeps the manifest. With `pinned`, without any network if the
    /// store has it.
    ///
    /// # Errors
    /// See [`OciError`].
    pub async fn resolve_artifact(
        &self,
        reference: &OciReference,
        pinned: Option<&Digest>,
        kind: &ArtifactKind,
        store: &Artifacts,
    ) -> Result<ResolvedArtifact, OciError> {
        let mut session = None;
        // Boxed: the future holds a whole HTTP exchange.
        let found = Box::pin(self.manifest(&mut session, reference, (pinned, kind), store));
        let (body, layer) = found.await?;
        let manifest_digest = put(store, body, &format!("manifest of {reference}")).await?;
        Ok(ResolvedArtifact {
            manifest_digest,
            layer_digest: layer.digest,
            layer_size_bytes: layer.size_bytes,
        })
    }

    /// How a layer of the reference's repository is read, found out by asking for its first byte.
    ///
    /// # Errors
    /// See [`OciError`].
    pub async fn blob_access(
        &self,
        reference: &OciReference,
        layer: &Digest,
    ) -> Result<BlobAccess, OciError> {
        let mut session: Option<Session> = None;
        let session = open(&mut session, reference, self)?;
        let path = format!("blobs/{layer}");
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let what = format!("layer of {reference}");
        let response = Box::pin(session.get(&path, &headers, &what)).await?;
        let has_ranges = response.status().as_u16() == 206;
        Ok(BlobAccess {
            url: session.url(&path),
            authorization: session.authorization(),
            has_ranges,
        })
    }
}
