//! One certificate authority: a root (the anchor) and, below it, the intermediate that issues.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::PkiError;

/// A root and its intermediate, with their keys, as stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Authority {
    name: String,
    pub(super) root_pem: String,
    root_key_pem: String,
    pub(super) intermediate_pem: String,
    intermediate_key_pem: String,
}

// No derive: keys must not appear in a log.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes both certificates. With a trust domain they carry its SPIFFE ID as SPIFFE asks of signing certificates.
    pub(super) fn generate(name: &str, trust_domain: Option<&str>) -> Result<Self, PkiError> {
        let failed = |source| PkiError::Generate { name: name.to_owned(), source };
        let root_key = KeyPair::generate().map_err(failed)?;
        let root_params = ca_params(name, trust_domain, 1).map_err(failed)?;
        let root = root_params.self_signed(&root_key).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let params = ca_params(&intermediate_name(name), trust_domain, 0).map_err(failed)?;
        let intermediate = params
            .signed_by(&key, &Issuer::from_params(&root_params, &root_key))
            .map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            root_pem: root.pem(),
            root_key_pem: root_key.serialize_pem(),
            intermediate_pem: intermediate.pem(),
            intermediate_key_pem: key.serialize_pem(),
        })
    }

    /// Signs a leaf with the intermediate; returns its PEM.
    pub(super) fn issue(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<String, PkiError> {
        let failed = |source| PkiError::Generate { name: self.name.clone(), source };
        let issuer_key = KeyPair::from_pem(&self.intermediate_key_pem).map_err(failed)?;
        let issuer_params = ca_params(&intermediate_name(&self.name), None, 0).map_err(failed)?;
        let issuer = Issuer::from_params(&issuer_params, issuer_key);
        Ok(params.signed_by(key, &issuer).map_err(failed)?.pem())
    }

    /// The anchor's certificate.
    pub(super) fn root_der(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.root_pem.as_bytes())
            .map_err(|source| PkiError::ReadPem { name: self.name.clone(), source })
    }
}

fn intermediate_name(name: &str) -> String {
    format!("{name} intermediate")
}

fn ca_params(
    name: &str,
    trust_domain: Option<&str>,
    path_length: u8,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Devices at bring-up may have a clock that lags by weeks; the leaf decides, not the authority.
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(365);
    params.not_after = now + Duration::days(3650);
    if let Some(domain) = trust_domain {
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").try_into()?)];
    }
    Ok(params)
}

/// A subject with just this common name.
pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
