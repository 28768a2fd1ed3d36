//! Leaf certificates: X.509-SVIDs with every defect a verifier must find, and web server certificates.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::PkiError;
use super::authority::{Authority, common_name};
use crate::naming::named;

named! {
    /// What is wrong with an SVID.
    SvidDefect, "SVID defect" {
        /// Its validity ended yesterday.
        Expired = "expired",
        /// Its validity begins tomorrow.
        NotYetValid = "not-yet-valid",
        /// Its SPIFFE ID is in another trust domain, though the chain is good.
        ForeignDomain = "foreign-domain",
        /// Its SPIFFE ID is in the namespace of another WFM.
        ForeignWfm = "foreign-wfm",
        /// It has a second URI SAN.
        TwoUris = "two-uris",
        /// It is a certificate authority itself (cA true, keyCertSign).
        CaLeaf = "ca-leaf",
        /// The chain is presented without its intermediate.
        NoIntermediate = "no-intermediate",
        /// The right name, issued by an authority that is not in the bundle.
        UnknownAuthority = "unknown-authority",
    }
}

/// How an SVID is to be made.
#[derive(Clone, Copy, Debug)]
pub struct SvidOptions {
    /// What is to be wrong with it.
    pub defect: Option<SvidDefect>,
    /// How long it is valid from now on.
    pub lifetime: Duration,
}

impl Default for SvidOptions {
    fn default() -> Self {
        Self { defect: None, lifetime: Duration::from_secs(30 * 86_400) }
    }
}

impl From<SvidDefect> for SvidOptions {
    fn from(defect: SvidDefect) -> Self {
        Self { defect: Some(defect), ..Self::default() }
    }
}

/// A certificate chain and its key.
#[derive(Clone)]
pub struct Svid {
    /// Leaf, then the intermediate (unless it was to be left out), PEM.
    pub chain_pem: String,
    /// The private key, unencrypted PKCS#8 PEM.
    pub key_pem: String,
}

// No derive: keys must not appear in a log.
impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").finish_non_exhaustive()
    }
}

impl Svid {
    /// Chain and key in the form rustls takes.
    ///
    /// # Errors
    /// When the PEM cannot be read, which is a bug.
    pub fn der(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let failed = |source| PkiError::ReadPem { name: "an SVID".to_owned(), source };
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(failed)?;
        Ok((chain, key))
    }
}

/// Issues an SVID for a SPIFFE ID.
pub(super) fn mint(
    authority: &Authority,
    spiffe_id: &str,
    options: SvidOptions,
) -> Result<Svid, PkiError> {
    let failed = |source| PkiError::Generate { name: spiffe_id.to_owned(), source };
    let key = KeyPair::generate().map_err(failed)?;
    let chain_pem = certify(authority, spiffe_id, options, &key)?;
    Ok(Svid { chain_pem, key_pem: key.serialize_pem() })
}

/// Issues the chain (PEM) for a key that may be somebody else's.
pub(super) fn certify(
    authority: &Authority,
    spiffe_id: &str,
    options: SvidOptions,
    key: &impl PublicKeyData,
) -> Result<String, PkiError> {
    let failed = |source| PkiError::Generate { name: spiffe_id.to_owned(), source };
    let uri = |text: &str| Ok(SanType::URI(text.to_owned().try_into()?));
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("margo lab svid");
    params.subject_alt_names = vec![uri(spiffe_id).map_err(failed)?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    let day = time::Duration::days(1);
    // A day back, so that a device whose clock lags a little can still be brought up.
    params.not_before = now - day;
    params.not_after = now + options.lifetime;
    match options.defect {
        Some(SvidDefect::Expired) => {
            params.not_before = now - day * 2;
            params.not_after = now - day;
        }
        Some(SvidDefect::NotYetValid) => {
            params.not_before = now + day;
            params.not_after = now + day * 2;
        }
        Some(SvidDefect::TwoUris) => {
            params.subject_alt_names.push(uri("spiffe://second.example/margo").map_err(failed)?);
        }
        Some(SvidDefect::CaLeaf) => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        Some(
            SvidDefect::ForeignDomain
            | SvidDefect::ForeignWfm
            | SvidDefect::NoIntermediate
            | SvidDefect::UnknownAuthority,
        )
        | None => {}
    }
    let mut chain_pem = authority.issue(&params, key)?;
    if options.defect != Some(SvidDefect::NoIntermediate) {
        chain_pem.push_str(&authority.intermediate_pem);
    }
    Ok(chain_pem)
}

/// Issues a web server certificate for a host, `localhost` and the address listened on.
pub(super) fn mint_web(
    authority: &Authority,
    host: &str,
    listen: IpAddr,
) -> Result<Svid, PkiError> {
    let failed = |source| PkiError::Generate { name: host.to_owned(), source };
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), listen.to_string()];
    let mut names: Vec<String> = names.into_iter().chain([host.to_owned()]).collect();
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = common_name("margo lab web");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(3650);
    let key = KeyPair::generate().map_err(failed)?;
    let mut chain_pem = authority.issue(&params, &key)?;
    chain_pem.push_str(&authority.intermediate_pem);
    Ok(Svid { chain_pem, key_pem: key.serialize_pem() })
}
