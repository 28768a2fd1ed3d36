//! A PKCS#10 certificate request for an ECDSA P-256 key (RFC 2986), encoded by hand: a library for it would be larger than all
//! of provisioning.

use super::der::{
    CONTEXT_0, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, URI_NAME, UTF8_STRING, bits, element,
    group,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

/// 1.2.840.10045.2.1, 1.2.840.10045.3.1.7, 1.2.840.10045.4.3.2
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 2.5.4.3, 1.2.840.113549.1.9.14, 2.5.29.17
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// Longest common name (RFC 5280).
const COMMON_NAME_CHARS_MAX: usize = 64;
const PEM_LINE_BYTES: usize = 64;

/// The crypto provider failed, without saying why.
#[derive(Debug, thiserror::Error)]
#[error("the crypto provider could not {0}")]
pub struct CryptoError(&'static str);

/// A new P-256 key, as PKCS#8.
pub(super) fn new_key() -> Result<Vec<u8>, CryptoError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map(|key| key.as_ref().to_vec())
        .map_err(|_| CryptoError("make a key"))
}

/// A request for a certificate of that key, as DER. The names are wishes: the authority decides.
pub(super) fn request(
    key_pkcs8: &[u8],
    common_name: &str,
    uri: Option<&str>,
) -> Result<Vec<u8>, CryptoError> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key_pkcs8, &random)
        .map_err(|_| CryptoError("read the key that waits for its certificate"))?;
    let name: String = common_name.chars().take(COMMON_NAME_CHARS_MAX).collect();
    let name = group(SEQUENCE, &[element(OID, COMMON_NAME), element(UTF8_STRING, name.as_bytes())]);
    let algorithm = group(SEQUENCE, &[element(OID, EC_PUBLIC_KEY), element(OID, P256)]);
    let info = group(
        SEQUENCE,
        &[
            element(INTEGER, &[0]),
            group(SEQUENCE, &[group(SET, &[name])]),
            group(SEQUENCE, &[algorithm, bits(key.public_key().as_ref())]),
            group(CONTEXT_0, &uri.map(extension_request).into_iter().collect::<Vec<_>>()),
        ],
    );
    let signature = key.sign(&random, &info).map_err(|_| CryptoError("sign the request"))?;
    let algorithm = group(SEQUENCE, &[element(OID, ECDSA_SHA256)]);
    Ok(group(SEQUENCE, &[info, algorithm, bits(signature.as_ref())]))
}

fn extension_request(uri: &str) -> Vec<u8> {
    let names = group(SEQUENCE, &[element(URI_NAME, uri.as_bytes())]);
    let extension =
        group(SEQUENCE, &[element(OID, SUBJECT_ALT_NAME), element(OCTET_STRING, &names)]);
    let extensions = group(SEQUENCE, &[extension]);
    group(SEQUENCE, &[element(OID, EXTENSION_REQUEST), group(SET, &[extensions])])
}

/// DER as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(PEM_LINE_BYTES) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer as _;

    const ID: &str = "spiffe://factory.example/margo/wfm/w1/client/d1";

    #[test]
    fn another_reader_finds_the_names_and_a_good_signature() {
        let key = new_key().unwrap();
        let der = request(&key, "press-07", Some(ID)).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let info = &request.certification_request_info;
        assert_eq!(info.subject.to_string(), "CN=press-07");
        let point = &info.subject_pki.subject_public_key.data;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(info.raw, &request.signature_value.data)
            .unwrap();
        let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(names)] = extensions.as_slice() else {
            panic!("{extensions:?}")
        };
        assert_eq!(names.general_names, [GeneralName::URI(ID)]);
    }

    #[test]
    fn without_an_id_no_name_is_asked_for() {
        let der = request(&new_key().unwrap(), &"x".repeat(100), None).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert_eq!(request.certification_request_info.subject.to_string().len(), 67);
        assert!(request.requested_extensions().is_none());
        assert!(pem("X", &der).lines().all(|line| line.len() <= 64));
    }
}
