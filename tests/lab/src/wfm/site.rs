//! The WFM as a server: which certificate it shows, who may in, and the way from a request to its handler.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls::ServerConfig;

use super::clients::Clients;
use super::handlers;
use super::routes::Route;
use crate::events::{Event, Journal};
use crate::fault::{FaultBoard, FaultKind, Hits, Service};
use crate::ids::ClientId;
use crate::net::exchange::Exchange;
use crate::net::problem::Problem;
use crate::net::server::{Answer, Greeting, Peer, Site};
use crate::net::wire::Wire;
use crate::pki::{Pki, PkiError, SvidOptions, verify};

/// The WFM.
#[derive(Debug)]
pub(crate) struct WfmSite {
    pub(crate) clients: Clients,
    pub(crate) wire: Wire,
    pki: Arc<Pki>,
    faults: Arc<FaultBoard>,
    journal: Arc<Journal>,
    /// Under which path the API is mounted; empty or `/x/y`.
    base_path: String,
    /// The good certificate's configuration, kept so that TLS sessions can be resumed.
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

impl WfmSite {
    pub(crate) fn new(
        clients: Clients,
        pki: Arc<Pki>,
        faults: Arc<FaultBoard>,
        journal: Arc<Journal>,
        base_path: String,
    ) -> Self {
        let (wire, tls) = (Wire::default(), Mutex::new(None));
        Self { clients, wire, pki, faults, journal, base_path, tls }
    }

    /// Forgets the certificate, so that the next connection gets a new one from the present authority.
    pub(crate) fn renew_svid(&self) {
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tls(&self, hits: &Hits) -> Result<Arc<ServerConfig>, PkiError> {
        if let Some(defect) = hits.server_svid() {
            return verify::wfm_tls(&self.pki, &self.pki.mint_wfm(defect.into())?);
        }
        let mut kept = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*kept {
            return Ok(Arc::clone(config));
        }
        let config = verify::wfm_tls(&self.pki, &self.pki.mint_wfm(SvidOptions::default())?)?;
        *kept = Some(Arc::clone(&config));
        Ok(config)
    }

    /// Policy per request (R085), then the operation.
    async fn handle(
        &self,
        client: Option<ClientId>,
        route: Route,
        request: Request<Body>,
        hits: Hits,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let refused = |problem: Problem| problem.response(&path, None);
        let Some(client) = client.filter(|client| self.clients.is_accepted(client)) else {
            return refused(Problem::not_authorized());
        };
        let answer = match route {
            Route::PutCapabilities { device } => {
                handlers::put_capabilities(&self.clients, &client, &device, request).await
            }
            Route::DeleteCapabilities { device } => {
                handlers::delete_capabilities(&self.clients, &client, &device)
            }
            Route::Manifest => handlers::manifest(&self.clients, &client, request.headers(), &hits),
            Route::Bundle { digest } => {
                handlers::bundle(&self.clients, &client, &digest, (request.headers(), &hits))
            }
            Route::Deployment { id, digest } => {
                let key = (id.as_str().into(), digest);
                handlers::deployment(&self.clients, &client, &key, (request.headers(), &hits))
            }
            Route::Status { id } => {
                handlers::status(&self.clients, &client, &id.as_str().into(), request).await
            }
            Route::WrongMethod => {
                Err(Problem::blank(StatusCode::METHOD_NOT_ALLOWED, "no such method here"))
            }
            Route::Unknown => Err(Problem::blank(StatusCode::NOT_FOUND, "no such resource")),
        };
        answer.unwrap_or_else(refused)
    }
}

impl Site for WfmSite {
    fn greet(&self) -> Greeting {
        let hits = self.faults.hit_connection(Service::Wfm);
        if hits.has(&FaultKind::Refuse) {
            return Greeting::Refuse;
        }
        match self.tls(&hits) {
            Ok(config) => Greeting::Tls(config),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no certificate");
                Greeting::Refuse
            }
        }
    }

    fn answer(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            let path = request.uri().path();
            let route = match path.strip_prefix(self.base_path.as_str()) {
                Some(path) => Route::of(request.method(), path),
                None => Route::Unknown,
            };
            let leaf = peer.certificate.as_ref();
            let client =
                leaf.and_then(|leaf| verify::recognise(leaf, &self.pki.wfm_spiffe_id()).ok());
            let exchange = Exchange {
                service: Service::Wfm,
                operation: route.operation(),
                client: client.clone(),
                connection: peer.connection.id,
                faults: &self.faults,
                journal: &self.journal,
            };
            let site = Arc::clone(&self);
            exchange
                .pass(request, |request, hits| async move {
                    site.handle(client, route, request, hits).await
                })
                .await
        })
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn handshake_failed(&self, peer: SocketAddr, reason: &io::Error) {
        let (peer, reason) = (peer.to_string(), reason.to_string());
        self.journal.say(Event::HandshakeFailed { service: Service::Wfm, peer, reason });
    }
}
