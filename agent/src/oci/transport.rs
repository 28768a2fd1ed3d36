//! One registry during one pull: its client, its authorization, its answers sorted.

use super::auth::{Challenge, parse_challenge};
use super::error::OciError;
use super::pull::OciLimits;
use super::reference::OciReference;
use super::registries::{Credentials, Registries, RegistrySetupError};
use crate::margo::pause_ms;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most redirects followed; registries send blobs from elsewhere.
const REDIRECTS_MAX: usize = 5;
/// Largest token document and error body, in bytes.
const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Longest explanation kept from a registry, in characters.
const DETAIL_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A conversation with one registry about one repository.
pub(super) struct Session {
    client: Client,
    base: String,
    is_https: bool,
    repository: String,
    credentials: Option<Credentials>,
    authorization: Option<HeaderValue>,
}

impl Session {
    pub(super) fn new(
        reference: &OciReference,
        registries: &Registries,
        limits: &OciLimits,
    ) -> Result<Self, OciError> {
        let scheme = registries.scheme(reference);
        let setup = |source| OciError::Setup { source };
        let client = Client::builder()
            .tls_backend_preconfigured(registries.tls(reference.registry()).map_err(setup)?)
            .http1_only()
            .redirect(redirects())
            .no_proxy()
            .user_agent(concat!("margo-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(limits.connect_timeout_ms))
            .read_timeout(Duration::from_millis(limits.read_timeout_ms))
            .build()
            .map_err(|source| setup(RegistrySetupError::Client { source }))?;
        Ok(Self {
            client,
            base: format!("{scheme}://{}/v2/{}", reference.registry(), reference.path()),
            is_https: scheme == "https",
            repository: reference.path().to_owned(),
            credentials: registries.credentials(reference.registry()).cloned(),
            authorization: None,
        })
    }

    /// `GET /v2/<repository>/<path>`, logging in when asked to. Answers other than 200, 206 and 416 are errors.
    pub(super) async fn get(
        &mut self,
        path: &str,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<Response, OciError> {
        let url = self.url(path);
        let mut response = self.send(&url, headers, what).await?;
        if response.status().as_u16() == 401 {
            // Also when a token has run out in the middle of a long pull.
            self.log_in(response.headers(), what).await?;
            response = self.send(&url, headers, what).await?;
        }
        match response.status().as_u16() {
            200 | 206 | 416 => Ok(response),
            _ => Err(refusal(response, what).await),
        }
    }

    /// Where `path` of the repository is.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// What the last request had to show, if anything: `Basic …` or `Bearer …`.
    pub(super) fn authorization(&self) -> Option<String> {
        self.authorization.as_ref()?.to_str().ok().map(str::to_owned)
    }

    async fn send(&self, url: &str, headers: &HeaderMap, what: &str) -> Result<Response, OciError> {
        let mut request = self.client.get(url).headers(headers.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|source| transport(what, source))
    }

    async fn log_in(&mut self, headers: &HeaderMap, what: &str) -> Result<(), OciError> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let found = challenges.filter_map(|value| parse_challenge(value.to_str().ok()?)).next();
        let denied = |detail: &str| OciError::Denied {
            what: what.to_owned(),
            status: 401,
            detail: detail.to_owned(),
        };
        self.authorization = match (found, &self.credentials) {
            (None, _) => return Err(denied("registry asks for an unknown kind of login")),
            (Some(Challenge::Basic), None) => {
                return Err(denied("registry asks for a login, no credentials are configured"));
            }
            (Some(Challenge::Basic), Some(credentials)) => Some(basic(credentials)),
            (Some(Challenge::Bearer { realm, service, scope }), credentials) => {
                let url = self.token_url(&realm, service, scope, what)?;
                Some(self.token(url, credentials.as_ref(), what).await?)
            }
        };
        Ok(())
    }

    fn token_url(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        what: &str,
    ) -> Result<Url, OciError> {
        let fault =
            |reason: &str| OciError::Protocol { what: what.to_owned(), reason: reason.to_owned() };
        let mut url = Url::parse(realm).map_err(|_| fault("token realm is not a URL"))?;
        // Credentials given for an https registry are not sent over plain HTTP.
        if url.scheme() != "https" && (self.is_https || url.scheme() != "http") {
            return Err(fault("token realm is not https"));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope);
        }
        Ok(url)
    }

    async fn token(
        &self,
        url: Url,
        credentials: Option<&Credentials>,
        what: &str,
    ) -> Result<HeaderValue, OciError> {
        let mut request = self.client.get(url);
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, basic(credentials));
        }
        let response = request.send().await.map_err(|source| transport(what, source))?;
        if response.status().as_u16() != 200 {
            return Err(refusal(response, what).await);
        }
        let body = read_small(response).await.map_err(|source| transport(what, source))?;
        let answer = body.and_then(|body| serde_json::from_slice::<TokenAnswer>(&body).ok());
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let header = token
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
            .and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| OciError::Protocol {
            what: what.to_owned(),
            reason: "token server gave no token".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Follows a few redirects, but never from https to anything else.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let from_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("too many redirects")
        } else if from_https && attempt.url().scheme() != "https" {
            attempt.error("redirect from https to plain http")
        } else {
            attempt.follow()
        }
    })
}

fn basic(credentials: &Credentials) -> HeaderValue {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

pub(super) fn transport(what: &str, source: reqwest::Error) -> OciError {
    // URLs of redirects may hold signatures.
    OciError::Transport { what: what.to_owned(), source: source.without_url() }
}

async fn refusal(response: Response, what: &str) -> OciError {
    let status = response.status().as_u16();
    let header = |name: HeaderName| response.headers().get(name)?.to_str().ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let retry_after_ms = header(RETRY_AFTER).and_then(|value| pause_ms(value, now));
    let body = read_small(response).await.ok().flatten().unwrap_or_default();
    let (what, detail) = (what.to_owned(), detail(&body));
    match status {
        401 | 403 => OciError::Denied { what, status, detail },
        404 => OciError::NotFound { what, detail },
        408 | 429 | 500..=599 => OciError::Busy { what, status, detail, retry_after_ms },
        _ => OciError::Protocol { what, reason: format!("unexpected status {status}: {detail}") },
    }
}

fn detail(body: &[u8]) -> String {
    let entries = serde_json::from_slice::<ErrorAnswer>(body).map(|answer| answer.errors);
    let text = entries.ok().and_then(|entries| entries.into_iter().next()).map_or_else(
        || "no explanation given".to_owned(),
        |entry| format!("{}: {}", entry.code, entry.message),
    );
    text.escape_debug().take(DETAIL_CHARS_MAX).collect()
}

/// `None` if the body is too long.
async fn read_small(response: Response) -> Result<Option<Bytes>, reqwest::Error> {
    read_bounded(response, SMALL_BODY_BYTES_MAX).await
}

/// `None` if the body is longer than the limit.
pub(super) async fn read_bounded(
    mut response: Response,
    bytes_max: usize,
) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}
