//! What an SVID's leaf certificate must look like, whoever presents it (R045, R051), and which keys are accepted.

use super::spiffe_id::{SpiffeId, SpiffeIdError};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

const OID_EC: &str = "1.2.840.10045.2.1";
const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_P384: &str = "1.3.132.0.34";
const OID_ED25519: &str = "1.3.101.112";
const OID_RSA: &str = "1.2.840.113549.1.1.1";
/// Shortest RSA modulus (R044).
const RSA_BITS_MIN: usize = 3072;
/// ECDSA with SHA-256 and SHA-384, Ed25519, RSA PKCS#1 v1.5 with SHA-256, RSA-PSS.
const SIGNATURE_OIDS: [&str; 5] = [
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    OID_ED25519,
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.10",
];

/// Why a public key or signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRule {
    /// An RSA key that is too short (R044).
    #[error("RSA key of {bits} bits, at least 3072 are required")]
    RsaTooShort {
        /// Its length.
        bits: usize,
    },
    /// A curve other than P-256 and P-384 (R045).
    #[error("elliptic curve {oid} is not P-256 or P-384")]
    Curve {
        /// The curve's object identifier.
        oid: String,
    },
    /// Neither ECDSA, Ed25519 nor RSA.
    #[error("key algorithm {oid} is not accepted")]
    Algorithm {
        /// The algorithm's object identifier.
        oid: String,
    },
    /// Signed with an algorithm that is not accepted.
    #[error("signature algorithm {oid} is not accepted")]
    Signature {
        /// The algorithm's object identifier.
        oid: String,
    },
    /// The key cannot be parsed.
    #[error("public key cannot be read")]
    Unreadable,
}

/// Why a certificate is not an acceptable SVID leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafRule {
    /// Not an X.509 certificate.
    #[error("certificate cannot be read")]
    Unreadable,
    /// There must be one URI in the subject alternative name, and only one.
    #[error("certificate has {count} URI names, exactly one is required")]
    UriCount {
        /// How many there are.
        count: usize,
    },
    /// A CA certificate is not an identity.
    #[error("leaf is a CA certificate")]
    IsCa,
    /// keyCertSign or cRLSign.
    #[error("leaf may sign certificates or revocation lists")]
    MaySign,
    /// keyUsage lacks digitalSignature.
    #[error("leaf lacks the digitalSignature key usage")]
    NoDigitalSignature,
    /// The URI is not a Margo principal's SPIFFE ID.
    #[error("SPIFFE ID: {0}")]
    Id(SpiffeIdError),
    /// The key or signature is not accepted.
    #[error("{0}")]
    Key(KeyRule),
}

/// The parts of a leaf that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) id: SpiffeId,
    pub(super) not_before_unix_secs: i64,
    pub(super) not_after_unix_secs: i64,
}

/// Checks everything about a leaf that does not need an issuer.
///
/// A peer's leaf without any keyUsage is accepted, as other SPIFFE implementations do; our own must have it.
pub(super) fn inspect_leaf(der: &[u8], own: bool) -> Result<Leaf, LeafRule> {
    let certificate = parse(der)?;
    if certificate.basic_constraints().map_err(unreadable)?.is_some_and(|found| found.value.ca) {
        return Err(LeafRule::IsCa);
    }
    match certificate.key_usage().map_err(unreadable)? {
        Some(usage) if usage.value.key_cert_sign() || usage.value.crl_sign() => {
            return Err(LeafRule::MaySign);
        }
        Some(usage) if !usage.value.digital_signature() => {
            return Err(LeafRule::NoDigitalSignature);
        }
        None if own => return Err(LeafRule::NoDigitalSignature),
        Some(_) | None => {}
    }
    check_certificate(&certificate).map_err(LeafRule::Key)?;
    let id = SpiffeId::parse(only_uri(&certificate)?).map_err(LeafRule::Id)?;
    let validity = certificate.validity();
    Ok(Leaf {
        id,
        not_before_unix_secs: validity.not_before.timestamp(),
        not_after_unix_secs: validity.not_after.timestamp(),
    })
}

/// Key and signature algorithm of any certificate of a chain.
pub(super) fn inspect_key(der: &[u8]) -> Result<(), LeafRule> {
    check_certificate(&parse(der)?).map_err(LeafRule::Key)
}

/// True if the certificate says it is a CA.
pub(super) fn is_ca(der: &[u8]) -> Result<bool, LeafRule> {
    let certificate = parse(der)?;
    let constraints = certificate.basic_constraints().map_err(unreadable)?;
    Ok(constraints.is_some_and(|found| found.value.ca))
}

/// The trust domain that an authority's certificate names, if it names one.
pub(super) fn trust_domain(der: &[u8]) -> Option<String> {
    let certificate = parse(der).ok()?;
    let rest = only_uri(&certificate).ok()?.strip_prefix("spiffe://")?;
    Some(rest.split('/').next().unwrap_or_default().to_owned())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, LeafRule> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(LeafRule::Unreadable),
    }
}

fn unreadable(_: x509_parser::error::X509Error) -> LeafRule {
    LeafRule::Unreadable
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, LeafRule> {
    let names = certificate.subject_alternative_name().map_err(unreadable)?;
    let mut uris =
        names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(uri),
        (first, more) => {
            let count = more.saturating_add(usize::from(first.is_some()));
            Err(LeafRule::UriCount { count })
        }
    }
}

fn check_certificate(certificate: &X509Certificate<'_>) -> Result<(), KeyRule> {
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    if !SIGNATURE_OIDS.contains(&signature.as_str()) {
        return Err(KeyRule::Signature { oid: signature });
    }
    check_key(certificate.public_key())
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), KeyRule> {
    let algorithm = key.algorithm.algorithm.to_id_string();
    match algorithm.as_str() {
        OID_ED25519 => Ok(()),
        OID_EC => {
            let parameters = key.algorithm.parameters.as_ref();
            let curve = parameters
                .and_then(|any| any.as_oid().ok())
                .map(|oid| oid.to_id_string())
                .ok_or(KeyRule::Unreadable)?;
            if curve == OID_P256 || curve == OID_P384 {
                Ok(())
            } else {
                Err(KeyRule::Curve { oid: curve })
            }
        }
        OID_RSA => {
            let bits = key.parsed().map_err(|_| KeyRule::Unreadable)?.key_size();
            if bits >= RSA_BITS_MIN { Ok(()) } else { Err(KeyRule::RsaTooShort { bits }) }
        }
        _ => Err(KeyRule::Algorithm { oid: algorithm }),
    }
}
