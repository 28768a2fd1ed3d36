//! Blob uploads: in one request, or opened, appended to and finished; mounting from another repository.

use std::io;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use futures_util::StreamExt;
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::handlers::{created, internal, unknown};
use super::index::Index;
use crate::ids::random_uuid;
use crate::net::problem::{empty, oci_error};
use crate::net::url::query_value;

/// Largest blob.
const BLOB_MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

pub(super) async fn start(index: &Index, name: &str, request: Request<Body>) -> Response<Body> {
    let query = request.uri().query().map(ToOwned::to_owned);
    // All repositories share their blobs, so mounting one is finding it.
    if let Some(digest) = query_value(query.as_deref(), "mount")
        && index.blobs().path(&digest).is_some()
    {
        return created(&format!("/v2/{name}/blobs/{digest}"), &digest);
    }
    let id = random_uuid();
    if let Err(error) = fs::write(index.blobs().upload_path(&id), b"").await {
        return internal(&error);
    }
    if query_value(query.as_deref(), "digest").is_some() {
        return finish(index, name, &id, request).await;
    }
    accepted(index, name, &id).await
}

pub(super) async fn status(index: &Index, name: &str, id: &str) -> Response<Body> {
    let mut response = accepted(index, name, id).await;
    if response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

pub(super) async fn append(
    index: &Index,
    name: &str,
    id: &str,
    request: Request<Body>,
) -> Response<Body> {
    match collect(index, id, request).await {
        Ok(()) => accepted(index, name, id).await,
        Err(refused) => *refused,
    }
}

pub(super) async fn finish(
    index: &Index,
    name: &str,
    id: &str,
    request: Request<Body>,
) -> Response<Body> {
    let Some(digest) = query_value(request.uri().query(), "digest") else {
        return oci_error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "no digest was given");
    };
    if let Err(refused) = collect(index, id, request).await {
        return *refused;
    }
    match index.blobs().finish(&index.blobs().upload_path(id), &digest) {
        Ok(true) => created(&format!("/v2/{name}/blobs/{digest}"), &digest),
        Ok(false) => oci_error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &digest),
        Err(error) => internal(&error),
    }
}

pub(super) async fn abandon(index: &Index, id: &str) -> Response<Body> {
    match fs::remove_file(index.blobs().upload_path(id)).await {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(_) => unknown("BLOB_UPLOAD_UNKNOWN", id),
    }
}

/// Adds the request's body to an upload.
async fn collect(
    index: &Index,
    id: &str,
    request: Request<Body>,
) -> Result<(), Box<Response<Body>>> {
    let failed = |error: io::Error| Box::new(internal(&error));
    let path = index.blobs().upload_path(id);
    let mut size = match fs::metadata(&path).await {
        Ok(meta) => meta.len(),
        Err(_) => return Err(Box::new(unknown("BLOB_UPLOAD_UNKNOWN", id))),
    };
    let range = request.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.trim_start_matches("bytes ").split('-').next());
    if start.is_some_and(|start| start.parse() != Ok(size)) {
        let message = format!("{size} bytes are here");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Box::new(oci_error(status, "BLOB_UPLOAD_INVALID", &message)));
    }
    let mut file = OpenOptions::new().append(true).open(&path).await.map_err(failed)?;
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            let message = "the body ended early";
            let status = StatusCode::BAD_REQUEST;
            return Err(Box::new(oci_error(status, "BLOB_UPLOAD_INVALID", message)));
        };
        size = size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if size > BLOB_MAX_BYTES {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Box::new(oci_error(status, "SIZE_INVALID", "larger than 8 GiB")));
        }
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

/// 202 with how much is here.
async fn accepted(index: &Index, name: &str, id: &str) -> Response<Body> {
    let Ok(meta) = fs::metadata(index.blobs().upload_path(id)).await else {
        return unknown("BLOB_UPLOAD_UNKNOWN", id);
    };
    let mut response = empty(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    let range = format!("0-{}", meta.len().saturating_sub(1));
    let upload_id = HeaderName::from_static("docker-upload-uuid");
    for (key, value) in
        [(header::LOCATION, location), (header::RANGE, range), (upload_id, id.to_owned())]
    {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(key, value);
        }
    }
    response
}
