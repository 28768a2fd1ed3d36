//! The lab's trust domain: its certificate authorities, the SVIDs they issue (good and bad ones), the trust bundle, and the
//! separate web authority that vouches for the trust-bundle service.

mod authority;
mod bundle;
mod provision;
mod request;
mod svid;
pub(crate) mod verify;

pub use provision::{Endpoints, ProvisionError};
pub use svid::{Svid, SvidDefect, SvidOptions};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::ClientId;
use crate::store::{self, StoreError};
use authority::Authority;

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The generator refused.
    #[error("cannot make the certificate of {name}")]
    Generate {
        /// Whose certificate.
        name: String,
        /// Its reason.
        #[source]
        source: rcgen::Error,
    },
    /// A stored or fresh certificate could not be read back.
    #[error("cannot read the PEM of {name}")]
    ReadPem {
        /// Whose certificate or key.
        name: String,
        /// The reader's reason.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// rustls does not accept the material.
    #[error("cannot set up TLS for {name}")]
    Tls {
        /// For which server.
        name: &'static str,
        /// Its reason.
        #[source]
        source: rustls::Error,
    },
    /// rustls cannot make a verifier of the anchors.
    #[error("cannot set up client verification")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// The authorities could not be kept on disk.
    #[error("cannot keep the authorities")]
    Store(#[from] StoreError),
    /// The directory belongs to another trust domain or WFM.
    #[error("{path} was made for {kept}, not {asked}; use another directory", path = path.display())]
    OtherDomain {
        /// The file.
        path: PathBuf,
        /// What it was made for.
        kept: String,
        /// What was asked for.
        asked: String,
    },
    /// A certificate request that cannot be signed.
    #[error("the certificate request is refused: {reason}")]
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A rotation step that does not fit the present state.
    #[error("cannot {step}: {reason}")]
    Rotation {
        /// What was asked.
        step: &'static str,
        /// Why it does not fit.
        reason: &'static str,
    },
}

/// A step of an anchor rotation, in the order in which an operator takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationStep {
    /// Publish a new anchor beside the present one.
    Publish,
    /// Issue from the new anchor.
    Switch,
    /// Take every other anchor out of the bundle.
    Retire,
}

/// The names of this trust domain and the authorities behind them.
#[derive(Debug)]
pub struct Pki {
    trust_domain: String,
    wfm_id: String,
    path: PathBuf,
    state: Mutex<PkiState>,
}

/// What outlives the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PkiState {
    trust_domain: String,
    wfm_id: String,
    authorities: Vec<Authority>,
    issuing: usize,
    sequence: u64,
    refresh_hint_secs: u64,
    web: Authority,
}

impl Pki {
    /// Loads the authorities from a file, or makes them and writes it.
    ///
    /// # Errors
    /// When the file is damaged, or cannot be written: delete it to start a new trust domain.
    pub fn open(path: PathBuf, trust_domain: &str, wfm_id: &str) -> Result<Self, PkiError> {
        let state: PkiState = match store::read_json(&path)? {
            Some(state) => state,
            None => PkiState {
                trust_domain: trust_domain.to_owned(),
                wfm_id: wfm_id.to_owned(),
                authorities: vec![Authority::generate("lab root 1", Some(trust_domain))?],
                issuing: 0,
                sequence: 1,
                refresh_hint_secs: 300,
                web: Authority::generate("lab web root", None)?,
            },
        };
        if state.trust_domain != trust_domain || state.wfm_id != wfm_id {
            let kept = format!("{}/margo/wfm/{}", state.trust_domain, state.wfm_id);
            let asked = format!("{trust_domain}/margo/wfm/{wfm_id}");
            return Err(PkiError::OtherDomain { path, kept, asked });
        }
        let pki = Self {
            trust_domain: trust_domain.to_owned(),
            wfm_id: wfm_id.to_owned(),
            path,
            state: Mutex::new(state),
        };
        pki.change(|_| Ok(()))?;
        Ok(pki)
    }

    /// The trust domain, without a scheme.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The SPIFFE ID of the lab's WFM.
    pub fn wfm_spiffe_id(&self) -> String {
        format!("spiffe://{}/margo/wfm/{}", self.trust_domain, self.wfm_id)
    }

    /// The SPIFFE ID of one of its clients.
    pub fn client_spiffe_id(&self, client: &ClientId) -> String {
        format!("{}/client/{client}", self.wfm_spiffe_id())
    }

    /// An SVID for a client, good unless the options name a defect.
    ///
    /// # Errors
    /// When the generator refuses, which is a bug.
    pub fn mint_client(&self, client: &ClientId, options: SvidOptions) -> Result<Svid, PkiError> {
        self.mint(&format!("/client/{client}"), options)
    }

    /// A client's certificate chain (PEM) for the key of its PKCS#10 request (PEM). The name is decided here.
    ///
    /// # Errors
    /// When the request is not signed with its key.
    pub fn sign_request(&self, client: &ClientId, request: &str) -> Result<String, PkiError> {
        let key = request::RequestedKey::read(request)?;
        let state = self.lock();
        let authority = state.authorities.get(state.issuing).ok_or(PkiError::Rotation {
            step: "issue",
            reason: "the stored state names no authority",
        })?;
        svid::certify(authority, &self.client_spiffe_id(client), SvidOptions::default(), &key)
    }

    /// An SVID for the WFM itself, good unless the options name a defect.
    ///
    /// # Errors
    /// When the generator refuses, which is a bug.
    pub fn mint_wfm(&self, options: SvidOptions) -> Result<Svid, PkiError> {
        self.mint("", options)
    }

    fn mint(&self, suffix: &str, options: SvidOptions) -> Result<Svid, PkiError> {
        let (domain, wfm_id) = (&self.trust_domain, &self.wfm_id);
        let id = match options.defect {
            Some(SvidDefect::ForeignDomain) => {
                format!("spiffe://foreign.example/margo/wfm/{wfm_id}{suffix}")
            }
            Some(SvidDefect::ForeignWfm) => {
                format!("spiffe://{domain}/margo/wfm/other-wfm{suffix}")
            }
            _ => format!("spiffe://{domain}/margo/wfm/{wfm_id}{suffix}"),
        };
        let state = self.lock();
        match options.defect {
            Some(SvidDefect::UnknownAuthority) => {
                svid::mint(&Authority::generate("foreign root", Some(domain))?, &id, options)
            }
            _ => match state.authorities.get(state.issuing) {
                Some(authority) => svid::mint(authority, &id, options),
                None => Err(PkiError::Rotation {
                    step: "issue",
                    reason: "the stored state names no authority",
                }),
            },
        }
    }

    /// A certificate of the web authority for the given host name or address, and its key.
    ///
    /// # Errors
    /// When the generator refuses, for example because the host is no name.
    pub fn mint_web(&self, host: &str, listen: IpAddr) -> Result<Svid, PkiError> {
        svid::mint_web(&self.lock().web, host, listen)
    }

    /// The trust bundle as it is now.
    ///
    /// # Errors
    /// When a stored anchor cannot be read.
    pub fn bundle(&self) -> Result<Value, PkiError> {
        let state = self.lock();
        bundle::render(&state.authorities, state.sequence, state.refresh_hint_secs)
    }

    /// The anchors of the present bundle.
    ///
    /// # Errors
    /// When a stored anchor cannot be read.
    pub fn anchors(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        self.lock().authorities.iter().map(Authority::root_der).collect()
    }

    /// The web authority's certificate, PEM: the initial trust for the trust-bundle service (R024).
    pub fn web_anchor_pem(&self) -> String {
        self.lock().web.root_pem.clone()
    }

    /// The bundle's sequence number; it grows by one with each rotation step that changes the bundle.
    pub fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Changes how often clients are told to refresh the bundle, in seconds.
    ///
    /// # Errors
    /// When it cannot be kept on disk.
    pub fn set_refresh_hint(&self, secs: u64) -> Result<(), PkiError> {
        self.change(|state| {
            state.refresh_hint_secs = secs;
            Ok(())
        })
    }

    /// Takes one step of an anchor rotation.
    ///
    /// # Errors
    /// When there is no newer anchor to switch to or nothing to retire.
    pub fn rotate(&self, step: RotationStep) -> Result<(), PkiError> {
        let domain = self.trust_domain.clone();
        self.change(|state| {
            match step {
                RotationStep::Publish => {
                    let name = format!("lab root {}", state.sequence + 1);
                    state.authorities.push(Authority::generate(&name, Some(&domain))?);
                    state.sequence += 1;
                }
                RotationStep::Switch => {
                    let newest = state.authorities.len().saturating_sub(1);
                    if state.issuing == newest {
                        let reason = "no newer anchor is published";
                        return Err(PkiError::Rotation { step: "switch", reason });
                    }
                    state.issuing = newest;
                }
                RotationStep::Retire => {
                    if state.authorities.len() < 2 {
                        let reason = "only one anchor is published";
                        return Err(PkiError::Rotation { step: "retire", reason });
                    }
                    let issuing = state.issuing;
                    let mut index = 0;
                    state.authorities.retain(|_| {
                        index += 1;
                        index - 1 == issuing
                    });
                    state.issuing = 0;
                    state.sequence += 1;
                }
            }
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut PkiState) -> Result<(), PkiError>,
    ) -> Result<(), PkiError> {
        let mut state = self.lock();
        change(&mut state)?;
        store::write_json(&self.path, &*state, 0o600)?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, PkiState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
