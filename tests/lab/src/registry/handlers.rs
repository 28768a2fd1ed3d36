//! Reading from the registry: version check, lists, blobs with ranges; and the answers that all handlers share.

use std::error::Error;
use std::io::SeekFrom;
use std::path::PathBuf;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::index::Index;
use crate::fault::{FaultKind, Hits};
use crate::net::exchange::etag;
use crate::net::problem::{empty, json_response, oci_error};

/// Bytes read from a blob's file at a time.
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn ping() -> Response<Body> {
    let mut response = json_response(StatusCode::OK, "application/json", &json!({}));
    let name = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(name, HeaderValue::from_static("registry/2.0"));
    response
}

pub(super) fn catalog(index: &Index) -> Response<Body> {
    let body = json!({ "repositories": index.repositories() });
    json_response(StatusCode::OK, "application/json", &body)
}

pub(super) fn tags(index: &Index, name: &str) -> Response<Body> {
    match index.tags_of(name) {
        Some(tags) => {
            let body = json!({ "name": name, "tags": tags });
            json_response(StatusCode::OK, "application/json", &body)
        }
        None => unknown("NAME_UNKNOWN", name),
    }
}

pub(super) async fn blob(
    index: &Index,
    digest: &str,
    headers: &HeaderMap,
    hits: &Hits,
) -> Response<Body> {
    let Some(path) = index.blobs().path(digest) else {
        return unknown("BLOB_UNKNOWN", digest);
    };
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    match serve(path, range, hits.has(&FaultKind::WrongBytes)).await {
        Ok(mut response) => {
            let headers = response.headers_mut();
            headers.insert(header::ETAG, etag(digest));
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            if let Ok(value) = HeaderValue::from_str(digest) {
                headers.insert(HeaderName::from_static("docker-content-digest"), value);
            }
            response
        }
        Err(error) => internal(&error),
    }
}

async fn serve(
    path: PathBuf,
    range: Option<&str>,
    is_spoiled: bool,
) -> Result<Response<Body>, std::io::Error> {
    let mut file = File::open(&path).await?;
    let size = file.metadata().await?.len();
    let (status, start, length) = match range.map(|text| parse_range(text, size)) {
        None | Some(Asked::Whole) => (StatusCode::OK, 0, size),
        Some(Asked::Part { start, length }) => (StatusCode::PARTIAL_CONTENT, start, length),
        Some(Asked::Beyond) => {
            let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            content_range(&mut response, format!("bytes */{size}"));
            return Ok(response);
        }
    };
    file.seek(SeekFrom::Start(start)).await?;
    let mut response = Response::new(Body::from_stream(pieces(file, length, is_spoiled)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start + length.saturating_sub(1);
        content_range(&mut response, format!("bytes {start}-{last}/{size}"));
    }
    Ok(response)
}

/// The file's content piece by piece; spoiled, the first byte is another one.
fn pieces(
    file: File,
    length: u64,
    is_spoiled: bool,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    let start = (file.take(length), is_spoiled);
    stream::try_unfold(start, |(mut file, is_spoiled)| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        if let (Some(first), true) = (piece.first_mut(), is_spoiled) {
            *first ^= 0xff;
        }
        Ok((read > 0).then(|| (Bytes::from(piece), (file, false))))
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part { start: u64, length: u64 },
    Beyond,
}

/// One byte range; anything else is ignored, as the rules of HTTP allow.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::Whole;
    };
    let (first, last) = (first.parse::<u64>().ok(), last.parse::<u64>().ok());
    let (start, end) = match (first, last) {
        (Some(start), Some(last)) if last >= start => (start, last.saturating_add(1).min(size)),
        (Some(start), None) if text.ends_with('-') => (start, size),
        (None, Some(suffix)) if text.starts_with("bytes=-") => (size.saturating_sub(suffix), size),
        _ => return Asked::Whole,
    };
    if start >= size {
        return Asked::Beyond;
    }
    Asked::Part { start, length: end - start }
}

fn content_range(response: &mut Response<Body>, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
}

/// 201 with where it is.
pub(super) fn created(location: &str, digest: &str) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    let digest_header = HeaderName::from_static("docker-content-digest");
    for (key, value) in [(header::LOCATION, location), (digest_header, digest)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(key, value);
        }
    }
    response
}

/// 404 for something named.
pub(super) fn unknown(code: &str, what: &str) -> Response<Body> {
    oci_error(StatusCode::NOT_FOUND, code, &format!("no {what} here"))
}

/// 500 with the reason.
pub(super) fn internal(error: &(dyn Error + 'static)) -> Response<Body> {
    tracing::error!(error, "the lab's registry failed");
    oci_error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_defines_them() {
        assert_eq!(parse_range("bytes=0-3", 10), Asked::Part { start: 0, length: 4 });
        assert_eq!(parse_range("bytes=5-", 10), Asked::Part { start: 5, length: 5 });
        assert_eq!(parse_range("bytes=-3", 10), Asked::Part { start: 7, length: 3 });
        assert_eq!(parse_range("bytes=8-99", 10), Asked::Part { start: 8, length: 2 });
        assert_eq!(parse_range("bytes=10-", 10), Asked::Beyond);
        assert_eq!(parse_range("bytes=3-1", 10), Asked::Whole);
        assert_eq!(parse_range("bytes=a-b", 10), Asked::Whole);
        assert_eq!(parse_range("items=0-1", 10), Asked::Whole);
    }
}
