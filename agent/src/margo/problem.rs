//! RFC 9457 problem details, read defensively (R200, R201): every member may be absent, of another type, or huge.

use serde_json::Value;
use std::fmt;

/// Longest text kept from a problem, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// Most field errors kept.
const FIELD_ERRORS_MAX: usize = 8;
/// What the registered types have in common. Compared as a text, never fetched (R201).
const PREFIX: &str = "https://docs.margo.org/specification/problem-types#";

/// What a problem's `type` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProblemKind {
    /// `#invalid-request`.
    InvalidRequest,
    /// `#not-authorized`.
    NotAuthorized,
    /// `#gateway-not-found`.
    GatewayNotFound,
    /// `#device-not-found`.
    DeviceNotFound,
    /// `#invalid-bundle`.
    InvalidBundle,
    /// `#deployment-not-found`.
    DeploymentNotFound,
    /// `#server-cannot-generate-response`.
    CannotGenerateResponse,
    /// `#semantic-error`.
    SemanticError,
    /// `about:blank`, absent, or a type unknown here: the status code decides.
    #[default]
    Other,
}

/// `backoffStrategy` (R203).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffStrategy {
    /// Do not retry.
    None,
    /// Always the same pause.
    Fixed,
    /// Growing pauses.
    Exponential,
}

/// What a peer says about an error; empty if it said nothing understandable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// For program logic.
    pub kind: ProblemKind,
    /// Short summary.
    pub title: Option<String>,
    /// This occurrence.
    pub detail: Option<String>,
    /// Whether trying again makes sense.
    pub retryable: Option<bool>,
    /// Advisory pause, in seconds; the `Retry-After` header beats it.
    pub retry_after_secs: Option<u64>,
    /// How pauses should grow.
    pub backoff: Option<BackoffStrategy>,
    /// Faulty fields and what is wrong with them.
    pub errors: Vec<(String, String)>,
}

impl Problem {
    /// Reads whatever can be read.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(cut);
        Self {
            kind: members.get("type").and_then(Value::as_str).map(kind).unwrap_or_default(),
            title: text("title"),
            detail: text("detail"),
            retryable: members.get("retryable").and_then(Value::as_bool),
            retry_after_secs: members.get("retryAfterSeconds").and_then(Value::as_u64),
            backoff: match members.get("backoffStrategy").and_then(Value::as_str) {
                Some("none") => Some(BackoffStrategy::None),
                Some("fixed") => Some(BackoffStrategy::Fixed),
                Some("exponential") => Some(BackoffStrategy::Exponential),
                Some(_) | None => None,
            },
            errors: members
                .get("errors")
                .and_then(Value::as_array)
                .map(|entries| field_errors(entries))
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        // The detail says more than the title; the title is better than nothing.
        parts.extend(self.detail.clone().or_else(|| self.title.clone()));
        parts.extend(self.errors.iter().map(|(field, message)| format!("{field}: {message}")));
        if parts.is_empty() {
            parts.push("no explanation given".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

fn kind(text: &str) -> ProblemKind {
    match text.strip_prefix(PREFIX) {
        Some("invalid-request") => ProblemKind::InvalidRequest,
        Some("not-authorized") => ProblemKind::NotAuthorized,
        Some("gateway-not-found") => ProblemKind::GatewayNotFound,
        Some("device-not-found") => ProblemKind::DeviceNotFound,
        Some("invalid-bundle") => ProblemKind::InvalidBundle,
        Some("deployment-not-found") => ProblemKind::DeploymentNotFound,
        Some("server-cannot-generate-response") => ProblemKind::CannotGenerateResponse,
        Some("semantic-error") => ProblemKind::SemanticError,
        Some(_) | None => ProblemKind::Other,
    }
}

fn field_errors(entries: &[Value]) -> Vec<(String, String)> {
    entries
        .iter()
        .take(FIELD_ERRORS_MAX)
        .map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).map(cut);
            (text("field").unwrap_or_default(), text("message").unwrap_or_default())
        })
        .collect()
}

/// Texts end up in logs: one line, bounded.
fn cut(text: &str) -> String {
    text.chars()
        .take(TEXT_CHARS_MAX)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
