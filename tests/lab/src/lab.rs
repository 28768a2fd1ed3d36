//! The lab as a whole: three servers in this process, one place to script them and to look at what devices did.

mod config;
mod start;
mod wait;

pub use config::LabConfig;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::deployments::DeploymentSpec;
use crate::events::{Event, Journal, RequestRecord};
use crate::fault::{ActiveFault, Fault, FaultBoard, FaultError, FaultId, Service};
use crate::ids::{ClientId, DeploymentId, random_uuid};
use crate::mis::MisSite;
use crate::net::server::{ListenError, Server, Site as _};
use crate::net::wire::ConnectionBytes;
use crate::pki::{Endpoints, Pki, PkiError, ProvisionError, SvidOptions};
use crate::registry::{Registry, RegistryError, RegistrySite};
use crate::report::{State, StatusReport};
use crate::store::StoreError;
use crate::wfm::{ClientView, WfmError, WfmSite};

/// What can go wrong with the lab itself.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A server could not listen.
    #[error("cannot start the {service}")]
    Listen {
        /// Which.
        service: Service,
        /// The reason.
        #[source]
        source: ListenError,
    },
    /// The directory for temporary state could not be made.
    #[error("cannot make a temporary directory")]
    TempDir(#[source] std::io::Error),
    /// Another lab uses the directory.
    #[error("another lab is running with {dir}", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The lab's own files failed.
    #[error("cannot use the lab's directory")]
    Store(#[from] StoreError),
    /// The trust domain could not be set up.
    #[error("cannot set up the trust domain")]
    Pki(#[from] PkiError),
    /// A provisioning directory could not be written.
    #[error("cannot provision a device")]
    Provision(#[from] ProvisionError),
    /// The desired state could not be changed.
    #[error("cannot change the desired state")]
    Wfm(#[from] WfmError),
    /// The registry's content could not be changed.
    #[error("cannot change the registry")]
    Registry(#[from] RegistryError),
    /// The fault could not be set.
    #[error("cannot set the fault")]
    Fault(#[from] FaultError),
    /// Nobody said for which device, and the client has not reported exactly one.
    #[error(
        "no device: client {client} has reported {reported} devices and the lab has no default; name one"
    )]
    NoDevice {
        /// The client.
        client: ClientId,
        /// Devices it has reported.
        reported: usize,
    },
    /// What was waited for did not happen.
    #[error("{what} did not happen within {timeout_ms} ms; seen: {seen}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout_ms: u128,
        /// What happened instead.
        seen: String,
    },
}

/// A running lab. Dropping it stops the servers.
pub struct Lab {
    config: LabConfig,
    endpoints: Endpoints,
    pki: Arc<Pki>,
    faults: Arc<FaultBoard>,
    journal: Arc<Journal>,
    wfm: Server<WfmSite>,
    mis: Server<MisSite>,
    registry_server: Server<RegistrySite>,
    registry: Registry,
    dir: PathBuf,
    /// Locked as long as the lab lives, so that no other one uses the directory.
    _lock: File,
    /// Removed with the lab when no directory was given.
    _temporary: Option<TempDir>,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("dir", &self.dir).field("endpoints", &self.endpoints).finish()
    }
}

impl Lab {
    /// The configuration it was started with.
    pub fn config(&self) -> &LabConfig {
        &self.config
    }

    /// Where a device finds the servers.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where the lab keeps its state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The trust domain.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The registry's content.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Writes a provisioning directory for the configured client.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn provision(&self, dir: &Path) -> Result<(), LabError> {
        self.provision_client(dir, &self.config.client_id, SvidOptions::default())
    }

    /// Whether a directory holds what [`Lab::provision`] would write.
    pub fn is_provisioned(&self, dir: &Path) -> bool {
        self.pki.is_provisioned(dir, &self.config.client_id, &self.endpoints)
    }

    /// Writes a provisioning directory for any client, good or bad, and accepts it by policy.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn provision_client(
        &self,
        dir: &Path,
        client: &ClientId,
        options: SvidOptions,
    ) -> Result<(), LabError> {
        self.wfm.site().clients.set_accepted(client, true)?;
        Ok(self.pki.provision(dir, client, options, &self.endpoints)?)
    }

    /// A certificate chain (PEM) for a client's own key, from its PKCS#10 request (PEM); accepts the client by policy.
    ///
    /// # Errors
    /// When the request is not signed with its key.
    pub fn sign_request(&self, client: &ClientId, request: &str) -> Result<String, LabError> {
        self.wfm.site().clients.set_accepted(client, true)?;
        Ok(self.pki.sign_request(client, request)?)
    }

    /// The trust bundle as it is now.
    ///
    /// # Errors
    /// When a stored anchor cannot be read.
    pub fn trust_bundle(&self) -> Result<serde_json::Value, LabError> {
        Ok(self.pki.bundle()?)
    }

    /// Accepts or refuses a client per request (R085): a refused one gets 403 on everything.
    ///
    /// # Errors
    /// When the change cannot be kept.
    pub fn set_client_accepted(&self, client: &ClientId, accepted: bool) -> Result<(), LabError> {
        Ok(self.wfm.site().clients.set_accepted(client, accepted)?)
    }

    /// Takes one step of an anchor rotation; the WFM then shows a certificate of the issuing authority on new connections.
    ///
    /// # Errors
    /// When the step does not fit.
    pub fn rotate_anchor(&self, step: crate::pki::RotationStep) -> Result<(), LabError> {
        self.pki.rotate(step)?;
        self.wfm.site().renew_svid();
        Ok(())
    }

    /// Adds a deployment for the configured client, or replaces the one with the same id; publishes a new manifest.
    ///
    /// # Errors
    /// When no device is known, or the state cannot be kept.
    pub fn deploy(&self, spec: DeploymentSpec) -> Result<DeploymentId, LabError> {
        self.deploy_for(&self.config.client_id, spec)
    }

    /// The same for another client.
    ///
    /// # Errors
    /// As for [`Lab::deploy`].
    pub fn deploy_for(
        &self,
        client: &ClientId,
        spec: DeploymentSpec,
    ) -> Result<DeploymentId, LabError> {
        let id = spec.id.clone().unwrap_or_else(|| DeploymentId::new(random_uuid()));
        let device = self.device_for(client, spec.device_id.as_deref())?;
        let yaml = spec.yaml(&id, &device);
        self.wfm.site().clients.put(client, &id, yaml.as_bytes(), Some(spec))?;
        Ok(id)
    }

    /// Deploys a document exactly as given, for documents that must be refused.
    ///
    /// # Errors
    /// When the state cannot be kept.
    pub fn deploy_yaml(&self, id: &DeploymentId, yaml: &str) -> Result<(), LabError> {
        let client = &self.config.client_id;
        self.wfm.site().clients.put(client, id, yaml.as_bytes(), None)?;
        Ok(())
    }

    /// Changes a deployment: same id, new content (R140).
    ///
    /// # Errors
    /// When the state cannot be kept, or the deployment is not there.
    pub fn update(&self, id: &DeploymentId, spec: DeploymentSpec) -> Result<(), LabError> {
        self.update_for(&self.config.client_id, id, spec)
    }

    /// The same for another client.
    ///
    /// # Errors
    /// As for [`Lab::update`].
    pub fn update_for(
        &self,
        client: &ClientId,
        id: &DeploymentId,
        spec: DeploymentSpec,
    ) -> Result<(), LabError> {
        if !self.is_desired(client, id) {
            let (client, deployment) = (client.clone(), id.clone());
            return Err(WfmError::UnknownDeployment { client, deployment }.into());
        }
        self.deploy_for(client, spec.id(id.clone())).map(drop)
    }

    /// The description a deployment of the configured client was last made from.
    pub fn spec(&self, id: &DeploymentId) -> Option<DeploymentSpec> {
        self.spec_for(&self.config.client_id, id)
    }

    /// The same for another client.
    pub fn spec_for(&self, client: &ClientId, id: &DeploymentId) -> Option<DeploymentSpec> {
        self.wfm.site().clients.spec(client, id)
    }

    /// Takes a deployment of the configured client out of the desired state.
    ///
    /// # Errors
    /// When it is not there, or the state cannot be kept.
    pub fn remove(&self, id: &DeploymentId) -> Result<(), LabError> {
        self.remove_for(&self.config.client_id, id)
    }

    /// The same for another client.
    ///
    /// # Errors
    /// As for [`Lab::remove`].
    pub fn remove_for(&self, client: &ClientId, id: &DeploymentId) -> Result<(), LabError> {
        self.wfm.site().clients.remove(client, id)?;
        Ok(())
    }

    /// The configured client's current manifest version.
    pub fn version(&self) -> u64 {
        self.client().map_or(0, |view| view.version)
    }

    /// What is known of the configured client.
    pub fn client(&self) -> Option<ClientView> {
        self.clients().into_iter().find(|view| view.client == self.config.client_id)
    }

    /// What is known of every client.
    pub fn clients(&self) -> Vec<ClientView> {
        self.wfm.site().clients.views()
    }

    /// The configured client's status reports, in the order of arrival.
    pub fn reports(&self) -> Vec<StatusReport> {
        self.reports_for(&self.config.client_id)
    }

    /// Those of another client.
    pub fn reports_for(&self, client: &ClientId) -> Vec<StatusReport> {
        self.wfm.site().clients.reports(client)
    }

    /// The configured client's reports about one deployment, in the order of arrival.
    pub fn reports_of(&self, id: &DeploymentId) -> Vec<StatusReport> {
        let mut reports = self.reports();
        reports.retain(|report| report.deployment == *id);
        reports
    }

    /// Requests to all three servers, in the order in which they were answered.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.journal.requests()
    }

    /// Bytes on each connection to a server, oldest first.
    pub fn wire(&self, service: Service) -> Vec<ConnectionBytes> {
        match service {
            Service::Wfm => self.wfm.site().wire().snapshot(),
            Service::Mis => self.mis.site().wire().snapshot(),
            Service::Registry => self.registry_server.site().wire().snapshot(),
        }
    }

    /// What happens from now on, as it happens.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.journal.events()
    }

    /// Sets a fault.
    ///
    /// # Errors
    /// When it could never hit anything.
    pub fn fault(&self, fault: Fault) -> Result<FaultId, LabError> {
        Ok(self.faults.set(fault)?)
    }

    /// The faults that are set.
    pub fn faults(&self) -> Vec<ActiveFault> {
        self.faults.list()
    }

    /// Clears one fault; false when it has ended already.
    pub fn clear_fault(&self, id: FaultId) -> bool {
        self.faults.clear(Some(id)) > 0
    }

    /// Clears all faults and lets go of what hangs.
    pub fn clear_faults(&self) {
        self.faults.clear(None);
    }

    /// Stops a server: its port is closed and its connections are cut.
    pub async fn stop(&self, service: Service) {
        match service {
            Service::Wfm => self.wfm.stop().await,
            Service::Mis => self.mis.stop().await,
            Service::Registry => self.registry_server.stop().await,
        }
        self.journal.ring();
    }

    /// Starts a server again on its port.
    ///
    /// # Errors
    /// When the port has been taken meanwhile.
    pub async fn resume(&self, service: Service) -> Result<(), LabError> {
        let resumed = match service {
            Service::Wfm => self.wfm.resume().await,
            Service::Mis => self.mis.resume().await,
            Service::Registry => self.registry_server.resume().await,
        };
        self.journal.ring();
        resumed.map_err(|source| LabError::Listen { service, source })
    }

    /// Whether a server is listening.
    pub fn is_up(&self, service: Service) -> bool {
        match service {
            Service::Wfm => self.wfm.is_up(),
            Service::Mis => self.mis.is_up(),
            Service::Registry => self.registry_server.is_up(),
        }
    }

    /// Stops all servers; returns when their ports and the directory are free again.
    pub async fn shutdown(self) {
        for service in Service::ALL {
            self.stop(*service).await;
        }
    }

    /// Stops the fleet manager.
    pub async fn stop_wfm(&self) {
        self.stop(Service::Wfm).await;
    }

    /// Starts the fleet manager again.
    ///
    /// # Errors
    /// As for [`Lab::resume`].
    pub async fn start_wfm(&self) -> Result<(), LabError> {
        self.resume(Service::Wfm).await
    }

    /// Stops the registry.
    pub async fn stop_registry(&self) {
        self.stop(Service::Registry).await;
    }

    /// Starts the registry again.
    ///
    /// # Errors
    /// As for [`Lab::resume`].
    pub async fn start_registry(&self) -> Result<(), LabError> {
        self.resume(Service::Registry).await
    }

    fn is_desired(&self, client: &ClientId, id: &DeploymentId) -> bool {
        let views = self.clients();
        let view = views.iter().find(|view| view.client == *client);
        view.is_some_and(|view| view.deployments.iter().any(|d| d.id == *id && d.is_desired))
    }

    /// The device asked for, else the only top-level one the client has reported, else the configured one.
    pub(crate) fn device_for(
        &self,
        client: &ClientId,
        asked: Option<&str>,
    ) -> Result<String, LabError> {
        if let Some(device) = asked {
            return Ok(device.to_owned());
        }
        let views = self.clients();
        let view = views.into_iter().find(|view| view.client == *client);
        let devices = view.map(|view| view.devices).unwrap_or_default();
        let mut tops: Vec<String> = devices.into_keys().filter(|d| !d.contains('/')).collect();
        let configured = self.config.device_id.clone();
        if tops.len() == 1
            && let Some(only) = tops.pop()
        {
            return Ok(only);
        }
        let reported = tops.len();
        configured.ok_or_else(|| LabError::NoDevice { client: client.clone(), reported })
    }

    /// Waits until a deployment of the configured client is reported in a state, by a report that adopts the
    /// deployment's present content (or its removal).
    ///
    /// # Errors
    /// When it does not happen in time; the error lists the reports there were.
    pub async fn wait_status(
        &self,
        deployment: &DeploymentId,
        state: State,
        timeout: Duration,
    ) -> Result<StatusReport, LabError> {
        self.wait_status_for(&self.config.client_id, deployment, &[state], timeout).await
    }
}
