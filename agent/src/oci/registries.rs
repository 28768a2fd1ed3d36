//! What the device knows about registries: credentials, certificate authorities, which may be plain HTTP.

use super::reference::OciReference;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where distributions keep the public certificate authorities.
const SYSTEM_CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why registry settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistrySetupError {
    /// The extra certificate authority of a registry is unusable.
    #[error("certificate authority of registry {registry}")]
    Ca {
        /// `host[:port]`.
        registry: String,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in it, or none that can be an anchor.
    #[error("certificate authority of registry {registry} holds no usable certificate")]
    CaEmpty {
        /// `host[:port]`.
        registry: String,
    },
    /// The TLS configuration cannot be built.
    #[error("TLS configuration of registry {registry}")]
    Tls {
        /// `host[:port]`.
        registry: String,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP client refused its configuration.
    #[error("HTTP client")]
    Client {
        /// What it said.
        #[source]
        source: reqwest::Error,
    },
}

/// Name and password (or token) for a registry; also what the container engine needs to pull images from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password must never reach a log.
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How to talk to one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// Log in with these; `None` = anonymous.
    pub credentials: Option<Credentials>,
    /// Plain HTTP. Content is still verified by digest, but a tag can then be resolved to anything.
    pub insecure_http: bool,
    /// PEM of a certificate authority to accept besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Settings of all registries, by `host[:port]` as deployments write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries(BTreeMap<String, RegistryAccess>);

impl Registries {
    /// Takes the settings.
    pub fn new(entries: BTreeMap<String, RegistryAccess>) -> Self {
        Self(entries)
    }

    /// The credentials for a registry, for this module and for the container engine.
    pub fn credentials(&self, registry: &str) -> Option<&Credentials> {
        self.0.get(registry).and_then(|access| access.credentials.as_ref())
    }

    /// `http` for registries listed as insecure, and for this machine itself unless it has a CA of its own.
    pub(super) fn scheme(&self, reference: &OciReference) -> &'static str {
        let access = self.0.get(reference.registry());
        let insecure = access.is_some_and(|access| access.insecure_http);
        let has_ca = access.is_some_and(|access| access.ca_pem.is_some());
        if insecure || (reference.is_loopback() && !has_ca) { "http" } else { "https" }
    }

    /// TLS for one registry: the system's authorities and the registry's own.
    pub(super) fn tls(&self, registry: &str) -> Result<ClientConfig, RegistrySetupError> {
        let mut roots = RootCertStore::empty();
        for file in SYSTEM_CA_FILES {
            if let Ok(pem) = std::fs::read(file) {
                // Certificates that rustls cannot use are of no use to anybody here.
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
                break;
            }
        }
        if let Some(pem) = self.0.get(registry).and_then(|access| access.ca_pem.as_ref()) {
            let own = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| RegistrySetupError::Ca { registry: registry.into(), source })?;
            if roots.add_parsable_certificates(own).0 == 0 {
                return Err(RegistrySetupError::CaEmpty { registry: registry.into() });
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| RegistrySetupError::Tls { registry: registry.into(), source })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
