//! What a certificate authority does with a request from a device: check that whoever asks has the key, decide the name itself,
//! sign.

use rcgen::{PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::PkiError;

/// The key of a request that was signed with it.
pub(super) struct RequestedKey(Vec<u8>);

impl RequestedKey {
    /// Reads a PKCS#10 request (PEM) for a P-256 key. Names in it are wishes and are not looked at.
    pub(super) fn read(pem: &str) -> Result<Self, PkiError> {
        let refuse = |reason| PkiError::Request { reason };
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| refuse("it is not PEM"))?;
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
            return Err(refuse("it is no PKCS#10 request"));
        };
        let info = &request.certification_request_info;
        let point = info.subject_pki.subject_public_key.data.to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| refuse("it is not signed by its own P-256 key"))?;
        Ok(Self(point))
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
