//! The one digest form there is: `sha256:` and 64 lowercase hex characters (R126, R128).

use ring::digest::{Context, SHA256};
use state_machine::ids::Digest;

const PREFIX: &str = "sha256:";
const HEX_CHARS: usize = 64;

/// Why a text is not a digest this device can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Well formed, but of an algorithm other than `sha256`; the document that names it is invalid (R127).
    #[error("digest algorithm is not sha256")]
    Algorithm,
    /// Not `algorithm:encoded` in lowercase without blanks (R128).
    #[error("digest is not `sha256:` and 64 lowercase hex characters")]
    Grammar,
}

/// Reads a digest from a peer.
///
/// # Errors
/// Anything but the exact form.
pub fn parse(text: &str) -> Result<Digest, DigestError> {
    let Some(hex) = text.strip_prefix(PREFIX) else {
        let algorithm = text.split_once(':').map(|(algorithm, _)| algorithm);
        let plausible = algorithm.is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        return Err(if plausible { DigestError::Algorithm } else { DigestError::Grammar });
    };
    let lowercase_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hex.len() == HEX_CHARS && hex.bytes().all(lowercase_hex) {
        Ok(Digest::new(text))
    } else {
        Err(DigestError::Grammar)
    }
}

/// The digest of these exact bytes.
pub fn of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The hex part, if `digest` has the exact form; a `Digest` is only a text, and file names are made from this.
pub fn hex_of(digest: &Digest) -> Option<&str> {
    parse(digest.as_str()).ok()?;
    digest.as_str().strip_prefix(PREFIX)
}

/// SHA-256 over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Hasher(Context);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest::new(format!("{PREFIX}{}", hex::encode(self.0.finish())))
    }
}
