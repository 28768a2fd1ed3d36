//! From method and path to a registry operation. Repository names contain slashes, so paths are read from their ends.

use axum::http::Method;

use crate::fault::Operation;
use crate::net::url::decode;

/// Longest repository name.
const NAME_MAX_BYTES: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Token,
    Catalog,
    Tags { name: String },
    GetManifest { name: String, reference: String },
    PutManifest { name: String, reference: String },
    GetBlob { digest: String },
    StartUpload { name: String },
    UploadStatus { name: String, id: String },
    Append { name: String, id: String },
    Finish { name: String, id: String },
    Abandon { id: String },
    WrongMethod,
    BadName,
    Unknown,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let Some(path) = decode(path) else { return Self::Unknown };
        let is_read = *method == Method::GET || *method == Method::HEAD;
        match path.as_str() {
            "/v2" | "/v2/" if is_read => return Self::Ping,
            "/token" if is_read => return Self::Token,
            "/v2/_catalog" if is_read => return Self::Catalog,
            _ => {}
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::Unknown };
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return named(
                name,
                |name| if is_read { Self::Tags { name } } else { Self::WrongMethod },
            );
        }
        if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/") {
            return named(name, |name| upload(method, name, id.to_owned()));
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return named(name, |name| upload(method, name, String::new()));
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            let digest = digest.to_owned();
            let get = |_| if is_read { Self::GetBlob { digest } } else { Self::WrongMethod };
            return named(name, get);
        }
        if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
            let reference = reference.to_owned();
            return named(name, |name| match *method {
                Method::GET | Method::HEAD => Self::GetManifest { name, reference },
                Method::PUT => Self::PutManifest { name, reference },
                _ => Self::WrongMethod,
            });
        }
        Self::Unknown
    }

    pub(super) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Ping => Some(Operation::Ping),
            Self::Token => Some(Operation::Token),
            Self::Catalog | Self::Tags { .. } => Some(Operation::List),
            Self::GetManifest { .. } => Some(Operation::PullManifest),
            Self::GetBlob { .. } => Some(Operation::PullBlob),
            Self::PutManifest { .. }
            | Self::StartUpload { .. }
            | Self::UploadStatus { .. }
            | Self::Append { .. }
            | Self::Finish { .. }
            | Self::Abandon { .. } => Some(Operation::Push),
            Self::WrongMethod | Self::BadName | Self::Unknown => None,
        }
    }
}

fn named(name: &str, route: impl FnOnce(String) -> Route) -> Route {
    if is_name(name) { route(name.to_owned()) } else { Route::BadName }
}

fn upload(method: &Method, name: String, id: String) -> Route {
    // An id becomes a file name.
    let is_id = id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    match *method {
        _ if !is_id => Route::Unknown,
        Method::POST if id.is_empty() => Route::StartUpload { name },
        _ if id.is_empty() => Route::WrongMethod,
        Method::GET => Route::UploadStatus { name, id },
        Method::PATCH => Route::Append { name, id },
        Method::PUT => Route::Finish { name, id },
        Method::DELETE => Route::Abandon { id },
        _ => Route::WrongMethod,
    }
}

/// Whether a text is a repository name.
pub(super) fn is_name(name: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= NAME_MAX_BYTES
        && name.split('/').all(|part| {
            part.bytes().all(|c| is_word(c) || b"._-".contains(&c))
                && part.bytes().next().is_some_and(is_word)
                && part.bytes().last().is_some_and(is_word)
        })
}

/// Whether a text is a tag.
pub(super) fn is_tag(tag: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|c| is_word(c) || b".-".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_told_from_the_operation() {
        let route = |method: &Method, path: &str| Route::of(method, path);
        assert_eq!(route(&Method::GET, "/v2/"), Route::Ping);
        assert_eq!(
            route(&Method::HEAD, "/v2/lab/app/manifests/1.0.0"),
            Route::GetManifest { name: "lab/app".to_owned(), reference: "1.0.0".to_owned() }
        );
        assert_eq!(
            route(&Method::POST, "/v2/lab/app/blobs/uploads/"),
            Route::StartUpload { name: "lab/app".to_owned() }
        );
        assert_eq!(
            route(&Method::PATCH, "/v2/lab/app/blobs/uploads/ab-12"),
            Route::Append { name: "lab/app".to_owned(), id: "ab-12".to_owned() }
        );
        assert_eq!(route(&Method::PUT, "/v2/lab/app/blobs/uploads/..%2f"), Route::Unknown);
        assert_eq!(
            route(&Method::GET, "/v2/lab/app/blobs/sha256:ab"),
            Route::GetBlob { digest: "sha256:ab".to_owned() }
        );
        assert_eq!(route(&Method::GET, "/v2/a/tags/list"), Route::Tags { name: "a".to_owned() });
        assert_eq!(route(&Method::GET, "/v2/Lab/manifests/1"), Route::BadName);
        assert_eq!(route(&Method::DELETE, "/v2/lab/manifests/1"), Route::WrongMethod);
        assert_eq!(route(&Method::GET, "/v1/lab"), Route::Unknown);
    }

    #[test]
    fn names_and_tags_follow_the_distribution_grammar() {
        assert!(is_name("lab/app-1.x_y"));
        assert!(!is_name("") && !is_name("a//b") && !is_name("-a") && !is_name("a/../b"));
        assert!(is_tag("1.0.0_b-1") && is_tag("_x"));
        assert!(!is_tag("") && !is_tag(".x") && !is_tag("a:b"));
    }
}
