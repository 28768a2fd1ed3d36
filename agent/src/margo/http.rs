//! One exchange with the WFM: a kept HTTP/1.1 connection of limited age, bounded answers, errors sorted.

use super::error::{Operation, WfmError};
use super::problem::{Problem, ProblemKind};
use super::retry_after::{RETRY_AFTER_MS_MAX, parse_http_date, pause_ms};
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, Url};
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Largest problem body that is read, in bytes.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;
/// Most header lines of an answer.
const HEADERS_MAX: usize = 64;

/// Limits of the exchange with the WFM (I11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP and TLS handshake, in milliseconds.
    pub connect_timeout_ms: u64,
    /// A whole small exchange (poll, report), in milliseconds.
    pub request_timeout_ms: u64,
    /// A whole transfer of a bundle or document, in milliseconds.
    pub transfer_timeout_ms: u64,
    /// Silence in the middle of an answer, in milliseconds.
    pub read_timeout_ms: u64,
    /// A connection older than this is replaced, which validates the WFM anew (R031, R082), in milliseconds.
    pub max_connection_age_ms: u64,
    /// State manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// Deployments of one manifest.
    pub deployments_max: usize,
    /// One deployment document, in bytes.
    pub deployment_bytes_max: u64,
    /// A bundle as transferred, in bytes.
    pub bundle_bytes_max: usize,
    /// A bundle decompressed, in bytes.
    pub bundle_unpacked_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 15_000,
            request_timeout_ms: 60_000,
            transfer_timeout_ms: 15 * 60_000,
            read_timeout_ms: 60_000,
            max_connection_age_ms: 60 * 60_000,
            manifest_bytes_max: 4 << 20,
            deployments_max: 256,
            deployment_bytes_max: 1 << 20,
            bundle_bytes_max: 16 << 20,
            bundle_unpacked_bytes_max: 64 << 20,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The WFM's address is unusable.
    #[error("WFM address `{url}` must be an absolute https URL without user, query and fragment")]
    Address {
        /// As configured.
        url: String,
    },
    /// The HTTP client refused its configuration.
    #[error("HTTP client")]
    Client {
        /// What it said.
        #[source]
        source: reqwest::Error,
    },
}

/// One request.
pub(super) struct Ask {
    pub(super) operation: Operation,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    pub(super) accept: Option<HeaderValue>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) body_bytes_max: usize,
}

/// A 2xx or 304 answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The media type without parameters, in lowercase.
    pub(super) fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }
}

struct Held {
    client: Client,
    made: Instant,
}

/// The connection and what it needs to be made again.
pub(super) struct Http {
    base: Url,
    tls: rustls::ClientConfig,
    pub(super) limits: Limits,
    held: Mutex<Option<Held>>,
}

impl Http {
    pub(super) fn new(
        base_url: &str,
        tls: rustls::ClientConfig,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        let fault = || SetupError::Address { url: base_url.chars().take(200).collect() };
        let base = Url::parse(base_url).map_err(|_| fault())?;
        let bare = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if base.scheme() != "https" || !base.has_host() || !bare {
            return Err(fault());
        }
        let http = Self { base, tls, limits, held: Mutex::new(None) };
        http.client()?;
        Ok(http)
    }

    /// `path` begins with `/api/v1/` and is put behind the base, whatever path the base has.
    pub(super) fn url(&self, operation: Operation, path: &str) -> Result<Url, WfmError> {
        let text = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&text)
            .map_err(|_| WfmError::Protocol { operation, reason: format!("unusable URL {text}") })
    }

    /// A URL from the WFM, if it is absolute and of the same origin as the base.
    pub(super) fn same_origin(&self, url: &str) -> Option<Url> {
        Url::parse(url).ok().filter(|url| url.origin() == self.base.origin())
    }

    #[cfg(test)]
    pub(super) fn tls_for_tests(&self) -> rustls::ClientConfig {
        self.tls.clone()
    }

    fn client(&self) -> Result<Client, SetupError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let age_max = Duration::from_millis(self.limits.max_connection_age_ms);
        match held.as_ref() {
            Some(held) if held.made.elapsed() < age_max => Ok(held.client.clone()),
            Some(_) | None => {
                let client = self.build()?;
                *held = Some(Held { client: client.clone(), made: Instant::now() });
                Ok(client)
            }
        }
    }

    fn build(&self) -> Result<Client, SetupError> {
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(true)
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            // A redirect or a proxy would lead to someone who is not the configured WFM.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .user_agent(concat!("margo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(self.limits.connect_timeout_ms))
            .read_timeout(Duration::from_millis(self.limits.read_timeout_ms))
            .pool_max_idle_per_host(1)
            // The age is checked when a request is made; this closes a connection that nobody asks for again.
            .pool_idle_timeout(Duration::from_millis(self.limits.max_connection_age_ms.max(1000)))
            .build()
            .map_err(|source| SetupError::Client { source })
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// Everything but 2xx and 304, sorted.
    pub(super) async fn exchange(&self, ask: Ask) -> Result<Answer, WfmError> {
        let operation = ask.operation;
        let timeout_ms = match operation {
            Operation::FetchBundle | Operation::FetchDeployment => self.limits.transfer_timeout_ms,
            Operation::PutCapabilities | Operation::Poll | Operation::PostStatus => {
                self.limits.request_timeout_ms
            }
        };
        let client = self.client().map_err(|source| WfmError::Setup { source })?;
        let mut request = client.request(ask.method, ask.url);
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        if let Some(accept) = ask.accept {
            request = request.header(reqwest::header::ACCEPT, accept);
        }
        if let Some(body) = ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let request = request.timeout(Duration::from_millis(timeout_ms));
        let sent = request.send().await;
        let response = sent.map_err(|error| WfmError::of_transport(operation, error))?;
        read_answer(operation, response, ask.body_bytes_max).await
    }
}

async fn read_answer(
    operation: Operation,
    mut response: Response,
    body_bytes_max: usize,
) -> Result<Answer, WfmError> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    if matches!(status, 200..=299 | 304) {
        let Some(raw) = read_body(operation, &mut response, body_bytes_max).await? else {
            return Err(WfmError::TooLarge { operation, size_bytes_max: body_bytes_max });
        };
        let body = decode(operation, &headers, raw, body_bytes_max)?;
        return Ok(Answer { status, headers, body });
    }
    // The status alone says enough if the explanation is too long or cut off.
    let body = read_body(operation, &mut response, PROBLEM_BYTES_MAX).await.ok().flatten();
    let problem = Problem::parse(&body.unwrap_or_default());
    Err(refusal(operation, status, &headers, problem))
}

/// `None` if the body is too long.
async fn read_body(
    operation: Operation,
    response: &mut Response,
    body_bytes_max: usize,
) -> Result<Option<Bytes>, WfmError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).unwrap_or(usize::MAX) > body_bytes_max {
        return Ok(None);
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|e| WfmError::of_transport(operation, e))?;
        let Some(chunk) = chunk else { return Ok(Some(body.freeze())) };
        if body.len().saturating_add(chunk.len()) > body_bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
}

/// Undoes `Content-Encoding` (R126). None is asked for, but a server may choose gzip anyway.
fn decode(
    operation: Operation,
    headers: &HeaderMap,
    raw: Bytes,
    body_bytes_max: usize,
) -> Result<Bytes, WfmError> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some(b"identity" | b"") => Ok(raw),
        Some(b"gzip" | b"x-gzip") => {
            let limit = u64::try_from(body_bytes_max).unwrap_or(u64::MAX);
            let mut body = Vec::new();
            flate2::read::MultiGzDecoder::new(&*raw)
                .take(limit.saturating_add(1))
                .read_to_end(&mut body)
                .map_err(|_| WfmError::Protocol { operation, reason: "broken gzip body".into() })?;
            if body.len() > body_bytes_max {
                return Err(WfmError::TooLarge { operation, size_bytes_max: body_bytes_max });
            }
            Ok(body.into())
        }
        Some(_) => {
            let reason = "answer has a content encoding that was not asked for".to_owned();
            Err(WfmError::Protocol { operation, reason })
        }
    }
}

/// The problem's type decides (R200); where it does not, the status does.
fn refusal(operation: Operation, status: u16, headers: &HeaderMap, problem: Problem) -> WfmError {
    let kind = problem.kind;
    let retry_after_ms = retry_after_ms(headers, &problem);
    let problem = Box::new(problem);
    match (status, kind) {
        (429 | 500 | 502 | 503 | 504, _) => {
            WfmError::Busy { operation, status, retry_after_ms, problem }
        }
        (300..=399, _) => WfmError::Protocol {
            operation,
            reason: format!("redirect ({status}), which is not followed"),
        },
        (_, ProblemKind::NotAuthorized) => WfmError::Denied { operation, problem },
        (_, ProblemKind::CannotGenerateResponse) => WfmError::NotAcceptable { operation, problem },
        (_, ProblemKind::InvalidRequest | ProblemKind::SemanticError) => {
            WfmError::Rejected { operation, status, problem }
        }
        (
            _,
            ProblemKind::GatewayNotFound
            | ProblemKind::DeviceNotFound
            | ProblemKind::InvalidBundle
            | ProblemKind::DeploymentNotFound,
        )
        | (404 | 410, ProblemKind::Other) => WfmError::NotFound { operation, problem },
        (401 | 403, ProblemKind::Other) => WfmError::Denied { operation, problem },
        (406, ProblemKind::Other) => WfmError::NotAcceptable { operation, problem },
        (_, ProblemKind::Other) => WfmError::Rejected { operation, status, problem },
    }
}

/// `Retry-After` beats `retryAfterSeconds` (R202).
fn retry_after_ms(headers: &HeaderMap, problem: &Problem) -> Option<u64> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own_now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = text(DATE).and_then(parse_http_date).unwrap_or(own_now);
    text(RETRY_AFTER).and_then(|value| pause_ms(value, now)).or_else(|| {
        problem.retry_after_secs.map(|secs| secs.saturating_mul(1000).min(RETRY_AFTER_MS_MAX))
    })
}
