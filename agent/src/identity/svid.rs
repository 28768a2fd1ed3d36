//! The device's own identity: a certificate chain and its private key, from two PEM files.

use super::bundle_error::chain as error_chain;
use super::leaf::{self, Leaf, LeafRule};
use super::spiffe_id::SpiffeId;
use super::trust_bundle::TrustBundle;
use super::verifier::{self, VerifyError};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use state_machine::failure::{Code, Failure};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest PEM file, in bytes.
const PEM_BYTES_MAX: u64 = 256 * 1024;
/// Longest chain, leaf included.
const CHAIN_MAX: usize = 8;

/// Why the device's identity cannot be used; each names the file at fault.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{path} is larger than {size_bytes_max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        size_bytes_max: u64,
    },
    /// The key can be read by everybody (R052).
    #[error("{path} is accessible to every user (mode {mode:o}), remove those permissions")]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not well-formed PEM.
    #[error("{path} is not PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: pem::Error,
    },
    /// No certificate, or more than a chain can have.
    #[error("{path} holds {count} certificates, 1 to {count_max} are expected")]
    ChainLength {
        /// The certificate file.
        path: PathBuf,
        /// How many were found.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// A certificate breaks the SVID profile.
    #[error("{path}, certificate {index}")]
    Certificate {
        /// The certificate file.
        path: PathBuf,
        /// Position in the file; 0 is the leaf.
        index: usize,
        /// The broken rule.
        #[source]
        source: LeafRule,
    },
    /// No unencrypted PKCS#8 key in the file.
    #[error("{path} holds no unencrypted PKCS#8 key (`BEGIN PRIVATE KEY`)")]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The key's algorithm is not supported.
    #[error("{path} holds a key of an unsupported kind")]
    KeyUnsupported {
        /// The key file.
        path: PathBuf,
        /// What the crypto provider said.
        #[source]
        source: rustls::Error,
    },
    /// The certificate does not certify the key.
    #[error("the key in {key_path} does not belong to the certificate in {cert_path}")]
    KeyMismatch {
        /// The certificate file.
        cert_path: PathBuf,
        /// The key file.
        key_path: PathBuf,
    },
    /// The certificate is of a WFM.
    #[error("{path}: {id} is not the identity of a client")]
    NotClient {
        /// The certificate file.
        path: PathBuf,
        /// The identity found.
        id: SpiffeId,
    },
}

impl SvidError {
    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        Failure::new(Code::IdentityInvalid, error_chain(self))
    }
}

/// A certificate chain that obeys the profile, still without its key.
#[derive(Debug)]
pub(crate) struct SvidChain {
    path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    leaf: Leaf,
}

impl SvidChain {
    /// Reads PEM; `path` is for the errors.
    pub(crate) fn parse(pem: &[u8], path: &Path) -> Result<Self, SvidError> {
        let certificates = parse_chain(pem, path)?;
        let leaf = check_chain(&certificates, path)?;
        Ok(Self { path: path.to_path_buf(), certificates, leaf })
    }

    /// Whose it is.
    pub(crate) fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// First and last second of the leaf's validity, since 1970.
    pub(crate) fn validity_unix_secs(&self) -> (i64, i64) {
        (self.leaf.not_before_unix_secs, self.leaf.not_after_unix_secs)
    }

    /// Checks that the chain leads to an anchor of the bundle, as the WFM will.
    pub(crate) fn verify_against(
        &self,
        bundle: &TrustBundle,
        unix_secs: u64,
    ) -> Result<(), VerifyError> {
        verify(&self.certificates, bundle, unix_secs)
    }
}

/// A private key the crypto provider can use.
pub(crate) struct SvidKey {
    path: PathBuf,
    key: Arc<dyn SigningKey>,
}

impl SvidKey {
    /// Reads PKCS#8 PEM; `path` is for the errors. Permissions are the caller's to look at.
    pub(crate) fn parse(pem: &[u8], path: &Path) -> Result<Self, SvidError> {
        let key = match PrivatePkcs8KeyDer::from_pem_slice(pem) {
            Ok(key) => PrivateKeyDer::Pkcs8(key),
            Err(pem::Error::NoItemsFound) => {
                return Err(SvidError::NoKey { path: path.to_path_buf() });
            }
            Err(source) => return Err(SvidError::Pem { path: path.to_path_buf(), source }),
        };
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|source| SvidError::KeyUnsupported { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), key })
    }
}

/// A loaded identity. Says nothing about the clock: see [`Self::is_valid_at`].
#[derive(Clone)]
pub struct Svid {
    leaf: Leaf,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must never reach a log.
        f.debug_struct("Svid").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

impl Svid {
    /// Reads and checks both files. Blocks on the disk.
    ///
    /// # Errors
    /// Anything that would make the identity unusable, naming the file.
    pub fn load(cert_pem_path: &Path, key_pem_path: &Path) -> Result<Self, SvidError> {
        let chain = SvidChain::parse(&read_file(cert_pem_path)?.0, cert_pem_path)?;
        let key = SvidKey::parse(&read_key(key_pem_path)?, key_pem_path)?;
        Self::pair(chain, key)
    }

    /// Puts a chain and its key together.
    ///
    /// # Errors
    /// The certificate does not certify the key.
    pub(crate) fn pair(chain: SvidChain, key: SvidKey) -> Result<Self, SvidError> {
        let certified = CertifiedKey::new(chain.certificates, key.key);
        certified
            .keys_match()
            .map_err(|_| SvidError::KeyMismatch { cert_path: chain.path, key_path: key.path })?;
        Ok(Self { leaf: chain.leaf, certified: Arc::new(certified) })
    }

    /// The device's identity.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// Start of the leaf's validity, in seconds since 1970.
    pub fn not_before_unix_secs(&self) -> i64 {
        self.leaf.not_before_unix_secs
    }

    /// End of the leaf's validity, in seconds since 1970.
    pub fn not_after_unix_secs(&self) -> i64 {
        self.leaf.not_after_unix_secs
    }

    /// True while the leaf is within its validity.
    pub fn is_valid_at(&self, unix_secs: i64) -> bool {
        (self.leaf.not_before_unix_secs..=self.leaf.not_after_unix_secs).contains(&unix_secs)
    }

    /// Checks that the chain leads to an anchor of the bundle, as the WFM will.
    ///
    /// # Errors
    /// The first rule the chain breaks at that time.
    pub fn verify_against(&self, bundle: &TrustBundle, unix_secs: u64) -> Result<(), VerifyError> {
        verify(&self.certified.cert, bundle, unix_secs)
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    unix_secs: u64,
) -> Result<(), VerifyError> {
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(unix_secs));
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(VerifyError::Leaf(LeafRule::Unreadable));
    };
    let usage = webpki::KeyUsage::client_auth();
    verifier::verify_chain(leaf, intermediates, bundle.anchors(), now, usage)
}

fn read_file(path: &Path) -> Result<(Vec<u8>, u32), SvidError> {
    let read = |source| SvidError::Read { path: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(read)?;
    let mode = file.metadata().map_err(read)?.permissions().mode() & 0o7777;
    let mut bytes = Vec::new();
    file.take(PEM_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(read)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > PEM_BYTES_MAX {
        let path = path.to_path_buf();
        return Err(SvidError::TooLarge { path, size_bytes_max: PEM_BYTES_MAX });
    }
    Ok((bytes, mode))
}

fn parse_chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, SvidError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| SvidError::Pem { path: path.to_path_buf(), source })?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(SvidError::ChainLength {
            path: path.to_path_buf(),
            count: chain.len(),
            count_max: CHAIN_MAX,
        });
    }
    Ok(chain)
}

fn check_chain(chain: &[CertificateDer<'static>], path: &Path) -> Result<Leaf, SvidError> {
    let fault = |index, source| SvidError::Certificate { path: path.to_path_buf(), index, source };
    let mut found = None;
    for (index, certificate) in chain.iter().enumerate() {
        if index == 0 {
            let leaf = leaf::inspect_leaf(certificate, true).map_err(|rule| fault(index, rule))?;
            if leaf.id.client_id().is_none() {
                return Err(SvidError::NotClient { path: path.to_path_buf(), id: leaf.id });
            }
            found = Some(leaf);
        } else {
            leaf::inspect_key(certificate).map_err(|rule| fault(index, rule))?;
        }
    }
    found.ok_or_else(|| fault(0, LeafRule::Unreadable))
}

fn read_key(path: &Path) -> Result<Vec<u8>, SvidError> {
    let (bytes, mode) = read_file(path)?;
    if mode & 0o007 != 0 {
        return Err(SvidError::KeyExposed { path: path.to_path_buf(), mode });
    }
    Ok(bytes)
}
