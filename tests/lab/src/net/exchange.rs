//! The passage every request takes: faults that answer for the server, the server itself, faults that spoil its answer, the log.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;

use super::body;
use super::problem::{self, Note};
use super::server::Dropped;
use crate::events::{Event, Journal, RequestRecord};
use crate::fault::{FaultBoard, FaultKind, Hits, Operation, Service};
use crate::ids::{ClientId, now_ms};

/// Bodies of requests that a fault answers are read up to this, so that the client is not cut off while sending.
const DISCARD_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What the passage needs besides the request.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) service: Service,
    pub(crate) operation: Option<Operation>,
    pub(crate) client: Option<ClientId>,
    pub(crate) connection: u64,
    pub(crate) faults: &'a FaultBoard,
    pub(crate) journal: &'a Arc<Journal>,
}

impl Exchange<'_> {
    /// Lets a request through; the handler gets the faults that it must act out itself.
    pub(crate) async fn pass<H, F>(
        self,
        request: Request<Incoming>,
        handler: H,
    ) -> Result<Response<Body>, Dropped>
    where
        H: FnOnce(Request<Body>, Hits) -> F,
        F: Future<Output = Response<Body>>,
    {
        let hits = self.operation.map(|op| self.faults.hit_request(op)).unwrap_or_default();
        let mut record = self.record(&request, &hits);
        if !hits.kinds.is_empty() {
            let names: Vec<String> = hits.kinds.iter().map(ToString::to_string).collect();
            let operation = record.operation;
            self.journal.say(Event::FaultHit { operation, faults: names.join(" ") });
        }
        if hits.has(&FaultKind::Hang) {
            let mut cleared = self.faults.cleared();
            self.journal.log(record);
            // An error means that the board is gone, which ends the wait as well.
            let _gone = cleared.changed().await;
            return Err(Dropped);
        }
        let path = request.uri().path().to_owned();
        let request = request.map(Body::new);
        let mut response = match (hits.status(), self.operation) {
            (Some((code, retry_after_secs)), Some(operation)) => {
                let _discarded = axum::body::to_bytes(request.into_body(), DISCARD_MAX_BYTES).await;
                problem::scripted_status(operation, code, retry_after_secs, &path)
            }
            _ => handler(request, hits.clone()).await,
        };
        spoil_headers(response.headers_mut(), &hits);
        record.response_bytes = body::fix_length(&mut response).unwrap_or(0);
        record.note = response.extensions_mut().remove::<Note>().map(|Note(text)| text);
        let cut = hits.cut();
        record.status = (cut != Some(0)).then_some(response.status().as_u16());
        self.journal.log(record);
        if cut == Some(0) {
            return Err(Dropped);
        }
        if let Some(after_bytes) = cut {
            response = response.map(|whole| body::cut(whole, after_bytes));
        }
        if let Some(bytes_per_second) = hits.slow() {
            response = response.map(|whole| body::slowed(whole, bytes_per_second));
        }
        Ok(response)
    }

    fn record(&self, request: &Request<Incoming>, hits: &Hits) -> RequestRecord {
        let text = |name| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        RequestRecord {
            index: 0,
            time_ms: now_ms(),
            service: self.service,
            operation: self.operation,
            connection: self.connection,
            client: self.client.clone(),
            method: request.method().to_string(),
            path: request.uri().to_string(),
            if_none_match: text(header::IF_NONE_MATCH),
            range: text(header::RANGE),
            status: None,
            request_bytes: length.unwrap_or(0),
            response_bytes: 0,
            faults: hits.kinds.clone(),
            note: None,
        }
    }
}

fn spoil_headers(headers: &mut HeaderMap, hits: &Hits) {
    if hits.has(&FaultKind::NoEtag) {
        headers.remove(header::ETAG);
    }
    if hits.has(&FaultKind::WrongContentType) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    }
}

/// Whether `If-None-Match` names this digest (as a quoted, possibly weak, entity tag, or `*`).
pub(crate) fn is_unchanged(headers: &HeaderMap, digest: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter();
    given.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|tag| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(digest)
    })
}

/// The quoted entity tag of a digest.
pub(crate) fn etag(digest: &str) -> HeaderValue {
    // A digest is ASCII without quotes, so this never falls back.
    HeaderValue::from_str(&format!("\"{digest}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}
