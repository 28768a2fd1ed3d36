//! Service to container: the whole create request and its hash. Pure.
//!
//! A [`Spec`] is independent of the engine's API version and of ids that change (other containers'), so
//! that an engine update or a recreated neighbour does not change its hash.

use super::error::EngineError;
use super::host_config::{host_config, map};
use super::host_paths::HostPaths;
use super::inline::{InlineFile, inline_files};
use super::naming::{
    LABEL_CONFIG_HASH, LABEL_IMAGE, LABEL_PIN_PREFIX, LABEL_REVISION, LABEL_SERVICE, Names,
    compose_labels,
};
use super::networks::network_name;
use super::unit::Unit;
use crate::compose::model::{Condition, Healthcheck, NetworkAttachment, Restart, Service};
use bollard::models::{ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A container as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The service.
    pub(crate) service: String,
    /// The container's final name.
    pub(crate) name: String,
    /// The create request without networks; namespace sharing still says `service:<name>`.
    pub(crate) body: ContainerCreateBody,
    /// Networks by name, the one that is joined first at the head.
    pub(crate) endpoints: Vec<(String, EndpointSettings)>,
    /// Platform the image must have.
    pub(crate) platform: Option<String>,
    /// Files to write before the start.
    pub(crate) inline: Vec<InlineFile>,
    /// `sha256:` over all of the above and the content of mounted archive files.
    pub(crate) hash: String,
    /// Services whose containers this one is bound to: it must be remade when they are.
    pub(crate) pins: BTreeSet<String>,
    /// Services of `pins` whose namespaces it shares: it must restart when they do.
    pub(crate) shares: BTreeSet<String>,
    /// Ending with 0 is a normal end.
    pub(crate) may_complete: bool,
    /// The engine restarts it by itself.
    pub(crate) may_restart: bool,
}

/// What the hash covers.
#[derive(Serialize)]
struct Hashed<'a> {
    body: &'a ContainerCreateBody,
    endpoints: &'a [(String, EndpointSettings)],
    platform: &'a Option<String>,
    files: Vec<(&'a str, &'a str)>,
    inline: &'a [InlineFile],
}

/// Builds the container of one service.
///
/// # Errors
/// `ImageMissing` without an image id; `Project` when the service contradicts itself.
pub(crate) fn spec(
    unit: &Unit,
    names: &Names,
    service_name: &str,
    paths: &HostPaths,
) -> Result<Spec, EngineError> {
    let invalid =
        |reason: String| EngineError::Project { service: service_name.to_owned(), reason };
    let service = unit
        .project
        .services
        .get(service_name)
        .ok_or_else(|| invalid("it is not in the project".to_owned()))?;
    let image = unit.images.get(service_name).ok_or_else(|| EngineError::ImageMissing {
        service: service_name.to_owned(),
        image: service.image.clone(),
    })?;
    let name = service.container_name.clone().unwrap_or_else(|| names.container(service_name));
    let endpoints = endpoints(unit, names, service_name, &name).map_err(invalid)?;
    let mut host = host_config(&unit.project, names, service, paths).map_err(invalid)?;
    host.network_mode = Some(match (&service.network_mode, endpoints.first()) {
        (Some(mode), _) => mode.clone(),
        (None, Some((network, _))) => network.clone(),
        (None, None) => "none".to_owned(),
    });
    let shares: BTreeSet<String> = [&host.network_mode, &host.pid_mode, &host.ipc_mode]
        .into_iter()
        .filter_map(|mode| mode.as_deref()?.strip_prefix("service:").map(ToOwned::to_owned))
        .collect();
    let restarts = service.depends_on.iter().filter(|(_, dependency)| dependency.restart);
    let pins = restarts.map(|(name, _)| name.clone()).chain(shares.iter().cloned()).collect();
    let mut body = body(service, unit);
    body.image = Some(image.to_string());
    body.labels = Some(labels(names, service_name, service));
    body.host_config = Some(host);
    let mut files: Vec<(&str, &str)> = service
        .files
        .iter()
        .filter_map(|file| {
            Some((file.target.as_str(), paths.file(&file.archive_path)?.content.as_str()))
        })
        .collect();
    files.sort_unstable();
    let platform = service.platform.clone();
    let inline = inline_files(&service.files);
    let hashed =
        Hashed { body: &body, endpoints: &endpoints, platform: &platform, files, inline: &inline };
    let hash = config_hash(&hashed).map_err(invalid)?;
    Ok(Spec {
        service: service_name.to_owned(),
        name,
        body,
        endpoints,
        platform,
        inline,
        hash,
        pins,
        shares,
        may_complete: matches!(service.restart, Restart::No | Restart::OnFailure(_)),
        may_restart: service.restart != Restart::No,
    })
}

impl Spec {
    /// The create request's body for this moment: `ids` are the containers of the pinned services.
    pub(crate) fn body_now(
        &self,
        unit: &Unit,
        ids: &BTreeMap<String, String>,
    ) -> ContainerCreateBody {
        let mut body = self.body.clone();
        let labels = body.labels.get_or_insert_default();
        labels.insert(LABEL_CONFIG_HASH.to_owned(), self.hash.clone());
        labels.insert(compose_labels::CONFIG_HASH.to_owned(), self.hash.clone());
        labels.insert(LABEL_REVISION.to_owned(), unit.revision.to_string());
        for service in &self.pins {
            if let Some(id) = ids.get(service) {
                labels.insert(format!("{LABEL_PIN_PREFIX}{service}"), id.clone());
            }
        }
        if let Some(host) = &mut body.host_config {
            for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
                let id = mode.as_deref().and_then(|m| ids.get(m.strip_prefix("service:")?));
                if let Some(id) = id {
                    *mode = Some(format!("container:{id}"));
                }
            }
        }
        body
    }
}

/// SHA-256 over the canonical JSON: keys sorted, nothing but what was said.
pub(crate) fn config_hash(value: &impl Serialize) -> Result<String, String> {
    // Through `Value`, whose maps are sorted; bollard's maps are not.
    let canonical = serde_json::to_value(value).map_err(|error| error.to_string())?;
    Ok(format!("sha256:{}", hex::encode(digest(&SHA256, canonical.to_string().as_bytes()))))
}

fn body(service: &Service, unit: &Unit) -> ContainerCreateBody {
    let exposed = service
        .expose
        .iter()
        .cloned()
        .chain(service.ports.iter().map(|port| format!("{}/{}", port.target, port.protocol)));
    let exposed: BTreeSet<String> = exposed.collect();
    ContainerCreateBody {
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: (!exposed.is_empty()).then(|| exposed.into_iter().collect()),
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        stdin_once: Some(false),
        env: environment(service, &unit.extra_env),
        cmd: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        healthcheck: service.healthcheck.as_ref().map(health),
        working_dir: service.working_dir.clone(),
        stop_signal: service.stop_signal.clone(),
        // Whole seconds is all the engine takes; compose cuts too.
        stop_timeout: service
            .stop_grace_period_ms
            .map(|ms| i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
        ..ContainerCreateBody::default()
    }
}

/// `KEY=value`, or `KEY` alone, which removes the image's own variable.
fn environment(service: &Service, extra: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut all: BTreeMap<&str, Option<&str>> =
        extra.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
    // The author's word wins, even when it is "unset".
    all.extend(service.environment.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
    let lines: Vec<String> = all
        .into_iter()
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.to_owned(),
        })
        .collect();
    (!lines.is_empty()).then_some(lines)
}

fn health(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: (!check.test.is_empty()).then(|| check.test.clone()),
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        retries: check.retries,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
    }
}

fn labels(names: &Names, name: &str, service: &Service) -> HashMap<String, String> {
    let mut labels = map(&service.labels).unwrap_or_default();
    labels.extend(names.labels());
    let depends: Vec<String> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let condition = match dependency.condition {
                Condition::Started => "service_started",
                Condition::Healthy => "service_healthy",
                Condition::CompletedSuccessfully => "service_completed_successfully",
            };
            format!("{name}:{condition}:{}", dependency.restart)
        })
        .collect();
    labels.extend(
        [
            (LABEL_SERVICE, name),
            (LABEL_IMAGE, service.image.as_str()),
            (compose_labels::SERVICE, name),
            (compose_labels::NUMBER, "1"),
            (compose_labels::ONEOFF, "False"),
            (compose_labels::DEPENDS_ON, &depends.join(",")),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    labels
}

fn endpoints(
    unit: &Unit,
    names: &Names,
    service_name: &str,
    container_name: &str,
) -> Result<Vec<(String, EndpointSettings)>, String> {
    let Some(service) = unit.project.services.get(service_name) else { return Ok(Vec::new()) };
    if service.network_mode.is_some() {
        return Ok(Vec::new());
    }
    let mut attachments: Vec<(&String, &NetworkAttachment)> = service.networks.iter().collect();
    // Stable: equal priorities stay in order of their keys, as in compose.
    attachments.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.priority));
    attachments
        .into_iter()
        .map(|(key, attachment)| {
            let network = unit
                .project
                .networks
                .get(key)
                .ok_or_else(|| format!("network `{key}` is not declared"))?;
            let mut aliases = vec![container_name.to_owned(), service_name.to_owned()];
            aliases.extend(attachment.aliases.iter().cloned());
            let has_address =
                attachment.ipv4_address.is_some() || attachment.ipv6_address.is_some();
            let settings = EndpointSettings {
                aliases: Some(aliases),
                ipam_config: has_address.then(|| EndpointIpamConfig {
                    ipv4_address: attachment.ipv4_address.clone(),
                    ipv6_address: attachment.ipv6_address.clone(),
                    link_local_ips: None,
                }),
                ..EndpointSettings::default()
            };
            Ok((network_name(names, key, network), settings))
        })
        .collect()
}

#[cfg(test)]
mod tests;
