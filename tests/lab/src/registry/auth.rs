//! Who may use the registry.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::index::Index;
use super::routes::Route;
use crate::net::problem::{json_response, oci_error};

/// What the registry asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryAuth {
    /// Nothing.
    #[default]
    None,
    /// User and password with every request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token, which `/token` gives for user and password.
    Bearer {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

/// Lets a request through or says what it lacks.
pub(super) fn check(
    index: &Index,
    headers: &HeaderMap,
    route: &Route,
    origin: &str,
) -> Result<(), Box<Response<Body>>> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match index.auth() {
        RegistryAuth::None => Ok(()),
        RegistryAuth::Basic { user, password } => {
            if is_basic(given, &user, &password) {
                return Ok(());
            }
            Err(Box::new(challenge("Basic realm=\"margo-lab\"".to_owned())))
        }
        RegistryAuth::Bearer { user, password } => {
            if *route == Route::Token {
                if is_basic(given, &user, &password) {
                    return Ok(());
                }
                return Err(Box::new(challenge("Basic realm=\"margo-lab\"".to_owned())));
            }
            let token = given.and_then(|value| value.strip_prefix("Bearer "));
            if token.is_some_and(|token| index.is_token(token)) {
                return Ok(());
            }
            let scope = scope(route);
            let realm = format!("Bearer realm=\"{origin}/token\",service=\"margo-lab\"{scope}");
            Err(Box::new(challenge(realm)))
        }
    }
}

/// The answer of the token endpoint, once the caller was let through.
pub(super) fn token(index: &Index) -> Response<Body> {
    let token = index.new_token();
    let body = json!({ "token": token, "access_token": token, "expires_in": 300 });
    json_response(StatusCode::OK, "application/json", &body)
}

fn is_basic(given: Option<&str>, user: &str, password: &str) -> bool {
    let encoded = given.and_then(|value| value.strip_prefix("Basic "));
    let decoded = encoded.and_then(|text| STANDARD.decode(text.trim()).ok());
    decoded.is_some_and(|decoded| decoded == format!("{user}:{password}").into_bytes())
}

fn scope(route: &Route) -> String {
    match route {
        Route::GetManifest { name, .. } | Route::Tags { name } => {
            format!(",scope=\"repository:{name}:pull\"")
        }
        Route::PutManifest { name, .. }
        | Route::StartUpload { name }
        | Route::UploadStatus { name, .. }
        | Route::Append { name, .. }
        | Route::Finish { name, .. } => format!(",scope=\"repository:{name}:pull,push\""),
        _ => String::new(),
    }
}

fn challenge(value: String) -> Response<Body> {
    let message = "authentication is required";
    let mut response = oci_error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
