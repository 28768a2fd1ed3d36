//! A small certificate authority for tests, able to issue wrong certificates too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// 2026-01-01, inside every default validity here.
pub(crate) const NOW_UNIX_SECS: u64 = 1_767_225_600;
pub(crate) const CLIENT_ID: &str = "spiffe://factory.example/margo/wfm/w1/client/d1";
pub(crate) const WFM_ID: &str = "spiffe://factory.example/margo/wfm/w1";

/// A fixed time for rustls.
#[derive(Debug)]
pub(crate) struct FixedTime(pub(crate) u64);

impl rustls::time_provider::TimeProvider for FixedTime {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        let elapsed = std::time::Duration::from_secs(self.0);
        Some(rustls_pki_types::UnixTime::since_unix_epoch(elapsed))
    }
}

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

pub(crate) fn root(name: &str) -> Ca {
    root_with(name, KeyPair::generate().unwrap())
}

pub(crate) fn root_with(name: &str, key: KeyPair) -> Ca {
    CertifiedIssuer::self_signed(ca_params(name), key).unwrap()
}

pub(crate) fn intermediate(name: &str, issuer: &Ca, key: KeyPair) -> Ca {
    CertifiedIssuer::signed_by(ca_params(name), key, issuer).unwrap()
}

/// A correct leaf for the given URI names; tests spoil it.
pub(crate) fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params
}

/// Chain (leaf first) and key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

pub(crate) fn issue(params: &CertificateParams, ca: &Ca) -> Issued {
    issue_with(params, ca, KeyPair::generate().unwrap())
}

pub(crate) fn issue_with(params: &CertificateParams, ca: &Ca, key: KeyPair) -> Issued {
    let leaf = params.signed_by(&key, ca).unwrap();
    Issued { chain: vec![leaf.der().clone()], key }
}

pub(crate) fn bundle_json(anchors: &[&CertificateDer<'_>]) -> String {
    let keys: Vec<serde_json::Value> = anchors
        .iter()
        .map(|der| serde_json::json!({"kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(der)]}))
        .collect();
    serde_json::json!({"spiffe_sequence": 7, "spiffe_refresh_hint": 600, "keys": keys}).to_string()
}

pub(crate) fn pem_chain(chain: &[CertificateDer<'_>]) -> String {
    chain
        .iter()
        .map(|der| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        })
        .collect()
}

/// Writes an identity as provisioning would and returns the two paths.
pub(crate) fn write_identity(place: &Path, issued: &Issued) -> (PathBuf, PathBuf) {
    let (cert, key) = (place.join("svid.pem"), place.join("svid.key"));
    std::fs::write(&cert, pem_chain(&issued.chain)).unwrap();
    std::fs::write(&key, issued.key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    (cert, key)
}
