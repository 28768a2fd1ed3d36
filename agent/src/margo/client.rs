//! The four calls of the management interface.

use super::device_id::DeviceId;
use super::error::{Operation, WfmError};
use super::http::{Ask, Http, Limits, SetupError};
use super::manifest::StateManifest;
use super::wire::{DeploymentStatusManifest, DeviceCapabilitiesManifest, MANIFEST_MEDIA_TYPE};
use crate::artifacts::digest;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use state_machine::ids::Digest;
use std::fmt;

/// Longest entity tag that is remembered, in bytes.
const ETAG_BYTES_MAX: usize = 256;
/// Answers without a defined body may have a little one.
const EMPTY_BYTES_MAX: usize = 64 * 1024;

/// How the WFM took the capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// 201: the device was unknown.
    Created,
    /// 200: they replace earlier ones.
    Updated,
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// 304: nothing new since the entity tag that was sent.
    NotModified,
    /// 200: a valid manifest; whether it is newer is for the caller to judge (R125).
    Manifest(Box<ManifestFetched>),
}

/// A manifest with what has to be kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFetched {
    /// Parsed and validated.
    pub manifest: StateManifest,
    /// For the next poll: the WFM's, which need not be the body's digest; else made from the body's digest.
    pub etag: Option<String>,
    /// The exact body.
    pub raw: Bytes,
    /// Of the exact body.
    pub digest: Digest,
}

/// A client of one WFM. Make a new one when the SVID, the trust bundle or the address changes (R033).
pub struct WfmClient {
    pub(super) http: Http,
}

impl fmt::Debug for WfmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WfmClient").finish_non_exhaustive()
    }
}

impl WfmClient {
    /// A client for the WFM at `base_url`, which may have a path. Connects only when used.
    ///
    /// # Errors
    /// The address is not an absolute https URL.
    pub fn new(
        base_url: &str,
        tls: rustls::ClientConfig,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        Ok(Self { http: Http::new(base_url, tls, limits)? })
    }

    /// Reports capabilities (R100, R101).
    ///
    /// # Errors
    /// See [`WfmError`]; repeat until accepted.
    pub async fn put_capabilities(
        &self,
        device: &DeviceId,
        manifest: &DeviceCapabilitiesManifest,
    ) -> Result<Accepted, WfmError> {
        let operation = Operation::PutCapabilities;
        let answer = self
            .http
            .exchange(Ask {
                operation,
                method: Method::PUT,
                url: self.http.url(operation, &format!("/api/v1/capabilities/{device}"))?,
                header: None,
                accept: None,
                body: Some(manifest.to_bytes()),
                body_bytes_max: EMPTY_BYTES_MAX,
            })
            .await?;
        match answer.status {
            201 => Ok(Accepted::Created),
            200..=299 => Ok(Accepted::Updated),
            status => Err(unexpected(operation, status)),
        }
    }

    /// Asks for the state manifest, given the last accepted one's entity tag (R120, R121).
    ///
    /// # Errors
    /// See [`WfmError`]; the previous desired state stays in force.
    pub async fn poll(&self, etag: Option<&str>) -> Result<Poll, WfmError> {
        let operation = Operation::Poll;
        let condition = etag.and_then(|etag| HeaderValue::from_str(etag).ok());
        let conditional = condition.is_some();
        let answer = self
            .http
            .exchange(Ask {
                operation,
                method: Method::GET,
                url: self.http.url(operation, "/api/v1/deployments")?,
                header: condition.map(|etag| (IF_NONE_MATCH, etag)),
                accept: Some(HeaderValue::from_static(MANIFEST_MEDIA_TYPE)),
                body: None,
                body_bytes_max: self.http.limits.manifest_bytes_max,
            })
            .await?;
        match answer.status {
            304 if conditional => return Ok(Poll::NotModified),
            200 => {}
            status => return Err(unexpected(operation, status)),
        }
        let media_type = answer.media_type();
        if media_type != MANIFEST_MEDIA_TYPE {
            let shown: String = media_type.escape_debug().take(100).collect();
            let reason = format!("answer is of type `{shown}`, not {MANIFEST_MEDIA_TYPE}");
            return Err(WfmError::Protocol { operation, reason });
        }
        let manifest = StateManifest::parse(&answer.body, self.http.limits.deployments_max)
            .map_err(|source| WfmError::Manifest { source })?;
        let digest = digest::of(&answer.body);
        // What the tag is to be (R139), for a WFM that leaves it out.
        let own_tag = format!("\"{digest}\"");
        if etag == Some(&*own_tag) {
            // A WFM that does not look at the condition: the same content is no older version (R125).
            return Ok(Poll::NotModified);
        }
        let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.filter(|etag| !etag.is_empty() && etag.len() <= ETAG_BYTES_MAX);
        let etag = Some(etag.map_or(own_tag, str::to_owned));
        Ok(Poll::Manifest(Box::new(ManifestFetched { manifest, etag, digest, raw: answer.body })))
    }

    /// Sends one status report (R133).
    ///
    /// # Errors
    /// See [`WfmError`]. Sending the same report again is harmless.
    pub async fn post_status(&self, status: &DeploymentStatusManifest) -> Result<(), WfmError> {
        let operation = Operation::PostStatus;
        let path = format!("/api/v1/deployments/{}/status", status.deployment_id);
        let body = serde_json::to_vec(status).map_err(|error| WfmError::Protocol {
            operation,
            reason: format!("report cannot be written as JSON: {error}"),
        })?;
        let answer = self
            .http
            .exchange(Ask {
                operation,
                method: Method::POST,
                url: self.http.url(operation, &path)?,
                header: None,
                accept: None,
                body: Some(body),
                body_bytes_max: EMPTY_BYTES_MAX,
            })
            .await?;
        match answer.status {
            200..=299 => Ok(()),
            status => Err(unexpected(operation, status)),
        }
    }
}

pub(super) fn unexpected(operation: Operation, status: u16) -> WfmError {
    WfmError::Protocol { operation, reason: format!("status {status} is not expected here") }
}
