//! Names of clients and deployments, digests and times: small things every other module needs.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text as it is: the lab must also be able to name what is wrong.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text as it appears on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// A deployment's UUID, assigned by the lab's WFM and kept while the deployment lives (R140).
    DeploymentId
}
text_id! {
    /// The last part of a client's SPIFFE ID: `<wfm-client-id>`.
    ClientId
}

/// `sha256:<64 lowercase hex>` over exact bytes (R126).
pub fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes)))
}

/// Whether a text is `sha256:` and 64 lowercase hexadecimal digits, nothing else (R128).
pub fn is_sha256_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|encoded| {
        encoded.len() == 64 && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Milliseconds since the Unix epoch by this machine's clock.
pub fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A random version-4 UUID in its usual text form.
pub fn random_uuid() -> String {
    let mut bytes = [0u8; 16];
    // The system's generator does not fail after boot; a zero id would still be a valid, if repeated, name.
    let _filled = SystemRandom::new().fill(&mut bytes);
    let mut text = hex::encode(bytes);
    text.replace_range(12..13, "4");
    text.replace_range(16..17, "a");
    for position in [20, 16, 12, 8] {
        text.insert(position, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_uuid_has_the_form_the_specification_demands() {
        let uuid = random_uuid();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }

    #[test]
    fn a_digest_is_lowercase_hex_of_the_exact_bytes() {
        let digest = sha256_digest(b"{}");
        assert_eq!(
            digest,
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert!(is_sha256_digest(&digest));
        assert!(!is_sha256_digest(&digest.to_uppercase()));
        assert!(!is_sha256_digest(&format!("{digest} ")));
    }
}
