//! The provisioning directory an operator would carry to a device: SVID, key, trust bundle, initial trust, and where the
//! servers are.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Pki, PkiError, SvidOptions};
use crate::ids::ClientId;
use crate::store::{self, StoreError};

/// Where a device finds the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Base URL of the WFM; `/api/v1/...` is appended.
    pub wfm_url: String,
    /// The trust bundle's URL.
    pub trust_bundle_uri: String,
    /// The discovery document's URL.
    pub discovery_url: String,
    /// The registry as `host:port`.
    pub registry: String,
}

/// Why a provisioning directory could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The SVID or bundle could not be made.
    #[error("cannot make the identity for {path}", path = path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: PkiError,
    },
    /// A file could not be written.
    #[error("cannot write the provisioning directory")]
    Write(#[from] StoreError),
}

/// What `endpoints.json` holds.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    client: String,
    #[serde(flatten)]
    endpoints: Endpoints,
}

/// Whether a leaf is valid for another day at least.
fn lasts(pem: &[u8]) -> bool {
    let Ok(leaf) = CertificateDer::from_pem_slice(pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&leaf) else { return false };
    certificate.validity().time_to_expiration().is_some_and(|left| left.whole_days() >= 1)
}

impl Pki {
    /// Writes a provisioning package (`margo-provision.toml`, `svid.pem`, `svid.key` (0600), `bundle.json`), and beside it
    /// `bootstrap-anchors.pem` and `endpoints.json` (informative).
    /// A directory that exists is overwritten file by file, each at once, as an operator who renews would.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn provision(
        &self,
        dir: &Path,
        client: &ClientId,
        options: SvidOptions,
        endpoints: &Endpoints,
    ) -> Result<(), ProvisionError> {
        let failed = |source| ProvisionError::Make { path: dir.to_owned(), source };
        let svid = self.mint_client(client, options).map_err(failed)?;
        let bundle = self.bundle().map_err(failed)?;
        store::make_dir(dir)?;
        store::write_bytes(&dir.join("svid.key"), svid.key_pem.as_bytes(), 0o600)?;
        store::write_bytes(&dir.join("svid.pem"), svid.chain_pem.as_bytes(), 0o644)?;
        store::write_json(&dir.join("bundle.json"), &bundle, 0o644)?;
        let settings = format!(
            "[wfm]\nurl = {:?}\n\n[[registry]]\nhost = {:?}\ninsecure = true\n",
            endpoints.wfm_url, endpoints.registry
        );
        store::write_bytes(&dir.join("margo-provision.toml"), settings.as_bytes(), 0o644)?;
        let web_anchor = self.web_anchor_pem();
        store::write_bytes(&dir.join("bootstrap-anchors.pem"), web_anchor.as_bytes(), 0o644)?;
        let note = Note { client: self.client_spiffe_id(client), endpoints: endpoints.clone() };
        store::write_json(&dir.join("endpoints.json"), &note, 0o644)?;
        Ok(())
    }

    /// Whether a directory holds what [`Pki::provision`] would write: this client, these endpoints, an SVID that lasts.
    pub fn is_provisioned(&self, dir: &Path, client: &ClientId, endpoints: &Endpoints) -> bool {
        let wanted = Note { client: self.client_spiffe_id(client), endpoints: endpoints.clone() };
        // What cannot be read is not right, and is written anew.
        let note: Option<Note> = store::read_json(&dir.join("endpoints.json")).ok().flatten();
        let svid = store::read_bytes(&dir.join("svid.pem")).ok().flatten();
        note == Some(wanted) && svid.is_some_and(|pem| lasts(&pem))
    }
}
