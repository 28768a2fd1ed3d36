//! The SPIFFE trust bundle: a JWK Set with one `x509-svid` key for each anchor.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::PkiError;
use super::authority::Authority;

/// Bytes of one coordinate of a P-256 point.
const COORDINATE_BYTES: usize = 32;

/// The bundle as JSON.
pub(super) fn render(
    authorities: &[Authority],
    sequence: u64,
    refresh_hint_secs: u64,
) -> Result<Value, PkiError> {
    let mut keys = Vec::new();
    for authority in authorities {
        let der = authority.root_der()?;
        let (x, y) = coordinates(&der).unwrap_or_default();
        keys.push(json!({
            "kty": "EC",
            "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
            "use": "x509-svid",
            "x5c": [STANDARD.encode(&der)],
        }));
    }
    Ok(json!({
        "keys": keys,
        "spiffe_sequence": sequence,
        "spiffe_refresh_hint": refresh_hint_secs,
    }))
}

/// X and Y of the certificate's public key: an uncompressed point is 4, X, Y.
fn coordinates(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let point = certificate.public_key().subject_public_key.data.as_ref().strip_prefix(&[4])?;
    let (x, y) = point.split_at_checked(COORDINATE_BYTES)?;
    (y.len() == COORDINATE_BYTES).then(|| (x.to_vec(), y.to_vec()))
}
