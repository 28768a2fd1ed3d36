//! Stands between the agent and the engine's socket and notes how long each call takes. Only for breakdowns: it costs
//! time itself.

use crate::Fault;
use crate::engine::now_ms;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

/// Path segments that name what is called; all others are ids and names.
const WORDS: [&str; 20] = [
    "_ping",
    "version",
    "info",
    "events",
    "containers",
    "networks",
    "volumes",
    "images",
    "create",
    "json",
    "start",
    "stop",
    "wait",
    "kill",
    "rename",
    "restart",
    "connect",
    "disconnect",
    "get",
    "archive",
];

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Method and path, without version, query, ids and names.
    pub(crate) what: String,
    /// When it was made, in milliseconds since 1970.
    pub(crate) began_ms: f64,
    /// Until the answer began, in milliseconds.
    pub(crate) took_ms: f64,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// The running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    calls: Calls,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on `path` and passes everything on to `engine`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(crate) fn listen(path: &Path, engine: &str) -> Result<Self, Fault> {
        let listener = UnixListener::bind(path)?;
        let calls = Calls::default();
        let (noted, engine) = (Arc::clone(&calls), engine.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (noted, engine) = (Arc::clone(&noted), engine.clone());
                tokio::spawn(async move {
                    // A connection that breaks shows in what the agent then does.
                    let _ = pass(client, &engine, &noted).await;
                });
            }
        });
        Ok(Self { calls, task: task.abort_handle() })
    }

    /// The calls so far, which are then forgotten.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: UnixStream, engine: &str, calls: &Calls) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = UnixStream::connect(engine).await?.into_split();
    let pending = Mutex::new(None::<(String, f64)>);
    let lock = || pending.lock().unwrap_or_else(PoisonError::into_inner);
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await?;
            let bytes = buffer.get(..length).unwrap_or_default();
            if bytes.is_empty() {
                return to_engine.shutdown().await;
            }
            if let Some(what) = request(bytes) {
                *lock() = Some((what, now_ms()));
            }
            to_engine.write_all(bytes).await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_engine.read(&mut buffer).await?;
            let bytes = buffer.get(..length).unwrap_or_default();
            if bytes.is_empty() {
                return to_client.shutdown().await;
            }
            if let Some((what, began_ms)) = lock().take() {
                let call = Call { what, began_ms, took_ms: now_ms() - began_ms };
                calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            }
            to_client.write_all(bytes).await?;
        }
    };
    tokio::try_join!(up, down).map(drop)
}

/// What a chunk asks for, if a request begins with it.
fn request(chunk: &[u8]) -> Option<String> {
    let line = chunk.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE" | "HEAD") {
        return None;
    }
    let path = target.split('?').next()?;
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments = segments.skip_while(|segment| segment.starts_with("v1."));
    let known = |segment| if WORDS.contains(&segment) { segment } else { "*" };
    Some(segments.fold(method.to_owned() + " ", |text, segment| text + "/" + known(segment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_without_ids() {
        let chunk = b"POST /v1.41/containers/8a7f/start?x=1 HTTP/1.1\r\nhost: x\r\n";
        assert_eq!(request(chunk).as_deref(), Some("POST /containers/*/start"));
        assert_eq!(request(b"{\"Name\": \"GET / x\"}"), None);
    }

    #[tokio::test]
    async fn bytes_pass_and_are_timed() {
        let dir = tempfile::tempdir().unwrap();
        let (front, back) = (dir.path().join("front"), dir.path().join("back"));
        let engine = UnixListener::bind(&back).unwrap();
        let proxy = Proxy::listen(&front, back.to_str().unwrap()).unwrap();
        let mut client = UnixStream::connect(&front).await.unwrap();
        client.write_all(b"GET /version HTTP/1.1\r\n\r\n").await.unwrap();
        let (mut asked, _) = engine.accept().await.unwrap();
        let mut buffer = [0; 64];
        let length = asked.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"GET /version"));
        asked.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let length = client.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200"));
        let calls = proxy.take();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].what, "GET /version");
    }
}
