//! How a lab comes up: directory, trust domain, ports, then the three servers.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;

use super::config::Ports;
use super::{Lab, LabConfig, LabError};
use crate::events::Journal;
use crate::fault::{FaultBoard, Service};
use crate::mis::{BUNDLE_PATH, DISCOVERY_PATH, MisSite};
use crate::net::server::{self, Server};
use crate::pki::{Endpoints, Pki, verify};
use crate::registry::{self, Registry, RegistrySite};
use crate::store::{self, StoreError};
use crate::wfm::{Clients, WfmSite};

impl Lab {
    /// Starts the three servers on the current tokio runtime. With a directory in the configuration, what an earlier run
    /// left there is continued: authorities, version sequences, reports, images, ports.
    ///
    /// # Errors
    /// When a port is taken or the directory is unusable, damaged or in use by another lab.
    pub async fn start(config: LabConfig) -> Result<Self, LabError> {
        let (dir, temporary) = directory(&config)?;
        let lock = lock(&dir)?;
        let pki_path = dir.join("pki.json");
        let pki = Arc::new(Pki::open(pki_path, &config.trust_domain, &config.wfm_id)?);
        let faults = Arc::new(FaultBoard::default());
        let journal = Arc::new(Journal::default());
        let sockets = Sockets::bind(&config, &dir).await?;
        let endpoints = sockets.endpoints(&config);
        let Sockets { wfm, mis, registry } = sockets;

        let site = wfm_site(&config, &dir, &pki, (&faults, &journal))?;
        let wfm = Server::serve(Arc::new(site), wfm.0, wfm.1);

        let web = pki.mint_web(&config.public_name(), config.listen)?;
        let tls = verify::web_tls("mis", &web)?;
        let origin = endpoints.discovery_url.trim_end_matches(DISCOVERY_PATH).to_owned();
        let (board, diary) = (Arc::clone(&faults), Arc::clone(&journal));
        let site = MisSite::new(Arc::clone(&pki), tls, origin, board, diary);
        let mis = Server::serve(Arc::new(site), mis.0, mis.1);

        let auth = config.registry_auth.clone();
        let index = Arc::new(registry::open_index(&dir.join("registry"), auth)?);
        let content = Registry::new(Arc::clone(&index), endpoints.registry.clone());
        let (scheme, tls) = if config.registry_tls {
            ("https", Some(verify::web_tls("registry", &web)?))
        } else {
            ("http", None)
        };
        let origin = format!("{scheme}://{}", endpoints.registry);
        let (board, diary) = (Arc::clone(&faults), Arc::clone(&journal));
        let site = RegistrySite::new(index, tls, origin, board, diary);
        let registry_server = Server::serve(Arc::new(site), registry.0, registry.1);

        Ok(Self {
            config,
            endpoints,
            pki,
            faults,
            journal,
            wfm,
            mis,
            registry_server,
            registry: content,
            dir,
            _lock: lock,
            _temporary: temporary,
        })
    }
}

/// The configured directory, or one that goes with the lab.
fn directory(config: &LabConfig) -> Result<(PathBuf, Option<TempDir>), LabError> {
    let Some(dir) = &config.dir else {
        let temporary = tempfile::tempdir().map_err(LabError::TempDir)?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    store::make_dir(dir)?;
    Ok((dir.clone(), None))
}

/// The kernel lets go of the lock however the process ends.
fn lock(dir: &Path) -> Result<File, LabError> {
    let path = dir.join("lock");
    let failed = |source| StoreError::Write { path: path.clone(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LabError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source).into()),
    }
}

fn wfm_site(
    config: &LabConfig,
    dir: &Path,
    pki: &Arc<Pki>,
    (faults, journal): (&Arc<FaultBoard>, &Arc<Journal>),
) -> Result<WfmSite, LabError> {
    let clients = Clients::open(&dir.join("wfm"), Arc::clone(journal))?;
    clients.introduce(&config.client_id)?;
    let (board, diary) = (Arc::clone(faults), Arc::clone(journal));
    Ok(WfmSite::new(clients, Arc::clone(pki), board, diary, base_path(config)))
}

/// Without a slash at its end.
fn base_path(config: &LabConfig) -> String {
    config.wfm_base_path.trim_end_matches('/').to_owned()
}

/// The listening sockets, before anybody answers on them.
struct Sockets {
    wfm: (TcpListener, SocketAddr),
    mis: (TcpListener, SocketAddr),
    registry: (TcpListener, SocketAddr),
}

impl Sockets {
    async fn bind(config: &LabConfig, dir: &Path) -> Result<Self, LabError> {
        let wanted = Ports::wanted(config, dir)?;
        let bind = async |service, port| {
            let listener = server::bind((config.listen, port).into()).await;
            listener.map_err(|source| LabError::Listen { service, source })
        };
        let sockets = Self {
            wfm: bind(Service::Wfm, wanted.wfm).await?,
            mis: bind(Service::Mis, wanted.mis).await?,
            registry: bind(Service::Registry, wanted.registry).await?,
        };
        let ports = Ports {
            wfm: sockets.wfm.1.port(),
            mis: sockets.mis.1.port(),
            registry: sockets.registry.1.port(),
        };
        ports.keep(dir)?;
        Ok(sockets)
    }

    fn endpoints(&self, config: &LabConfig) -> Endpoints {
        let host = config.public_host();
        let mis_origin = format!("https://{host}:{}", self.mis.1.port());
        Endpoints {
            wfm_url: format!("https://{host}:{}{}", self.wfm.1.port(), base_path(config)),
            trust_bundle_uri: format!("{mis_origin}{BUNDLE_PATH}"),
            discovery_url: format!("{mis_origin}{DISCOVERY_PATH}"),
            registry: format!("{host}:{}", self.registry.1.port()),
        }
    }
}
