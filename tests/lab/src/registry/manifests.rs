//! Manifests and indexes by tag or digest.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;

use super::handlers::{created, internal, unknown};
use super::index::Index;
use super::routes::is_tag;
use crate::fault::{FaultKind, Hits};
use crate::ids::{is_sha256_digest, sha256_digest};
use crate::net::exchange::etag;
use crate::net::problem::oci_error;

/// Largest manifest, as the distribution specification suggests.
const MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn get(index: &Index, name: &str, reference: &str, hits: &Hits) -> Response<Body> {
    let manifest = match index.manifest(name, reference) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return unknown("MANIFEST_UNKNOWN", reference),
        Err(error) => return internal(&error),
    };
    let mut bytes = manifest.bytes;
    if hits.has(&FaultKind::WrongBytes) {
        // Still the same JSON.
        bytes.push(b'\n');
    }
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    for (key, value) in [
        (header::CONTENT_TYPE, manifest.media_type.as_str()),
        (header::HeaderName::from_static("docker-content-digest"), manifest.digest.as_str()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(key, value);
        }
    }
    headers.insert(header::ETAG, etag(&manifest.digest));
    response
}

pub(super) async fn put(
    index: &Index,
    name: &str,
    reference: &str,
    request: Request<Body>,
) -> Response<Body> {
    let is_digest = is_sha256_digest(reference);
    if !is_digest && !is_tag(reference) {
        return oci_error(StatusCode::BAD_REQUEST, "TAG_INVALID", reference);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let Ok(bytes) = to_bytes(request.into_body(), MANIFEST_MAX_BYTES).await else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return oci_error(status, "SIZE_INVALID", "incomplete or larger than 4 MiB");
    };
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
        return oci_error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "not JSON");
    };
    if is_digest && sha256_digest(&bytes) != reference {
        return oci_error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", reference);
    }
    if let Some(missing) = missing_blob(index, &manifest) {
        return oci_error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", &missing);
    }
    let media_type = manifest.get("mediaType").and_then(Value::as_str).map(ToOwned::to_owned);
    let media_type = media_type.or_else(|| Some(content_type?.to_str().ok()?.to_owned()));
    let Some(media_type) = media_type else {
        return oci_error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "no media type");
    };
    let tag = (!is_digest).then_some(reference);
    match index.put_manifest(name, tag, &media_type, &bytes) {
        Ok(digest) => created(&format!("/v2/{name}/manifests/{digest}"), &digest),
        Err(error) => internal(&error),
    }
}

/// The first blob a manifest names that is not here. Foreign layers (with `urls`) need not be.
fn missing_blob(index: &Index, manifest: &Value) -> Option<String> {
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    layers
        .chain(manifest.get("config"))
        .filter(|blob| blob.get("urls").is_none())
        .filter_map(|blob| blob.get("digest")?.as_str())
        .find(|digest| index.blobs().path(digest).is_none())
        .map(ToOwned::to_owned)
}
