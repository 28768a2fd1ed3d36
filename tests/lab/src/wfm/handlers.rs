//! The six operations.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};

use super::WfmError;
use super::clients::Clients;
use super::manifest::{self, BUNDLE_TYPE, MANIFEST_TYPE};
use super::validate;
use crate::archive;
use crate::fault::{FaultKind, Hits};
use crate::ids::{ClientId, DeploymentId, sha256_digest};
use crate::net::exchange::{etag, is_unchanged};
use crate::net::problem::{Problem, empty};

/// Largest body a device may send.
const BODY_MAX_BYTES: usize = 1024 * 1024;
const IMMUTABLE: &str = "private, max-age=31536000, immutable";

type Answered = Result<Response<Body>, Problem>;

pub(super) async fn put_capabilities(
    clients: &Clients,
    client: &ClientId,
    device: &str,
    request: Request<Body>,
) -> Answered {
    let body = json_body(request).await?;
    if !validate::is_device_id(device) {
        return Err(Problem::invalid_request("the path names no device id", Vec::new()));
    }
    let body = validate::capabilities(&body, device)?;
    // Children are reported after their gateway (R110).
    if let Some((parent, _)) = device.rsplit_once('/')
        && !clients.has_device(client, parent)
    {
        return Err(Problem::gateway_not_found());
    }
    let is_first = clients.put_device(client, device, body).map_err(internal)?;
    Ok(empty(if is_first { StatusCode::CREATED } else { StatusCode::OK }))
}

pub(super) fn delete_capabilities(clients: &Clients, client: &ClientId, device: &str) -> Answered {
    if clients.delete_device(client, device).map_err(internal)? {
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(Problem::device_not_found())
    }
}

pub(super) fn manifest(
    clients: &Clients,
    client: &ClientId,
    headers: &HeaderMap,
    hits: &Hits,
) -> Answered {
    if !accepts_manifest(headers) {
        return Err(Problem::not_acceptable());
    }
    let body = clients.manifest(client, hits).map_err(internal)?;
    let digest = sha256_digest(&body);
    let is_honest = !hits.kinds.iter().any(|kind| {
        matches!(kind, FaultKind::Manifest(_) | FaultKind::OldVersion | FaultKind::EqualVersion)
    });
    if is_honest {
        clients.served(client).map_err(internal)?;
    }
    Ok(tagged(headers, &digest, MANIFEST_TYPE, "private", body.into()))
}

pub(super) fn bundle(
    clients: &Clients,
    client: &ClientId,
    digest: &str,
    (headers, hits): (&HeaderMap, &Hits),
) -> Answered {
    let mut bytes = clients.bundle(client, digest).ok_or_else(Problem::bundle_not_found)?;
    if hits.has(&FaultKind::WrongBytes) {
        bytes = altered_bundle(&bytes).map_err(|error| internal(error.into()))?;
    }
    Ok(tagged(headers, digest, BUNDLE_TYPE, IMMUTABLE, bytes))
}

pub(super) fn deployment(
    clients: &Clients,
    client: &ClientId,
    (id, digest): &(DeploymentId, String),
    (headers, hits): (&HeaderMap, &Hits),
) -> Answered {
    let bytes = clients.document(client, id, digest).ok_or_else(Problem::deployment_not_found)?;
    let bytes = if hits.has(&FaultKind::WrongBytes) { altered(&bytes) } else { bytes };
    let is_gzip_welcome = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.split([',', ';']).any(|coding| coding.trim() == "gzip"));
    if !is_gzip_welcome || is_unchanged(headers, digest) {
        return Ok(tagged(headers, digest, "application/yaml", IMMUTABLE, bytes));
    }
    // The digest is over the decoded bytes (R126).
    let packed = archive::gzip(&bytes).map_err(|error| internal(error.into()))?;
    let mut response = tagged(headers, digest, "application/yaml", IMMUTABLE, packed.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

pub(super) async fn status(
    clients: &Clients,
    client: &ClientId,
    deployment: &DeploymentId,
    request: Request<Body>,
) -> Answered {
    let raw = json_body(request).await?;
    let known = clients.known(client, deployment);
    let body = validate::status(&raw, deployment.as_str(), &known)?;
    let raw = String::from_utf8_lossy(&raw).into_owned();
    let is_first = clients.add_report(client, deployment, body, raw).map_err(internal)?;
    Ok(empty(if is_first { StatusCode::CREATED } else { StatusCode::OK }))
}

/// 304 when the client has it already, else 200 with the content.
fn tagged(
    request: &HeaderMap,
    digest: &str,
    content_type: &'static str,
    cache: &'static str,
    body: Bytes,
) -> Response<Body> {
    let mut response = if is_unchanged(request, digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(Body::from(body));
        let value = HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, value);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(digest));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// No `Accept` header accepts everything; `q=0` excludes.
fn accepts_manifest(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::ACCEPT).iter().peekable();
    if given.peek().is_none() {
        return true;
    }
    given.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let is_excluded = parts.any(|parameter| {
            let q = parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            q.is_some_and(|q| q <= 0.0)
        });
        !is_excluded && [MANIFEST_TYPE, "application/*", "*/*"].contains(&kind)
    })
}

async fn json_body(request: Request<Body>) -> Result<Bytes, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = format!("the content type must be application/json, not `{content_type}`");
        return Err(Problem::invalid_request(&detail, Vec::new()));
    }
    to_bytes(request.into_body(), BODY_MAX_BYTES).await.map_err(|_| {
        let detail = format!("the body is incomplete or larger than {BODY_MAX_BYTES} bytes");
        Problem::invalid_request(&detail, Vec::new())
    })
}

/// The same document in meaning, with other bytes.
fn altered(bytes: &[u8]) -> Bytes {
    [bytes, b"# altered\n"].concat().into()
}

/// A readable bundle of altered documents.
fn altered_bundle(bytes: &[u8]) -> Result<Bytes, archive::ArchiveError> {
    let documents = archive::read_files(bytes)?;
    let documents: Vec<(DeploymentId, Bytes)> = documents
        .into_iter()
        .map(|(name, bytes)| (name.trim_end_matches(".yaml").into(), altered(&bytes)))
        .collect();
    let documents = documents.iter().map(|(id, bytes)| (id, bytes.as_ref()));
    Ok(manifest::pack(documents, None)?.into())
}

fn internal(error: WfmError) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "the lab's WFM failed");
    Problem::blank(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}
