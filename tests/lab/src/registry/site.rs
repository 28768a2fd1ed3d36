//! The registry as a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls::ServerConfig;

use super::index::Index;
use super::routes::Route;
use super::{auth, handlers, manifests, uploads};
use crate::events::{Event, Journal};
use crate::fault::{FaultBoard, FaultKind, Hits, Service};
use crate::net::exchange::Exchange;
use crate::net::problem::oci_error;
use crate::net::server::{Answer, Greeting, Peer, Site};
use crate::net::wire::Wire;

/// The registry.
#[derive(Debug)]
pub(crate) struct RegistrySite {
    index: Arc<Index>,
    tls: Option<Arc<ServerConfig>>,
    /// `http://host:port` or `https://host:port`.
    origin: String,
    faults: Arc<FaultBoard>,
    journal: Arc<Journal>,
    wire: Wire,
}

impl RegistrySite {
    pub(crate) fn new(
        index: Arc<Index>,
        tls: Option<Arc<ServerConfig>>,
        origin: String,
        faults: Arc<FaultBoard>,
        journal: Arc<Journal>,
    ) -> Self {
        Self { index, tls, origin, faults, journal, wire: Wire::default() }
    }

    async fn handle(&self, route: Route, request: Request<Body>, hits: Hits) -> Response<Body> {
        let (index, headers) = (&self.index, request.headers());
        if let Err(refused) = auth::check(index, headers, &route, &self.origin) {
            return *refused;
        }
        match route {
            Route::Ping => handlers::ping(),
            Route::Token => auth::token(index),
            Route::Catalog => handlers::catalog(index),
            Route::Tags { name } => handlers::tags(index, &name),
            Route::GetManifest { name, reference } => {
                manifests::get(index, &name, &reference, &hits)
            }
            Route::PutManifest { name, reference } => {
                manifests::put(index, &name, &reference, request).await
            }
            Route::GetBlob { digest } => {
                handlers::blob(index, &digest, request.headers(), &hits).await
            }
            Route::StartUpload { name } => uploads::start(index, &name, request).await,
            Route::UploadStatus { name, id } => uploads::status(index, &name, &id).await,
            Route::Append { name, id } => uploads::append(index, &name, &id, request).await,
            Route::Finish { name, id } => uploads::finish(index, &name, &id, request).await,
            Route::Abandon { id } => uploads::abandon(index, &id).await,
            Route::WrongMethod => {
                oci_error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "no such method here")
            }
            Route::BadName => {
                oci_error(StatusCode::BAD_REQUEST, "NAME_INVALID", "no repository name")
            }
            Route::Unknown => oci_error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such resource"),
        }
    }
}

impl Site for RegistrySite {
    fn greet(&self) -> Greeting {
        if self.faults.hit_connection(Service::Registry).has(&FaultKind::Refuse) {
            return Greeting::Refuse;
        }
        match &self.tls {
            Some(config) => Greeting::Tls(Arc::clone(config)),
            None => Greeting::Plain,
        }
    }

    fn answer(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            let route = Route::of(request.method(), request.uri().path());
            let exchange = Exchange {
                service: Service::Registry,
                operation: route.operation(),
                client: None,
                connection: peer.connection.id,
                faults: &self.faults,
                journal: &self.journal,
            };
            let site = Arc::clone(&self);
            exchange
                .pass(
                    request,
                    |request, hits| async move { site.handle(route, request, hits).await },
                )
                .await
        })
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn handshake_failed(&self, peer: SocketAddr, reason: &io::Error) {
        let (peer, reason) = (peer.to_string(), reason.to_string());
        self.journal.say(Event::HandshakeFailed { service: Service::Registry, peer, reason });
    }
}
