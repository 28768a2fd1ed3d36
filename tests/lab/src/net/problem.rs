//! Error bodies: RFC 9457 problem details for the Margo interfaces, the distribution form for the registry.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::fault::{Operation, Service};

/// The namespace of the problem types that Margo registers.
const TYPES: &str = "https://docs.margo.org/specification/problem-types";

/// One thing wrong in a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// Path of the field, such as `properties.cpus[0].cores`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// What an error answer says.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
}

impl Problem {
    pub(crate) fn invalid_request(detail: &str, errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "#invalid-request", "Invalid Request", detail)
            .with(errors)
    }

    pub(crate) fn semantic(detail: &str, errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "#semantic-error", "Semantic Error", detail)
            .with(errors)
    }

    pub(crate) fn not_authorized() -> Self {
        let detail = "this client is not accepted by the local policy of the WFM";
        Self::new(StatusCode::FORBIDDEN, "#not-authorized", "Not Authorized", detail)
    }

    pub(crate) fn gateway_not_found() -> Self {
        let detail = "the parent of this device has not reported its capabilities";
        Self::new(StatusCode::NOT_FOUND, "#gateway-not-found", "Gateway Not Found", detail)
    }

    pub(crate) fn device_not_found() -> Self {
        let detail = "this client has reported no device of that id";
        Self::new(StatusCode::NOT_FOUND, "#device-not-found", "Device Not Found", detail)
    }

    pub(crate) fn bundle_not_found() -> Self {
        let detail = "no bundle of that digest";
        Self::new(StatusCode::NOT_FOUND, "#invalid-bundle", "Invalid Bundle", detail)
    }

    pub(crate) fn deployment_not_found() -> Self {
        let detail = "no deployment of that id and digest";
        Self::new(StatusCode::NOT_FOUND, "#deployment-not-found", "Deployment Not Found", detail)
    }

    pub(crate) fn not_acceptable() -> Self {
        let (kind, title) = ("#server-cannot-generate-response", "Server Cannot Generate Response");
        let detail = "only application/vnd.margo.manifest.v1+json is available";
        Self::new(StatusCode::NOT_ACCEPTABLE, kind, title, detail)
    }

    /// A status with no specific type.
    pub(crate) fn blank(status: StatusCode, detail: &str) -> Self {
        Self::new(status, "", status.canonical_reason().unwrap_or("Error"), detail)
    }

    /// The problem that fits a status code on an operation, for scripted faults.
    fn for_status(status: StatusCode, operation: Operation) -> Self {
        match (status, operation) {
            (StatusCode::BAD_REQUEST, _) => Self::invalid_request("scripted fault", Vec::new()),
            (StatusCode::FORBIDDEN, _) => Self::not_authorized(),
            (StatusCode::NOT_FOUND, Operation::GetBundle) => Self::bundle_not_found(),
            (StatusCode::NOT_FOUND, Operation::GetDeployment) => Self::deployment_not_found(),
            (StatusCode::NOT_FOUND, Operation::PutCapabilities) => Self::gateway_not_found(),
            (StatusCode::NOT_FOUND, Operation::DeleteCapabilities) => Self::device_not_found(),
            (StatusCode::NOT_ACCEPTABLE, _) => Self::not_acceptable(),
            (StatusCode::UNPROCESSABLE_ENTITY, _) => Self::semantic("scripted fault", Vec::new()),
            _ => Self::blank(status, "scripted fault"),
        }
    }

    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), errors: Vec::new() }
    }

    fn with(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The answer with the retry members of section "Retry Semantics".
    pub(crate) fn response(&self, path: &str, retry_after_secs: Option<u32>) -> Response<Body> {
        let retryable = matches!(self.status.as_u16(), 429 | 500 | 503);
        let kind = if self.kind.is_empty() {
            "about:blank".to_owned()
        } else {
            format!("{TYPES}{}", self.kind)
        };
        let mut body = json!({
            "type": kind,
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": path,
            "retryable": retryable,
            "backoffStrategy": if retryable { "exponential" } else { "none" },
        });
        if let Value::Object(members) = &mut body {
            if let Some(secs) = retry_after_secs {
                members.insert("retryAfterSeconds".to_owned(), json!(secs));
            }
            if !self.errors.is_empty() {
                members.insert("errors".to_owned(), json!(self.errors));
            }
        }
        let mut response = json_response(self.status, "application/problem+json", &body);
        add_retry_after(&mut response, retry_after_secs);
        response.extensions_mut().insert(Note(self.note()));
        response
    }

    /// The detail with the fields, for the request log.
    fn note(&self) -> String {
        let mut note = self.detail.clone();
        for error in &self.errors {
            note.push_str(&format!("; {}: {}", error.field, error.message));
        }
        note
    }
}

/// A remark for the request log, carried beside an answer.
#[derive(Clone, Debug)]
pub(crate) struct Note(pub(crate) String);

/// The answer of a scripted `status=` fault, in the form of the server it happens on.
pub(crate) fn scripted_status(
    operation: Operation,
    code: u16,
    retry_after_secs: Option<u32>,
    path: &str,
) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if operation.service() == Service::Registry {
        let mut response = oci_error(status, oci_code(status), "scripted fault");
        add_retry_after(&mut response, retry_after_secs);
        return response;
    }
    Problem::for_status(status, operation).response(path, retry_after_secs)
}

fn oci_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "NAME_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    }
}

/// An error in the form of the distribution specification.
pub(crate) fn oci_error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    let mut response = json_response(status, "application/json", &body);
    response.extensions_mut().insert(Note(format!("{code}: {message}")));
    response
}

/// A JSON answer.
pub(crate) fn json_response(
    status: StatusCode,
    content_type: &'static str,
    body: &Value,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn add_retry_after(response: &mut Response<Body>, retry_after_secs: Option<u32>) {
    if let Some(secs) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
}
