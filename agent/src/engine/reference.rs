//! Image references: parsing, Docker's normal form, and pinning to a digest.
//!
//! `nginx` means `docker.io/library/nginx:latest`; nobody but this file knows that.

use std::fmt;

/// Longest reference accepted, in bytes; Docker's own limit on the name is 255.
const REFERENCE_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
const DEFAULT_DOMAIN: &str = "docker.io";

/// A parsed reference in normal form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image reference `{reference}`: {reason}")]
pub struct ReferenceError {
    reference: String,
    reason: &'static str,
}

impl ImageReference {
    /// Parses a reference as a compose file holds it.
    ///
    /// # Errors
    /// When a part is missing, too long or has a character that registries do not allow.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_parts(text).map_err(|reason| ReferenceError {
            reference: text.chars().take(REFERENCE_BYTES_MAX).collect(),
            reason,
        })
    }

    fn parse_parts(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > REFERENCE_BYTES_MAX {
            return Err("must have 1 to 512 bytes");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err("digest must be `sha256:` and 64 lowercase hex digits"),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; before it, it belongs to the host's port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash.saturating_add(1));
        let (head, tail) = rest.split_at(name_end);
        let (tail, tag) = match tail.split_once(':') {
            Some((tail, tag)) if is_tag(tag) => (tail, Some(tag.to_owned())),
            Some(_) => return Err("tag must be up to 128 letters, digits, `_`, `.` or `-`"),
            None => (tail, None),
        };
        let name = format!("{head}{tail}");
        let (domain, path) = split_domain(&name);
        if path.is_empty() || !path.split('/').all(is_path_part) {
            return Err("name must be lowercase letters, digits and separators");
        }
        if domain.len().saturating_add(path.len()) >= NAME_BYTES_MAX {
            return Err("name must be shorter than 255 bytes");
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Ok(Self { domain, path, tag, digest })
    }

    /// The registry's host and port.
    pub fn registry(&self) -> &str {
        &self.domain
    }

    /// `registry/path`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The digest, when the reference is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What the engine's pull call takes as `tag`: the digest if there is one, for it wins.
    pub(crate) fn selector(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The repository as the engine itself writes it in `RepoDigests`: without Docker's default parts.
    pub(crate) fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        self.path.strip_prefix("library/").unwrap_or(&self.path).to_owned()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Docker's rule: a first part with a dot or a colon, or `localhost`, is a host.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("library/{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn is_path_part(part: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(edge)
        && part.ends_with(edge)
        && part.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= TAG_BYTES_MAX
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn normal_forms() {
        for (text, normal) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("lab/busybox:1", "docker.io/lab/busybox:1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest".to_owned()),
            ("r.example:5000/app:v1", "r.example:5000/app:v1".to_owned()),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            (&format!("r.example/app@{DIGEST}"), format!("r.example/app@{DIGEST}")),
            (&format!("r.example/app:1@{DIGEST}"), format!("r.example/app:1@{DIGEST}")),
        ] {
            assert_eq!(ImageReference::parse(text).unwrap().to_string(), normal, "{text}");
        }
    }

    #[test]
    fn parts() {
        let image = ImageReference::parse(&format!("nginx:1@{DIGEST}")).unwrap();
        assert_eq!(image.registry(), "docker.io");
        assert_eq!(image.selector(), DIGEST);
        assert_eq!(image.digest(), Some(DIGEST));
        assert_eq!(image.familiar_repository(), "nginx");
        let own = ImageReference::parse("r.example/team/app:2").unwrap();
        assert_eq!(
            (own.selector(), own.familiar_repository().as_str()),
            ("2", "r.example/team/app")
        );
    }

    #[test]
    fn refused() {
        let long = format!("a/{}", "b".repeat(600));
        for text in [
            "",
            "UPPER",
            "a//b",
            "a:",
            "a:bad tag",
            "a@sha256:12",
            "a@md5:x",
            "/a",
            "a/",
            "-a",
            &long,
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text}");
        }
    }
}
