//! Fetching the documents a manifest names: as a bundle or one by one, whichever works (R122, R123).

use super::bundle;
use super::client::{WfmClient, unexpected};
use super::error::{Operation, WfmError};
use super::http::Ask;
use super::manifest::{ArtifactRef, StateManifest};
use crate::artifacts::digest;
use bytes::Bytes;
use reqwest::{Method, Url};
use state_machine::ids::Digest;
use std::collections::BTreeMap;

/// Which way is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FetchPreference {
    /// The bundle if more than one document is missing.
    #[default]
    Auto,
    /// The bundle.
    Bundle,
    /// One by one.
    Individual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bundle,
    Individual,
}

impl WfmClient {
    /// Fetches every document of `manifest` that `have` does not know, each verified against its digest.
    ///
    /// If one way fails because of the content (404, wrong digest, broken archive), the other one is tried.
    ///
    /// # Errors
    /// Something is still missing: nothing is returned and the manifest must not be accepted (R123). A digest
    /// mismatch on either way is what is reported then.
    pub async fn fetch_deployments(
        &self,
        manifest: &StateManifest,
        have: impl Fn(&Digest) -> bool,
        prefer: FetchPreference,
    ) -> Result<BTreeMap<Digest, Bytes>, WfmError> {
        let mut missing: BTreeMap<Digest, &ArtifactRef> = manifest
            .deployments
            .iter()
            .map(|deployment| &deployment.artifact)
            .filter(|artifact| !have(&artifact.digest))
            .map(|artifact| (artifact.digest.clone(), artifact))
            .collect();
        let mut found = BTreeMap::new();
        let ways = match prefer {
            FetchPreference::Auto if missing.len() > 1 => [Way::Bundle, Way::Individual],
            FetchPreference::Bundle => [Way::Bundle, Way::Individual],
            FetchPreference::Auto | FetchPreference::Individual => [Way::Individual, Way::Bundle],
        };
        let mut failure: Option<WfmError> = None;
        for way in ways {
            if missing.is_empty() {
                break;
            }
            let result = match way {
                Way::Bundle => self.by_bundle(manifest, &missing, &mut found).await,
                Way::Individual => self.one_by_one(&missing, &mut found).await,
            };
            missing.retain(|digest, _| !found.contains_key(digest));
            match result {
                Ok(()) => {}
                Err(error) if error.is_of_the_artifact() => {
                    failure = Some(graver(failure, error));
                }
                Err(error) => return Err(error),
            }
        }
        match (missing.into_keys().next(), failure) {
            (None, _) => Ok(found),
            (Some(_), Some(error)) => Err(error),
            (Some(digest), None) => Err(WfmError::Protocol {
                operation: Operation::FetchDeployment,
                reason: format!("{digest} could not be fetched"),
            }),
        }
    }

    async fn by_bundle(
        &self,
        manifest: &StateManifest,
        missing: &BTreeMap<Digest, &ArtifactRef>,
        found: &mut BTreeMap<Digest, Bytes>,
    ) -> Result<(), WfmError> {
        let Some(reference) = &manifest.bundle else { return Ok(()) };
        let limit = self.http.limits.bundle_bytes_max;
        let bytes = self.fetch(Operation::FetchBundle, reference, limit).await?;
        let (wanted, limits) = (manifest.digests(), self.http.limits.clone());
        let fault = |source| WfmError::Bundle { digest: reference.digest.clone(), source };
        let unpacked =
            tokio::task::spawn_blocking(move || bundle::unpack(&bytes, &wanted, &limits)).await;
        let all = unpacked
            .map_err(|error| WfmError::Protocol {
                operation: Operation::FetchBundle,
                reason: format!("unpacking did not finish: {error}"),
            })?
            .map_err(fault)?;
        found.extend(all.into_iter().filter(|(digest, _)| missing.contains_key(digest)));
        Ok(())
    }

    /// Keeps what could be fetched; the first content failure is returned at the end.
    async fn one_by_one(
        &self,
        missing: &BTreeMap<Digest, &ArtifactRef>,
        found: &mut BTreeMap<Digest, Bytes>,
    ) -> Result<(), WfmError> {
        let limit = usize::try_from(self.http.limits.deployment_bytes_max).unwrap_or(usize::MAX);
        let mut failure: Option<WfmError> = None;
        for (digest, reference) in missing {
            match self.fetch(Operation::FetchDeployment, reference, limit).await {
                Ok(bytes) => {
                    found.insert(digest.clone(), bytes);
                }
                Err(error) if error.is_of_the_artifact() => {
                    failure = Some(graver(failure, error));
                }
                Err(error) => return Err(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// From the URL built on our base, else from the WFM's own if it is absolute and of the same origin.
    async fn fetch(
        &self,
        operation: Operation,
        reference: &ArtifactRef,
        bytes_max: usize,
    ) -> Result<Bytes, WfmError> {
        let url = self.http.url(operation, &reference.path)?;
        let other = self.http.same_origin(&reference.url).filter(|other| *other != url);
        let first = self.fetch_url(operation, url, reference, bytes_max).await;
        match (first, other) {
            (Err(error), Some(other)) if error.is_of_the_artifact() => self
                .fetch_url(operation, other, reference, bytes_max)
                .await
                .map_err(|second| graver(Some(error), second)),
            (result, _) => result,
        }
    }

    async fn fetch_url(
        &self,
        operation: Operation,
        url: Url,
        reference: &ArtifactRef,
        bytes_max: usize,
    ) -> Result<Bytes, WfmError> {
        let answer = self
            .http
            .exchange(Ask {
                operation,
                method: Method::GET,
                url,
                header: None,
                accept: None,
                body: None,
                body_bytes_max: bytes_max,
            })
            .await?;
        if answer.status != 200 {
            return Err(unexpected(operation, answer.status));
        }
        // The media type is not looked at: the digest says all there is to say about content.
        let actual = digest::of(&answer.body);
        if actual != reference.digest {
            return Err(WfmError::DigestMismatch { expected: reference.digest.clone(), actual });
        }
        Ok(answer.body)
    }
}

/// A mismatch says more than "not found", and must not be hidden by it.
fn graver(earlier: Option<WfmError>, later: WfmError) -> WfmError {
    match earlier {
        Some(earlier @ (WfmError::DigestMismatch { .. } | WfmError::Bundle { .. })) => earlier,
        Some(_) | None => later,
    }
}
