//! The device's own key: made here, never leaving it, waiting for a certificate in `/etc/margo-agent/request`.

use super::csr::{self, CryptoError};
use super::disk::{Disk as _, RealDisk};
use super::package::{KEY, read_file};
use super::places::Places;
use crate::identity::SpiffeId;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use std::io;
use std::path::{Path, PathBuf};

const DIR_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct KeyRequest {
    /// The SPIFFE ID to ask for; without it the device's present one, if it has one.
    pub id: Option<SpiffeId>,
    /// Throw away a key that is waiting and make a new one.
    pub renew_key: bool,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum KeyRequestError {
    /// The key cannot be kept or read.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key that waits is no PKCS#8 key.
    #[error("{} holds no key; `--new` makes another one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key could not be made or used.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Makes a key unless one is waiting, and a certificate request for it, as PEM.
///
/// # Errors
/// See [`KeyRequestError`].
pub fn key_request(places: &Places, asked: &KeyRequest) -> Result<String, KeyRequestError> {
    let path = waiting_key(places);
    if asked.renew_key || !path.exists() {
        make_key(places)?;
    }
    let pem = read_file(&path).map_err(|source| failed("reading", &path, source))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .map_err(|_| KeyRequestError::Damaged { path: path.clone() })?;
    let id = asked.id.clone().or_else(|| Some(places.svid()?.id().clone()));
    let name = places.settings.as_ref().map_or("margo-device", |s| s.device.id.as_str());
    let uri = id.map(|id| id.to_string());
    let der = csr::request(key.secret_pkcs8_der(), name, uri.as_deref())?;
    Ok(csr::pem("CERTIFICATE REQUEST", &der))
}

/// Where the key waits.
pub(super) fn waiting_key(places: &Places) -> PathBuf {
    places.request_dir.join(KEY)
}

/// The key is not needed here any more: it was installed.
pub(super) fn forget(places: &Places) -> io::Result<()> {
    RealDisk.remove(&places.request_dir)?;
    RealDisk.sync_directory(&places.etc)
}

/// Complete or not at all: a torn key would be asked a certificate for.
fn make_key(places: &Places) -> Result<(), KeyRequestError> {
    let pem = csr::pem("PRIVATE KEY", &csr::new_key()?);
    let (directory, key) = (&places.request_dir, waiting_key(places));
    let draft = directory.join(format!(".{KEY}.new"));
    let io = |doing, path: &Path, result: io::Result<()>| {
        result.map_err(|source| failed(doing, path, source))
    };
    if !places.etc.exists() {
        io("making", &places.etc, std::fs::create_dir_all(&places.etc))?;
    }
    io("making", directory, RealDisk.make_directory(directory, DIR_MODE))?;
    io("removing", &draft, RealDisk.remove(&draft))?;
    io("writing", &draft, RealDisk.write(&draft, pem.as_bytes(), KEY_MODE))?;
    io("syncing", &draft, RealDisk.sync_file(&draft))?;
    io("renaming to", &key, RealDisk.rename(&draft, &key))?;
    io("syncing", directory, RealDisk.sync_directory(directory))?;
    io("syncing", &places.etc, RealDisk.sync_directory(&places.etc))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> KeyRequestError {
    KeyRequestError::Io { doing, path: path.to_path_buf(), source }
}
