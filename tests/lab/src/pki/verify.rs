//! How the WFM recognises its clients: chain to an anchor of the bundle, exactly one URI SAN, and that in the WFM's own client
//! namespace (R084). What a recognised client may do is decided per request, elsewhere (R085).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Pki, PkiError, Svid};
use crate::ids::ClientId;

/// Why a client's certificate is not one of ours although its chain is good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecogniseError {
    /// The certificate cannot be parsed.
    #[error("the client's certificate cannot be parsed")]
    Parse,
    /// It has no URI SAN, or several.
    #[error("the client's certificate has {0} URI names, not 1")]
    UriCount(usize),
    /// Its SPIFFE ID is not `<wfm>/client/<id>`.
    #[error("client {0} is not in the namespace of this WFM")]
    Foreign(String),
}

/// Reads the client id out of a leaf certificate.
pub(crate) fn recognise(leaf: &[u8], wfm_spiffe_id: &str) -> Result<ClientId, RecogniseError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| RecogniseError::Parse)?;
    let names = certificate.subject_alternative_name().map_err(|_| RecogniseError::Parse)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(RecogniseError::UriCount(uris.len()));
    };
    let id = uri.strip_prefix(wfm_spiffe_id).and_then(|rest| rest.strip_prefix("/client/"));
    match id {
        Some(id) if is_spiffe_segment(id) => Ok(ClientId::new(id)),
        _ => Err(RecogniseError::Foreign((*uri).to_owned())),
    }
}

/// Non-empty, unreserved characters only, not a dot segment.
fn is_spiffe_segment(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// TLS 1.3 with this SVID and mandatory client certificates.
pub(crate) fn wfm_tls(pki: &Pki, svid: &Svid) -> Result<Arc<ServerConfig>, PkiError> {
    let mut roots = RootCertStore::empty();
    for anchor in pki.anchors()? {
        roots.add(anchor).map_err(|source| PkiError::Tls { name: "wfm", source })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(PkiError::Verifier)?;
    let verifier = Arc::new(NamespaceVerifier { chain, wfm_spiffe_id: pki.wfm_spiffe_id() });
    server_config("wfm", svid, Some(verifier))
}

/// TLS 1.3 for an ordinary web server.
pub(crate) fn web_tls(name: &'static str, svid: &Svid) -> Result<Arc<ServerConfig>, PkiError> {
    server_config(name, svid, None)
}

fn server_config(
    name: &'static str,
    svid: &Svid,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let failed = |source| PkiError::Tls { name, source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13]) // R021
        .map_err(failed)?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = svid.der()?;
    let mut config = builder.with_single_cert(chain, key).map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

struct NamespaceVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    wfm_spiffe_id: String,
}

impl fmt::Debug for NamespaceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceVerifier")
            .field("wfm_spiffe_id", &self.wfm_spiffe_id)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for NamespaceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        recognise(end_entity, &self.wfm_spiffe_id).map_err(|error| {
            rustls::Error::from(CertificateError::Other(OtherError(Arc::new(error))))
        })?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
