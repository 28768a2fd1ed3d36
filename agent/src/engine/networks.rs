//! The project's networks: made, kept when right, remade when their configuration changed.

use super::container_config::config_hash;
use super::docker::Engine;
use super::error::{EngineError, status};
use super::host_config::map;
use super::naming::{LABEL_CONFIG_HASH, Names, compose_labels, is_ours};
use crate::compose::model::{Network, Project};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{
    Ipam, IpamConfig, Network as LiveNetwork, NetworkCreateRequest, NetworkCreateResponse,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::InspectNetworkOptions;
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Networks by the name containers use, with the engine's id.
pub(crate) type NetworkIds = BTreeMap<String, String>;

/// The engine's name of a network.
pub(crate) fn network_name(names: &Names, key: &str, network: &Network) -> String {
    match (&network.name, network.external) {
        (Some(name), _) => name.clone(),
        (None, true) => key.to_owned(),
        (None, false) => names.keyed(key),
    }
}

/// The create request of a network; pure. Its hash is in its labels.
pub(crate) fn network_body(
    names: &Names,
    key: &str,
    network: &Network,
) -> Result<NetworkCreateRequest, String> {
    let pools: Vec<IpamConfig> = network
        .ipam
        .iter()
        .map(|pool| IpamConfig {
            subnet: pool.subnet.clone(),
            ip_range: pool.ip_range.clone(),
            gateway: pool.gateway.clone(),
            auxiliary_addresses: None,
        })
        .collect();
    let mut labels = map(&network.labels).unwrap_or_default();
    labels.extend(names.labels());
    labels.insert(compose_labels::NETWORK.to_owned(), key.to_owned());
    let mut body = NetworkCreateRequest {
        name: network_name(names, key, network),
        driver: network.driver.clone(),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv6: Some(network.enable_ipv6),
        options: map(&network.driver_opts),
        ipam: (!pools.is_empty()).then(|| Ipam { config: Some(pools), ..Ipam::default() }),
        labels: Some(labels),
        ..NetworkCreateRequest::default()
    };
    let hash = config_hash(&body)?;
    body.labels.get_or_insert_default().insert(LABEL_CONFIG_HASH.to_owned(), hash);
    Ok(body)
}

/// Keys of the networks that containers of the project join.
fn used(project: &Project) -> BTreeSet<&str> {
    project
        .services
        .values()
        .filter(|service| service.network_mode.is_none())
        .flat_map(|service| service.networks.keys().map(String::as_str))
        .collect()
}

impl Engine {
    /// All networks of the engine; a device has few, and foreign ones may hold a name we need.
    pub(crate) async fn list_networks(&self) -> Result<Vec<LiveNetwork>, EngineError> {
        let docker = self.api().await?;
        self.seen("list networks", docker.list_networks(None).await)
    }

    /// Makes the project's networks right.
    ///
    /// # Errors
    /// `NameTaken`, `ExternalMissing`, `Start`, `Unavailable`.
    pub(crate) async fn ensure_networks(
        &self,
        project: &Project,
        names: &Names,
        existing: &[LiveNetwork],
    ) -> Result<NetworkIds, EngineError> {
        let used = used(project);
        let wanted = project.networks.iter().filter(|(key, _)| used.contains(key.as_str()));
        let made = wanted.map(async |(key, network)| {
            let name = network_name(names, key, network);
            let id = self.ensure_network(names, (key, network), existing).await?;
            Ok::<_, EngineError>((name, id))
        });
        Ok(try_join_all(made).await?.into_iter().collect())
    }

    async fn ensure_network(
        &self,
        names: &Names,
        (key, network): (&str, &Network),
        existing: &[LiveNetwork],
    ) -> Result<String, EngineError> {
        let name = network_name(names, key, network);
        let named = |net: &&LiveNetwork| net.name.as_deref() == Some(&name);
        if network.external {
            let by_id = |net: &&LiveNetwork| net.id.as_deref() == Some(&name);
            let found = existing.iter().find(named).or_else(|| existing.iter().find(by_id));
            let id = found.and_then(|net| net.id.clone());
            return id.ok_or(EngineError::ExternalMissing { kind: "network", name });
        }
        let body = network_body(names, key, network)
            .map_err(|reason| EngineError::Project { service: format!("network {key}"), reason })?;
        let hash = label(body.labels.as_ref(), LABEL_CONFIG_HASH);
        let mut kept = None;
        for found in existing.iter().filter(named) {
            let (Some(id), labels) = (found.id.clone(), found.labels.as_ref()) else { continue };
            let is_right = is_ours(labels) && label(labels, LABEL_CONFIG_HASH) == hash;
            if is_right && kept.is_none() {
                kept = Some(id);
            } else if names.own(labels) {
                // Configuration changed, or a twin that a cut call left behind.
                self.drop_network(names, &id, &name).await?;
            } else {
                let holder = "a network that is not part of this deployment".to_owned();
                return Err(EngineError::NameTaken { kind: "network", name, holder });
            }
        }
        match kept {
            Some(id) => Ok(id),
            None => self.create_network(body).await,
        }
    }

    async fn create_network(&self, body: NetworkCreateRequest) -> Result<String, EngineError> {
        let docker = self.api().await?;
        let name = body.name.clone();
        match create_unique(&docker, body).await {
            Ok(made) => Ok(made.id),
            // A call that was cut may have made it after we looked.
            Err(error) if status(&error) == Some(409) => {
                let networks = self.list_networks().await?;
                let found = networks.into_iter().find(|net| net.name.as_ref() == Some(&name));
                let id = found.filter(|net| is_ours(net.labels.as_ref())).and_then(|net| net.id);
                id.ok_or_else(|| EngineError::NameTaken {
                    kind: "network",
                    name,
                    holder: "another network".to_owned(),
                })
            }
            Err(error) => {
                self.note(&error);
                Err(EngineError::start(format!("network `{name}`"), error))
            }
        }
    }

    /// Removes a network of ours, disconnecting our containers first; they are remade afterwards.
    async fn drop_network(&self, names: &Names, id: &str, name: &str) -> Result<(), EngineError> {
        let docker = self.api().await?;
        let inspect = docker.inspect_network(id, None::<InspectNetworkOptions>).await;
        let containers = match inspect {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            inspect => self.seen("inspect a network", inspect)?.containers.unwrap_or_default(),
        };
        for container in containers.into_keys() {
            let found = docker.inspect_container(&container, None).await;
            let is_foreign = found.as_ref().is_ok_and(|found| {
                !names.own(found.config.as_ref().and_then(|config| config.labels.as_ref()))
            });
            if !is_foreign {
                disconnect(&docker, id, &container).await;
            }
        }
        match docker.remove_network(id).await {
            Err(error) if status(&error) != Some(404) => {
                self.note(&error);
                Err(EngineError::start(format!("network `{name}` (remake)"), error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a network of ours; one that is already gone is a success.
    pub(crate) async fn remove_network(&self, id: &str) -> Result<(), DockerError> {
        let Ok(docker) = self.api().await else { return Ok(()) };
        let gone = |result: Result<(), DockerError>| match result {
            Err(error) if status(&error) == Some(404) => Ok(()),
            result => result,
        };
        let Err(error) = gone(docker.remove_network(id).await) else { return Ok(()) };
        // After a power cut a network may list endpoints of containers that no longer exist.
        let inspect = docker.inspect_network(id, None::<InspectNetworkOptions>).await;
        let containers = inspect.ok().and_then(|net| net.containers).unwrap_or_default();
        let mut freed = false;
        for container in containers.into_keys() {
            let found = docker.inspect_container(&container, None).await;
            if found.is_err_and(|error| status(&error) == Some(404)) {
                disconnect(&docker, id, &container).await;
                freed = true;
            }
        }
        if freed { gone(docker.remove_network(id).await) } else { Err(error) }
    }
}

async fn disconnect(docker: &Docker, network: &str, container: &str) {
    let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
    // What could not be disconnected shows when the network is removed.
    let _ = docker.disconnect_network(network, request).await;
}

/// Creates a network and asks the engine to refuse a second one of the same name. Engines before 25 need
/// to be asked; the field is gone from the API description that bollard's types are made from.
async fn create_unique(
    docker: &Docker,
    body: NetworkCreateRequest,
) -> Result<NetworkCreateResponse, DockerError> {
    let mut json = serde_json::to_value(&body)?;
    if let Some(fields) = json.as_object_mut() {
        fields.insert("CheckDuplicate".to_owned(), true.into());
    }
    let bytes = bytes::Bytes::from(json.to_string());
    let asking = docker
        .clone()
        .with_request_modifier(move |request| request.map(|_| bollard::body_full(bytes.clone())));
    asking.create_network(body).await
}

fn label<'a>(labels: Option<&'a HashMap<String, String>>, key: &str) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}
