//! A listener with its connections as one thing that can be stopped and resumed on the same port.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::wire::{Connection, Counted, Wire};

/// Connections served at the same time; more are closed at once.
const CONNECTIONS_MAX: usize = 512;
/// A client that has not finished TLS by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped by a scripted fault")]
pub(crate) struct Dropped;

/// The future of an answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Dropped>> + Send>>;

/// How a new connection is to be received.
pub(crate) enum Greeting {
    /// Closed at once.
    Refuse,
    /// HTTP without TLS.
    Plain,
    /// TLS first.
    Tls(Arc<ServerConfig>),
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: Arc<Connection>,
    /// The client's leaf certificate, verified, where the server asks for one.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// What makes one server different from another.
pub(crate) trait Site: Send + Sync + 'static {
    /// Decides on a new connection.
    fn greet(&self) -> Greeting;
    /// Answers one request.
    fn answer(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Answer;
    /// Its counters.
    fn wire(&self) -> &Wire;
    /// Is told that a client did not get through TLS.
    fn handshake_failed(&self, peer: SocketAddr, reason: &io::Error);
}

/// Why a server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// The reason.
    #[source]
    pub source: io::Error,
}

/// A server that is up or down.
pub(crate) struct Server<S> {
    site: Arc<S>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Closing this channel ends the accept loop, also when the server is just forgotten.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

/// Reserves an address; [`Server::serve`] begins to answer. In between the site can be told its own address.
pub(crate) async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl<S: Site> Server<S> {
    pub(crate) fn serve(site: Arc<S>, listener: TcpListener, address: SocketAddr) -> Self {
        let running = Running::start(Arc::clone(&site), listener);
        Self { site, address, running: Mutex::new(Some(running)) }
    }

    pub(crate) fn site(&self) -> &Arc<S> {
        &self.site
    }

    pub(crate) fn is_up(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Stops listening and cuts every connection; returns when the port is free.
    pub(crate) async fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, task }) = running {
            drop(stop);
            // The loop does not panic; if it did, it is stopped as well.
            let _ended = task.await;
        }
    }

    /// Listens again on the same port; does nothing when it is up.
    pub(crate) async fn resume(&self) -> Result<(), ListenError> {
        if self.is_up() {
            return Ok(());
        }
        let (listener, _address) = bind(self.address).await?;
        let running = Running::start(Arc::clone(&self.site), listener);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }
}

impl Running {
    fn start<S: Site>(site: Arc<S>, listener: TcpListener) -> Self {
        let (stop, stopped) = watch::channel(());
        Self { stop, task: tokio::spawn(accept(site, listener, stopped)) }
    }
}

async fn accept<S: Site>(site: Arc<S>, listener: TcpListener, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe: only ever resolves when the sender is gone.
            _ = stopped.changed() => break,
            // Cancel-safe: nothing is accepted unless it is returned.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(connection(Arc::clone(&site), stream, peer));
                }
                Ok(_) => tracing::warn!("too many connections, refusing one"),
                // Out of descriptors or an aborted connection: the next turn may do better.
                Err(_) => tokio::task::yield_now().await,
            },
            // Cancel-safe: a finished task stays in the set until it is returned.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection<S: Site>(site: Arc<S>, stream: TcpStream, address: SocketAddr) {
    // Only costs time if it fails.
    let _nodelay = stream.set_nodelay(true);
    let connection = site.wire().open(address);
    let stream = Counted::new(stream, Arc::clone(&connection));
    match site.greet() {
        Greeting::Refuse => {}
        Greeting::Plain => http(site, stream, Peer { connection, certificate: None }).await,
        Greeting::Tls(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => {
                    let certificates = stream.get_ref().1.peer_certificates();
                    let certificate = certificates.and_then(|c| c.first()).cloned();
                    let certificate = certificate.map(CertificateDer::into_owned);
                    http(site, stream, Peer { connection, certificate }).await;
                }
                Ok(Err(reason)) => site.handshake_failed(address, &reason),
                Err(_) => site.handshake_failed(address, &io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

async fn http<S: Site, I>(site: Arc<S>, stream: I, peer: Peer)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        peer.connection.count_request();
        Arc::clone(&site).answer(peer.clone(), request)
    });
    // A client that goes away or a scripted cut ends here; both are ordinary.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
