//! A scripted HTTP/1.1 server behind real mutual TLS, on loopback, which counts every byte on the wire.

use crate::identity::test_pki::*;
use crate::identity::{Clock, Svid, TrustBundle, client_config};
use crate::margo::{Limits, WfmClient};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Value of a header given in lowercase.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What to do about it.
pub(crate) enum Reply {
    /// Answer and keep the connection.
    Keep(Vec<u8>),
    /// Send this and cut the connection.
    Cut(Vec<u8>),
    /// Never answer.
    Hang,
}

/// An answer with status, header lines and body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut text = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if status != 304 && status != 204 {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    Reply::Keep([text.as_bytes(), body].concat())
}

#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) wire_bytes: Arc<AtomicU64>,
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }
}

/// A server, and a client that trusts it.
pub(crate) struct Lab {
    pub(crate) client: WfmClient,
    pub(crate) log: Log,
    pub(crate) base: String,
}

/// Options of a [`Lab`].
pub(crate) struct Setup {
    pub(crate) wfm_id: &'static str,
    pub(crate) base_path: &'static str,
    pub(crate) limits: Limits,
    pub(crate) clock_floor: u64,
    /// The server does not know the client's issuer.
    pub(crate) client_is_foreign: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            wfm_id: WFM_ID,
            base_path: "",
            limits: Limits::default(),
            clock_floor: 0,
            client_is_foreign: false,
        }
    }
}

/// What a server does with each request.
pub(crate) type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// Starts a server on a free port and makes a client for it.
pub(crate) async fn lab(
    setup: Setup,
    handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> Lab {
    let ca = root("root");
    let other = root("other");
    let wfm = issue(&leaf_params(&[setup.wfm_id]), &ca);
    let own = issue(&leaf_params(&[CLIENT_ID]), if setup.client_is_foreign { &other } else { &ca });
    let place = tempfile::tempdir().unwrap();
    let (cert, key) = write_identity(place.path(), &own);
    let svid = Svid::load(&cert, &key).unwrap();
    let bundle = TrustBundle::parse(bundle_json(&[ca.der()]).as_bytes()).unwrap();
    let time = Arc::new(FixedTime(NOW_UNIX_SECS));
    let clock = Clock { floor_unix_secs: setup.clock_floor, time };
    let tls = client_config(&svid, &bundle, &clock).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::default();
    tokio::spawn(accept(listener, server_config(wfm, &ca), Arc::new(handler), log.clone()));
    let base = format!("https://127.0.0.1:{port}{}", setup.base_path);
    let client = WfmClient::new(&base, tls, setup.limits).unwrap();
    Lab { client, log, base }
}

fn server_config(wfm: Issued, clients: &Ca) -> Arc<rustls::ServerConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(wfm.key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(wfm.chain, key.into())
        .unwrap();
    Arc::new(config)
}

async fn accept(listener: TcpListener, tls: Arc<rustls::ServerConfig>, handler: Handler, log: Log) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        log.connections.fetch_add(1, Ordering::SeqCst);
        let counted = Counted { inner: socket, count: log.wire_bytes.clone() };
        let (tls, handler, log) = (tls.clone(), handler.clone(), log.clone());
        tokio::spawn(async move {
            // A client that aborts the handshake is part of some tests.
            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(counted).await {
                let _ = serve(stream, handler, log).await;
            }
        });
    }
}

/// Serves one connection until it closes.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    handler: Handler,
    log: Log,
) -> io::Result<()> {
    while let Some(seen) = read_request(&mut stream).await? {
        let reply = handler(&seen);
        log.seen.lock().unwrap().push(seen);
        match reply {
            Reply::Keep(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                return Ok(());
            }
            Reply::Hang => std::future::pending().await,
        }
    }
    Ok(())
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Seen>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0_u8];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let (line, headers) = text.split_once("\r\n").unwrap();
    let mut seen = Seen { line: line.to_owned(), headers: headers.to_owned(), body: Vec::new() };
    if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut seen.body).await?;
    }
    Ok(Some(seen))
}

/// Counts bytes in both directions.
struct Counted {
    inner: TcpStream,
    count: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.count.fetch_add((buffer.filled().len() - before) as u64, Ordering::SeqCst);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.count.fetch_add(count as u64, Ordering::SeqCst);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
