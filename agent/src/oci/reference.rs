//! Where an artifact is: `oci://host[:port]/path` and a tag.

use std::fmt;

/// Longest host with port, in bytes.
const REGISTRY_BYTES_MAX: usize = 261;
/// Longest repository path, in bytes.
const PATH_BYTES_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_BYTES_MAX: usize = 128;

/// Why a text is not a reference to an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not `oci://`.
    #[error("repository does not begin with oci://")]
    Scheme,
    /// Not `host` or `host:port`.
    #[error("registry is not `host` or `host:port`")]
    Registry,
    /// Not lowercase components separated by `/`.
    #[error("repository path holds a forbidden character or an empty component")]
    Path,
    /// Not an OCI tag.
    #[error("revision is not an OCI tag")]
    Tag,
}

/// A checked reference; safe to build URLs from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OciReference {
    registry: String,
    path: String,
    tag: String,
}

impl OciReference {
    /// Checks a component's `repository` and `revision`.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn parse(repository: &str, revision: &str) -> Result<Self, ReferenceError> {
        let rest = repository.strip_prefix("oci://").ok_or(ReferenceError::Scheme)?;
        let (registry, path) = rest.split_once('/').ok_or(ReferenceError::Path)?;
        if !is_registry(registry) {
            return Err(ReferenceError::Registry);
        }
        if path.len() > PATH_BYTES_MAX || !path.split('/').all(is_component) {
            return Err(ReferenceError::Path);
        }
        if !is_tag(revision) {
            return Err(ReferenceError::Tag);
        }
        let (registry, path, tag) = (registry.to_owned(), path.to_owned(), revision.to_owned());
        Ok(Self { registry, path, tag })
    }

    /// `host` or `host:port`, the key of the registry's settings.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Repository inside the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// True if the registry is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => self.registry.split(':').next(),
        };
        host.is_some_and(|host| {
            host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.path, self.tag)
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_is_good = if text.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        host.split('.').all(label)
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port_is_good =
        port.is_none_or(|port| digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0));
    text.len() <= REGISTRY_BYTES_MAX && host_is_good && port_is_good
}

/// Lowercase letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    let joints = text
        .split(|char: char| char.is_ascii() && alphanumeric(char as u8))
        .filter(|joint| !joint.is_empty());
    ends.iter().all(|end| end.is_some_and(alphanumeric))
        && joints.into_iter().all(|joint| {
            matches!(joint, "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}
