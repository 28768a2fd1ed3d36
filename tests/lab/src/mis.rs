//! The trust-bundle service (the MIS role): discovery document and SPIFFE bundle over HTTPS, vouched for by the lab's web
//! authority. A client trusts it by what it was given at provisioning, never by an SVID (R024, R030).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::events::{Event, Journal};
use crate::fault::{FaultBoard, FaultKind, Hits, Operation, Service};
use crate::ids::sha256_digest;
use crate::net::exchange::{Exchange, etag, is_unchanged};
use crate::net::problem::{Problem, empty, json_response};
use crate::net::server::{Answer, Greeting, Peer, Site};
use crate::net::wire::Wire;
use crate::pki::Pki;

/// Path of the discovery document.
pub const DISCOVERY_PATH: &str = "/.well-known/margo";
/// Path of the trust bundle.
pub const BUNDLE_PATH: &str = "/.well-known/spiffe/bundle.json";

/// The service.
#[derive(Debug)]
pub(crate) struct MisSite {
    pki: Arc<Pki>,
    tls: Arc<ServerConfig>,
    /// Where clients reach this service: `https://host:port`.
    origin: String,
    faults: Arc<FaultBoard>,
    journal: Arc<Journal>,
    wire: Wire,
}

impl MisSite {
    pub(crate) fn new(
        pki: Arc<Pki>,
        tls: Arc<ServerConfig>,
        origin: String,
        faults: Arc<FaultBoard>,
        journal: Arc<Journal>,
    ) -> Self {
        Self { pki, tls, origin, faults, journal, wire: Wire::default() }
    }

    fn handle(
        &self,
        operation: Option<Operation>,
        request: &Request<Body>,
        hits: &Hits,
    ) -> Response<Body> {
        let path = request.uri().path();
        let document = match operation {
            Some(Operation::Discovery) => Ok(json!({
                "trustDomain": self.pki.trust_domain(),
                "trustBundleUri": format!("{}{BUNDLE_PATH}", self.origin),
            })),
            Some(Operation::TrustBundle) => self.pki.bundle(),
            _ => {
                let problem = Problem::blank(StatusCode::NOT_FOUND, "no such resource");
                return problem.response(path, None);
            }
        };
        match document {
            Ok(document) => respond(request.headers(), spoiled(document, hits)),
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Problem::blank(status, &error.to_string()).response(path, None)
            }
        }
    }
}

fn spoiled(mut document: Value, hits: &Hits) -> Value {
    if let Value::Object(members) = &mut document {
        if hits.has(&FaultKind::EmptyBundle) {
            members.insert("keys".to_owned(), json!([]));
        }
        if hits.has(&FaultKind::LowerSequence) {
            let sequence = members.get("spiffe_sequence").and_then(Value::as_u64);
            let lower = sequence.unwrap_or(1).saturating_sub(1);
            members.insert("spiffe_sequence".to_owned(), json!(lower));
        }
    }
    document
}

fn respond(request: &HeaderMap, document: Value) -> Response<Body> {
    let digest = sha256_digest(document.to_string().as_bytes());
    let mut response = if is_unchanged(request, &digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        json_response(StatusCode::OK, "application/json", &document)
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(&digest));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl Site for MisSite {
    fn greet(&self) -> Greeting {
        if self.faults.hit_connection(Service::Mis).has(&FaultKind::Refuse) {
            return Greeting::Refuse;
        }
        Greeting::Tls(Arc::clone(&self.tls))
    }

    fn answer(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            let operation = match (request.method(), request.uri().path()) {
                (&Method::GET, DISCOVERY_PATH) => Some(Operation::Discovery),
                (&Method::GET, BUNDLE_PATH) => Some(Operation::TrustBundle),
                _ => None,
            };
            let exchange = Exchange {
                service: Service::Mis,
                operation,
                client: None,
                connection: peer.connection.id,
                faults: &self.faults,
                journal: &self.journal,
            };
            let site = Arc::clone(&self);
            exchange
                .pass(
                    request,
                    |request, hits| async move { site.handle(operation, &request, &hits) },
                )
                .await
        })
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn handshake_failed(&self, peer: SocketAddr, reason: &io::Error) {
        let (peer, reason) = (peer.to_string(), reason.to_string());
        self.journal.say(Event::HandshakeFailed { service: Service::Mis, peer, reason });
    }
}
