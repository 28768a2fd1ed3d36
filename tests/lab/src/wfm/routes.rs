//! From method and path to an operation with its parameters.

use axum::http::Method;

use crate::fault::Operation;
use crate::net::url::decode;

/// A request that the API knows, or how it misses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    PutCapabilities {
        device: String,
    },
    DeleteCapabilities {
        device: String,
    },
    Manifest,
    Bundle {
        digest: String,
    },
    Deployment {
        id: String,
        digest: String,
    },
    Status {
        id: String,
    },
    /// The path exists, with another method.
    WrongMethod,
    Unknown,
}

impl Route {
    /// Reads a path below the WFM's base path.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let Some(path) = path.strip_prefix("/api/v1/").and_then(decode) else {
            return Self::Unknown;
        };
        if let Some(device) = path.strip_prefix("capabilities/") {
            let device = device.to_owned();
            return match *method {
                Method::PUT => Self::PutCapabilities { device },
                Method::DELETE => Self::DeleteCapabilities { device },
                _ => Self::WrongMethod,
            };
        }
        let segments: Vec<&str> = path.split('/').collect();
        let is_get = *method == Method::GET;
        match segments.as_slice() {
            ["deployments"] if is_get => Self::Manifest,
            ["bundles", digest] if is_get => Self::Bundle { digest: (*digest).to_owned() },
            ["deployments", id, "status"] if *method == Method::POST => {
                Self::Status { id: (*id).to_owned() }
            }
            ["deployments", _, "status"] => Self::WrongMethod,
            ["deployments", id, digest] if is_get => {
                Self::Deployment { id: (*id).to_owned(), digest: (*digest).to_owned() }
            }
            ["deployments"] | ["bundles", _] | ["deployments", _, _] => Self::WrongMethod,
            _ => Self::Unknown,
        }
    }

    /// The operation's name, for faults and the log.
    pub(super) fn operation(&self) -> Option<Operation> {
        match self {
            Self::PutCapabilities { .. } => Some(Operation::PutCapabilities),
            Self::DeleteCapabilities { .. } => Some(Operation::DeleteCapabilities),
            Self::Manifest => Some(Operation::GetManifest),
            Self::Bundle { .. } => Some(Operation::GetBundle),
            Self::Deployment { .. } => Some(Operation::GetDeployment),
            Self::Status { .. } => Some(Operation::PostStatus),
            Self::WrongMethod | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_recognised_and_its_parameters_read() {
        let route = |method: &Method, path: &str| Route::of(method, path);
        assert_eq!(
            route(&Method::PUT, "/api/v1/capabilities/gateway/child"),
            Route::PutCapabilities { device: "gateway/child".to_owned() }
        );
        assert_eq!(
            route(&Method::GET, "/api/v1/deployments/abc/sha256%3Aff"),
            Route::Deployment { id: "abc".to_owned(), digest: "sha256:ff".to_owned() }
        );
        assert_eq!(
            route(&Method::POST, "/api/v1/deployments/abc/status"),
            Route::Status { id: "abc".to_owned() }
        );
        assert_eq!(route(&Method::GET, "/api/v1/deployments"), Route::Manifest);
        assert_eq!(route(&Method::POST, "/api/v1/deployments"), Route::WrongMethod);
        assert_eq!(route(&Method::GET, "/api/v1/capabilities/x"), Route::WrongMethod);
        assert_eq!(route(&Method::GET, "/api/v1/onboarding"), Route::Unknown);
        assert_eq!(route(&Method::GET, "/"), Route::Unknown);
    }
}
