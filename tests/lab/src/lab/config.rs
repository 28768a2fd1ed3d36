//! How a lab is set up, and the ports it keeps across restarts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::ClientId;
use crate::registry::RegistryAuth;
use crate::store::{self, StoreError};

/// The setup of a lab.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// Where state is kept; a temporary directory, removed at the end, when absent.
    pub dir: Option<PathBuf>,
    /// The trust domain, without a scheme.
    pub trust_domain: String,
    /// The WFM's id.
    pub wfm_id: String,
    /// The client that `provision`, `deploy` and the like are about.
    pub client_id: ClientId,
    /// The device a deployment is for when its description and the client's reports do not tell.
    pub device_id: Option<String>,
    /// Address to listen on.
    pub listen: IpAddr,
    /// Name or address by which devices reach the lab; the address listened on when absent (for a guest of QEMU's user
    /// network it is `10.0.2.2`).
    pub host: Option<String>,
    /// Port of the WFM; 0 takes the one of the run before, else any.
    pub wfm_port: u16,
    /// Port of the trust-bundle service; 0 likewise.
    pub mis_port: u16,
    /// Port of the registry; 0 likewise.
    pub registry_port: u16,
    /// Path under which the WFM's API is mounted, such as `/v1alpha2/margo`; empty for none.
    pub wfm_base_path: String,
    /// Whether the registry speaks TLS, with a certificate of the web authority.
    pub registry_tls: bool,
    /// What the registry asks for.
    pub registry_auth: RegistryAuth,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            dir: None,
            trust_domain: "lab.example".to_owned(),
            wfm_id: "lab-wfm".to_owned(),
            client_id: ClientId::from("lab-client"),
            device_id: Some("lab-device".to_owned()),
            listen: Ipv4Addr::LOCALHOST.into(),
            host: None,
            wfm_port: 0,
            mis_port: 0,
            registry_port: 0,
            wfm_base_path: String::new(),
            registry_tls: false,
            registry_auth: RegistryAuth::None,
        }
    }
}

impl LabConfig {
    /// The name in certificates.
    pub(super) fn public_name(&self) -> String {
        match &self.host {
            Some(host) => host.clone(),
            None if self.listen.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            None => self.listen.to_string(),
        }
    }

    /// The name in URLs: IPv6 addresses in brackets.
    pub(super) fn public_host(&self) -> String {
        let name = self.public_name();
        if name.contains(':') { format!("[{name}]") } else { name }
    }
}

/// The ports of the three servers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) wfm: u16,
    pub(super) mis: u16,
    pub(super) registry: u16,
}

impl Ports {
    /// What was asked for, else what the run before had.
    pub(super) fn wanted(config: &LabConfig, dir: &Path) -> Result<Self, StoreError> {
        let before: Self = store::read_json(&dir.join("ports.json"))?.unwrap_or_default();
        let choose = |asked: u16, before: u16| if asked == 0 { before } else { asked };
        Ok(Self {
            wfm: choose(config.wfm_port, before.wfm),
            mis: choose(config.mis_port, before.mis),
            registry: choose(config.registry_port, before.registry),
        })
    }

    pub(super) fn keep(self, dir: &Path) -> Result<(), StoreError> {
        store::write_json(&dir.join("ports.json"), &self, 0o644)
    }
}
