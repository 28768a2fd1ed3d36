//! Counts bytes on the raw TCP stream, below TLS, for each connection: what a poll really costs.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ids::now_ms;

/// Connections remembered one by one; older ones only count in the totals.
const CONNECTIONS_KEPT: usize = 10_000;

/// What went over one TCP connection, TLS and HTTP framing included, TCP/IP headers not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionBytes {
    /// Counts the connections of one server from 1.
    pub id: u64,
    /// The peer's address.
    pub peer: String,
    /// When it was accepted, milliseconds since the Unix epoch.
    pub opened_ms: u64,
    /// Whether it is still open.
    pub is_open: bool,
    /// Bytes from the client to the lab.
    pub received_bytes: u64,
    /// Bytes from the lab to the client.
    pub sent_bytes: u64,
    /// HTTP requests on it so far.
    pub requests: u64,
}

/// Counters of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    peer: SocketAddr,
    opened_ms: u64,
    is_open: AtomicBool,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    requests: AtomicU64,
}

impl Connection {
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> ConnectionBytes {
        ConnectionBytes {
            id: self.id,
            peer: self.peer.to_string(),
            opened_ms: self.opened_ms,
            is_open: self.is_open.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}

/// All connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    connections: Mutex<(u64, VecDeque<Arc<Connection>>)>,
}

impl Wire {
    pub(crate) fn open(&self, peer: SocketAddr) -> Arc<Connection> {
        let mut connections = self.lock();
        connections.0 += 1;
        let connection = Arc::new(Connection {
            id: connections.0,
            peer,
            opened_ms: now_ms(),
            is_open: AtomicBool::new(true),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        if connections.1.len() >= CONNECTIONS_KEPT {
            connections.1.pop_front();
        }
        connections.1.push_back(Arc::clone(&connection));
        connection
    }

    /// The remembered connections, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<ConnectionBytes> {
        self.lock().1.iter().map(|connection| connection.snapshot()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<Arc<Connection>>)> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that counts what passes.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self { inner, connection }
    }

    fn sent(&self, written: usize) {
        let bytes = u64::try_from(written).unwrap_or(u64::MAX);
        self.connection.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.connection.is_open.store(false, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
        self.connection.received_bytes.fetch_add(read, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &polled {
            self.sent(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = &polled {
            self.sent(*written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
