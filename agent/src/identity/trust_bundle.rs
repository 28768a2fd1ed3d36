//! The trust domain's anchors, from a SPIFFE bundle document (a JWK Set).

use super::bundle_error::TrustBundleError;
use super::leaf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Largest document, in bytes.
const BUNDLE_BYTES_MAX: usize = 1 << 20;
/// Most keys of any use.
const KEYS_MAX: usize = 64;
/// The only `use` that matters here (R071).
const USE_X509: &str = "x509-svid";

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    keys: Vec<Key>,
    #[serde(default)]
    spiffe_sequence: Option<u64>,
    #[serde(default)]
    spiffe_refresh_hint: Option<u64>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "use", default)]
    purpose: Option<String>,
    #[serde(default)]
    x5c: Option<Vec<String>>,
}

/// A complete set of anchors. A new bundle replaces the old one, it is never merged with it (R068).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    sequence: Option<u64>,
    refresh_hint_secs: Option<u64>,
    anchors: Vec<TrustAnchor<'static>>,
    /// The trust domains that anchors name; SPIFFE asks for the name, older authorities lack it.
    trust_domains: BTreeSet<String>,
}

impl TrustBundle {
    /// Reads a bundle file.
    ///
    /// # Errors
    /// The file cannot be read, or its content is rejected; both name the file.
    pub fn load(path: &Path) -> Result<Self, TrustBundleError> {
        let limit = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|source| TrustBundleError::Read { path: path.to_path_buf(), source })?;
        Self::parse(&bytes).map_err(|source| TrustBundleError::File {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    }

    /// Reads a bundle document. Unknown members and other kinds of keys are ignored (R060, R071).
    ///
    /// # Errors
    /// A malformed document, an unreadable anchor, or no anchor at all (R065).
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustBundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(TrustBundleError::TooLarge { size_bytes_max: BUNDLE_BYTES_MAX });
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|source| TrustBundleError::Json { source })?;
        if document.keys.len() > KEYS_MAX {
            return Err(TrustBundleError::TooManyKeys { keys_max: KEYS_MAX });
        }
        let (mut anchors, mut trust_domains) = (Vec::new(), BTreeSet::new());
        for (index, key) in document.keys.iter().enumerate() {
            if key.purpose.as_deref() == Some(USE_X509) {
                let (anchor, trust_domain) = anchor(index, key)?;
                anchors.push(anchor);
                trust_domains.extend(trust_domain);
            }
        }
        if anchors.is_empty() {
            return Err(TrustBundleError::NoAnchors);
        }
        Ok(Self {
            sequence: document.spiffe_sequence,
            refresh_hint_secs: document.spiffe_refresh_hint,
            anchors,
            trust_domains,
        })
    }

    /// False if every anchor that names a trust domain names another one.
    pub fn may_be_of(&self, trust_domain: &str) -> bool {
        self.trust_domains.is_empty() || self.trust_domains.contains(trust_domain)
    }

    /// The trust domains that anchors name; empty where none does.
    pub fn trust_domains(&self) -> impl Iterator<Item = &str> {
        self.trust_domains.iter().map(String::as_str)
    }

    /// `spiffe_sequence`: a bundle with a lower one than the highest ever accepted is a rollback (R066).
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// True if this bundle may follow one with sequence `highest` (R066). Absent sequences cannot be compared.
    pub fn may_follow(&self, highest: Option<u64>) -> bool {
        match (self.sequence, highest) {
            (Some(own), Some(highest)) => own >= highest,
            (None, _) | (_, None) => true,
        }
    }

    /// `spiffe_refresh_hint`, in seconds (R069).
    pub fn refresh_hint_secs(&self) -> Option<u64> {
        self.refresh_hint_secs
    }

    /// How many anchors there are; at least one.
    pub fn anchor_count(&self) -> usize {
        self.anchors.len()
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

/// The anchor and, if it says so, the trust domain that it is of.
fn anchor(
    index: usize,
    key: &Key,
) -> Result<(TrustAnchor<'static>, Option<String>), TrustBundleError> {
    let refuse = |reason| TrustBundleError::Key { index, reason };
    let Some([encoded]) = key.x5c.as_deref() else {
        return Err(refuse("x5c must hold exactly one certificate"));
    };
    let der = STANDARD.decode(encoded).map_err(|_| refuse("x5c is not standard base64"))?;
    leaf::inspect_key(&der).map_err(|source| TrustBundleError::Anchor { index, source })?;
    if !leaf::is_ca(&der).map_err(|source| TrustBundleError::Anchor { index, source })? {
        return Err(refuse("certificate is not of an authority"));
    }
    let trust_domain = leaf::trust_domain(&der);
    let der = CertificateDer::from(der);
    let anchor = webpki::anchor_from_trusted_cert(&der)
        .map_err(|_| refuse("certificate cannot serve as an anchor"))?;
    Ok((anchor.to_owned(), trust_domain))
}
