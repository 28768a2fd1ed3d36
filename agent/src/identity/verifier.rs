//! Recognises the WFM in a TLS handshake: by chain and SPIFFE ID, never by host name (R047–R051, R080, R081).

use super::leaf::{self, LeafRule};
use super::spiffe_id::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use std::sync::Arc;
use webpki::ring as algorithms;

/// Most intermediates a peer may present.
const INTERMEDIATES_MAX: usize = 8;

/// In certificates: exactly the table of the SVID profile (R042–R045).
const CHAIN_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
];

/// In the handshake. PKCS#1 v1.5 is listed so that a peer may present RSA-signed certificates; TLS 1.3 itself
/// forbids it for the handshake signature.
const HANDSHAKE_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: CHAIN_ALGORITHMS,
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithms::ECDSA_P256_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithms::ECDSA_P384_SHA384]),
        (SignatureScheme::ED25519, &[algorithms::ED25519]),
        (SignatureScheme::RSA_PSS_SHA256, &[algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[algorithms::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// Why a peer is not our WFM, or cannot be judged now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The clock says a time before the last one known, so no certificate can be judged (R054).
    #[error("device clock says {now_unix_secs}, which is before {floor_unix_secs}")]
    ClockBehind {
        /// What the clock says, in seconds since 1970.
        now_unix_secs: u64,
        /// The latest time known to have passed.
        floor_unix_secs: u64,
    },
    /// The peer's leaf breaks the SVID profile.
    #[error("peer certificate: {0}")]
    Leaf(LeafRule),
    /// The peer lives in another trust domain (R047).
    #[error("peer is of trust domain `{presented}`, not `{expected}`")]
    TrustDomain {
        /// Our own.
        expected: String,
        /// The peer's.
        presented: String,
    },
    /// The peer is someone else of our trust domain (R081).
    #[error("peer is {presented}, not {expected}")]
    Identity {
        /// Our WFM.
        expected: Box<SpiffeId>,
        /// Who answered.
        presented: Box<SpiffeId>,
    },
    /// The chain does not lead to an anchor of the trust bundle, or something in it is not valid (R049).
    #[error("certificate chain: {0:?}")]
    Chain(webpki::Error),
    /// The only chain goes through a certificate whose key or signature is not accepted.
    #[error("intermediate certificate: {0}")]
    WeakIntermediate(LeafRule),
    /// More intermediates than we are willing to look at.
    #[error("peer presented more than {INTERMEDIATES_MAX} intermediate certificates")]
    TooManyIntermediates,
}

/// Accepts exactly one peer: the WFM that the device's own SVID belongs to.
#[derive(Debug)]
pub(super) struct WfmVerifier {
    expected: SpiffeId,
    anchors: Vec<TrustAnchor<'static>>,
    floor_unix_secs: u64,
}

impl WfmVerifier {
    pub(super) fn new(
        own: &SpiffeId,
        anchors: &[TrustAnchor<'static>],
        floor_unix_secs: u64,
    ) -> Self {
        Self { expected: own.wfm(), anchors: anchors.to_vec(), floor_unix_secs }
    }

    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        if now.as_secs() < self.floor_unix_secs {
            return Err(VerifyError::ClockBehind {
                now_unix_secs: now.as_secs(),
                floor_unix_secs: self.floor_unix_secs,
            });
        }
        let presented = leaf::inspect_leaf(leaf, false).map_err(VerifyError::Leaf)?.id;
        if presented.trust_domain() != self.expected.trust_domain() {
            return Err(VerifyError::TrustDomain {
                expected: self.expected.trust_domain().to_owned(),
                presented: presented.trust_domain().to_owned(),
            });
        }
        let usage = webpki::KeyUsage::server_auth();
        verify_chain(leaf, intermediates, &self.anchors, now, usage)?;
        if presented != self.expected {
            return Err(VerifyError::Identity {
                expected: Box::new(self.expected.clone()),
                presented: Box::new(presented),
            });
        }
        Ok(())
    }
}

/// Path validation to any anchor, over presented intermediates only (R049, R050).
pub(super) fn verify_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: UnixTime,
    usage: webpki::KeyUsage,
) -> Result<(), VerifyError> {
    if intermediates.len() > INTERMEDIATES_MAX {
        return Err(VerifyError::TooManyIntermediates);
    }
    // Unacceptable ones take no part; a peer may send more than is needed.
    let mut weak = None;
    let usable: Vec<CertificateDer<'_>> = intermediates
        .iter()
        .filter(|certificate| match leaf::inspect_key(certificate) {
            Ok(()) => true,
            Err(rule) => {
                weak = Some(rule);
                false
            }
        })
        .cloned()
        .collect();
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(VerifyError::Chain)?;
    let verified =
        leaf.verify_for_usage(CHAIN_ALGORITHMS, anchors, &usable, now, usage, None, None);
    match (verified, weak) {
        (Ok(_), _) => Ok(()),
        (Err(webpki::Error::UnknownIssuer), Some(rule)) => Err(VerifyError::WeakIntermediate(rule)),
        (Err(error), _) => Err(VerifyError::Chain(error)),
    }
}

impl ServerCertVerifier for WfmVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.verify(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 is not offered (R021); should it ever be negotiated, it fails here.
        Err(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &HANDSHAKE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        HANDSHAKE_ALGORITHMS.mapping.iter().map(|(scheme, _)| *scheme).collect()
    }
}
