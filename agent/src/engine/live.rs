//! A live container against its [`Spec`]: what differs, including what was edited behind our back.
//!
//! The hash label covers everything that cannot change after creation. What the engine lets people change
//! later (limits, restart policy, name, networks) is compared with what `inspect` shows now.

use super::container_config::Spec;
use super::naming::{LABEL_CONFIG_HASH, LABEL_PIN_PREFIX};
use super::networks::NetworkIds;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, EndpointSettings,
    HealthStatusEnum, HostConfig, RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, HashMap};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Made from another configuration.
    Configuration,
    /// Made from another image.
    Image,
    /// Only the name is wrong: mended by renaming.
    Name,
    /// Edited: which setting.
    Edited(String),
    /// A container it is bound to was replaced.
    Pin(String),
}

/// The parts of the world a container is judged against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    /// Ids of the project's networks.
    pub(crate) networks: &'a NetworkIds,
    /// Ids of the containers of pinned services, where known.
    pub(crate) containers: &'a BTreeMap<String, String>,
}

/// All differences; empty when the container is right (running or not).
pub(crate) fn differences(
    spec: &Spec,
    live: &ContainerInspectResponse,
    world: World<'_>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if label(live, LABEL_CONFIG_HASH) != Some(&spec.hash) {
        found.push(Difference::Configuration);
    }
    if live.image.as_deref() != spec.body.image.as_deref() {
        found.push(Difference::Image);
    }
    if live_name(live) != spec.name {
        found.push(Difference::Name);
    }
    for service in &spec.pins {
        let pinned = label(live, &format!("{LABEL_PIN_PREFIX}{service}"));
        let current = world.containers.get(service).map(String::as_str);
        if current.is_some() && pinned != current {
            found.push(Difference::Pin(service.clone()));
        }
    }
    let blank = HostConfig::default();
    let wanted = spec.body.host_config.as_ref().unwrap_or(&blank);
    let actual = live.host_config.as_ref().unwrap_or(&blank);
    found.extend(edited_limits(wanted, actual).map(|what| Difference::Edited(what.to_owned())));
    found.extend(edited_networks(spec, live, world.networks).map(Difference::Edited));
    found
}

/// Settings of `docker update`, and the ones whose change would matter most.
fn edited_limits(wanted: &HostConfig, actual: &HostConfig) -> impl Iterator<Item = &'static str> {
    let number = |value: Option<i64>| value.filter(|value| *value > 0).unwrap_or(0);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let flag = |value: Option<bool>| value.unwrap_or(false);
    let checks = [
        ("cpus", number(wanted.nano_cpus) == number(actual.nano_cpus)),
        ("cpu quota", number(wanted.cpu_quota) == number(actual.cpu_quota)),
        ("cpu period", number(wanted.cpu_period) == number(actual.cpu_period)),
        ("cpu shares", number(wanted.cpu_shares) == number(actual.cpu_shares)),
        ("cpu realtime", number(actual.cpu_realtime_runtime) == 0),
        ("cpuset", text(&wanted.cpuset_cpus) == text(&actual.cpuset_cpus)),
        ("cpuset memory nodes", text(&wanted.cpuset_mems) == text(&actual.cpuset_mems)),
        ("memory limit", number(wanted.memory) == number(actual.memory)),
        (
            "memory reservation",
            number(wanted.memory_reservation) == number(actual.memory_reservation),
        ),
        ("memory and swap limit", is_swap_right(wanted, actual)),
        ("process limit", number(wanted.pids_limit) == number(actual.pids_limit)),
        ("block io weight", actual.blkio_weight.unwrap_or(0) == wanted.blkio_weight.unwrap_or(0)),
        ("restart policy", restart(wanted) == restart(actual)),
        ("privileges", flag(wanted.privileged) == flag(actual.privileged)),
        ("read-only root", flag(wanted.readonly_rootfs) == flag(actual.readonly_rootfs)),
    ];
    checks.into_iter().filter(|(_, is_right)| !is_right).map(|(what, _)| what)
}

/// The engine fills in twice the memory when no swap limit was said, and -1 when the kernel has none.
fn is_swap_right(wanted: &HostConfig, actual: &HostConfig) -> bool {
    let found = actual.memory_swap.unwrap_or(0);
    match (wanted.memory_swap.unwrap_or(0), wanted.memory.unwrap_or(0)) {
        (0, 0) => found == 0 || found == -1,
        (0, memory) => found == memory.saturating_mul(2) || found == -1 || found == 0,
        (swap, _) => found == swap || found == -1,
    }
}

fn restart(host: &HostConfig) -> (RestartPolicyNameEnum, i64) {
    let policy = host.restart_policy.clone().unwrap_or_default();
    let name = match policy.name {
        None | Some(RestartPolicyNameEnum::EMPTY) => RestartPolicyNameEnum::NO,
        Some(name) => name,
    };
    (name, policy.maximum_retry_count.unwrap_or(0))
}

fn edited_networks(
    spec: &Spec,
    live: &ContainerInspectResponse,
    ids: &NetworkIds,
) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let settings = live.network_settings.as_ref();
    let joined = settings.and_then(|settings| settings.networks.clone()).unwrap_or_default();
    for (name, wanted) in &spec.endpoints {
        let Some(actual) = joined.get(name) else {
            found.push(format!("disconnected from network `{name}`"));
            continue;
        };
        let id = actual.network_id.as_deref().filter(|id| !id.is_empty());
        match (ids.get(name), id) {
            (None, _) => found.push(format!("network `{name}` was removed")),
            (Some(current), Some(id)) if id != current => {
                found.push(format!("network `{name}` was replaced"));
            }
            (Some(_), _) => {}
        }
        if !is_endpoint_right(wanted, actual) {
            found.push(format!("address or aliases in network `{name}`"));
        }
    }
    if !spec.endpoints.is_empty() {
        let is_wanted = |name: &String| spec.endpoints.iter().any(|(wanted, _)| wanted == name);
        let mut extra: Vec<&String> = joined.keys().filter(|name| !is_wanted(name)).collect();
        extra.sort();
        found.extend(extra.into_iter().map(|name| format!("connected to network `{name}`")));
    }
    found.into_iter()
}

fn is_endpoint_right(wanted: &EndpointSettings, actual: &EndpointSettings) -> bool {
    let aliases = actual.aliases.as_deref().unwrap_or_default();
    let wanted_aliases = wanted.aliases.as_deref().unwrap_or_default();
    let address = |settings: &EndpointSettings| {
        let ipam = settings.ipam_config.clone().unwrap_or_default();
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        (said(ipam.ipv4_address), said(ipam.ipv6_address))
    };
    wanted_aliases.iter().all(|alias| aliases.contains(alias)) && address(wanted) == address(actual)
}

/// The container's name without the engine's leading slash.
pub(crate) fn live_name(live: &ContainerInspectResponse) -> &str {
    let name = live.name.as_deref().unwrap_or_default();
    name.strip_prefix('/').unwrap_or(name)
}

pub(crate) fn labels(live: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    live.config.as_ref()?.labels.as_ref()
}

pub(crate) fn label<'a>(live: &'a ContainerInspectResponse, key: &str) -> Option<&'a str> {
    labels(live)?.get(key).map(String::as_str)
}

pub(crate) fn status(live: &ContainerInspectResponse) -> Status {
    live.state.as_ref().and_then(|state| state.status).unwrap_or(Status::EMPTY)
}

pub(crate) fn exit_code(live: &ContainerInspectResponse) -> i64 {
    live.state.as_ref().and_then(|state| state.exit_code).unwrap_or(0)
}

/// The health status; `None` when the container has no health check.
pub(crate) fn health(live: &ContainerInspectResponse) -> Option<HealthStatusEnum> {
    let health = live.state.as_ref()?.health.as_ref()?.status?;
    match health {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        health => Some(health),
    }
}

/// True when the container is not running and not about to be restarted by the engine.
pub(crate) fn has_ended(live: &ContainerInspectResponse) -> bool {
    matches!(status(live), Status::EXITED | Status::DEAD)
}

#[cfg(test)]
mod tests;
