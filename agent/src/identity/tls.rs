//! The TLS client configuration of every management interface connection: TLS 1.3, mutual, no resumption.

use super::svid::Svid;
use super::trust_bundle::TrustBundle;
use super::verifier::WfmVerifier;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::sync::Arc;

/// Where the time for judging certificates comes from.
#[derive(Clone, Debug)]
pub struct Clock {
    /// A time that has certainly passed, in seconds since 1970: the build's, or the last one seen. A clock that
    /// is before it is wrong, and no connection is made until it is set.
    pub floor_unix_secs: u64,
    /// The clock itself.
    pub time: Arc<dyn TimeProvider>,
}

impl Clock {
    /// The system's clock, not believed before `floor_unix_secs`.
    pub fn system(floor_unix_secs: u64) -> Self {
        Self { floor_unix_secs, time: Arc::new(DefaultTimeProvider) }
    }
}

/// The crypto provider refused its own defaults.
#[derive(Debug, thiserror::Error)]
#[error("building the TLS configuration")]
pub struct TlsError {
    /// What rustls said.
    #[source]
    pub source: rustls::Error,
}

/// The configuration that presents `svid` and accepts only the WFM it belongs to (R004, R005, R021).
///
/// Build a new one, and new connections, when the SVID or the bundle changes (R033, R068).
///
/// # Errors
/// Only if the crypto provider does not support TLS 1.3.
pub fn client_config(
    svid: &Svid,
    bundle: &TrustBundle,
    clock: &Clock,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WfmVerifier::new(svid.id(), bundle.anchors(), clock.floor_unix_secs);
    let mut config = ClientConfig::builder_with_details(provider, clock.time.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(svid.certified())));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would outlive the validation it rests on (R032).
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}
