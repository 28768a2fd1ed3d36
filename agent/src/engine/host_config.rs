//! Service to `HostConfig`: mounts, limits, privileges. Pure; field by field what docker compose sends.

use super::host_paths::HostPaths;
use super::naming::Names;
use crate::compose::model::{
    Mount, MountSource, Port, Project, Resources, Restart, Service, Volume,
};
use bollard::models::{
    DeviceMapping, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountBindOptionsPropagationEnum as Propagation, MountTmpfsOptions, MountType,
    MountVolumeOptions, PortBinding, PortMap, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Builds the host half of a container. `network_mode` is filled in by the caller.
///
/// # Errors
/// A text when a path was not resolved before, or a propagation is unknown.
pub(crate) fn host_config(
    project: &Project,
    names: &Names,
    service: &Service,
    paths: &HostPaths,
) -> Result<HostConfig, String> {
    let (binds, mounts) = volumes(project, names, service, paths)?;
    let (security_opt, is_unmasked) = security(service);
    let log_config = service.logging.as_ref().map(|logging| HostConfigLogConfig {
        typ: Some(logging.driver.clone()),
        config: map(&logging.options),
    });
    let config = HostConfig {
        binds: some(binds),
        mounts: some(mounts),
        tmpfs: map(&service.tmpfs),
        port_bindings: port_bindings(&service.ports),
        restart_policy: Some(restart_policy(service.restart)),
        log_config,
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        privileged: Some(service.privileged),
        readonly_rootfs: Some(service.read_only),
        security_opt: some(security_opt),
        masked_paths: is_unmasked.then(Vec::new),
        readonly_paths: is_unmasked.then(Vec::new),
        sysctls: map(&service.sysctls),
        init: service.init,
        ipc_mode: service.ipc.clone(),
        pid_mode: service.pid.clone(),
        shm_size: service.shm_size_bytes,
        group_add: some(service.group_add.clone()),
        extra_hosts: some(service.extra_hosts.clone()),
        dns: some(service.dns.clone()),
        dns_search: some(service.dns_search.clone()),
        dns_options: some(service.dns_opt.clone()),
        oom_score_adj: service.oom_score_adj,
        ..HostConfig::default()
    };
    Ok(with_resources(config, service))
}

fn with_resources(config: HostConfig, service: &Service) -> HostConfig {
    let Resources {
        nano_cpus,
        memory_bytes,
        memory_reservation_bytes,
        memory_swap_bytes,
        pids,
        cpu_shares,
        cpuset,
    } = &service.resources;
    let devices = service
        .devices
        .iter()
        .map(|device| DeviceMapping {
            path_on_host: Some(device.host.clone()),
            path_in_container: Some(device.container.clone()),
            cgroup_permissions: Some(device.permissions.clone()),
        })
        .collect();
    let ulimits = service
        .ulimits
        .iter()
        .map(|(name, (soft, hard))| ResourcesUlimits {
            name: Some(name.clone()),
            soft: Some(*soft),
            hard: Some(*hard),
        })
        .collect();
    HostConfig {
        nano_cpus: *nano_cpus,
        memory: *memory_bytes,
        memory_reservation: *memory_reservation_bytes,
        memory_swap: *memory_swap_bytes,
        pids_limit: *pids,
        cpu_shares: *cpu_shares,
        cpuset_cpus: cpuset.clone(),
        // Said, not left out: some engines report "unset" differently from "no".
        oom_kill_disable: Some(false),
        devices: some(devices),
        ulimits: some(ulimits),
        ..config
    }
}

/// Docker's restart policy. `No` is sent as the empty name, as compose does for an absent key.
fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, retries) = match restart {
        Restart::No => (RestartPolicyNameEnum::EMPTY, 0),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, 0),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        Restart::OnFailure(retries) => (RestartPolicyNameEnum::ON_FAILURE, retries),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: Some(retries) }
}

fn port_bindings(ports: &[Port]) -> Option<PortMap> {
    let mut bindings = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(port.published.clone()),
        };
        let key = format!("{}/{}", port.target, port.protocol);
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    (!bindings.is_empty()).then_some(bindings)
}

/// `systempaths=unconfined` is compose's spelling of "no masked paths", not an option of the engine.
fn security(service: &Service) -> (Vec<String>, bool) {
    let (paths, options): (Vec<_>, Vec<_>) =
        service.security_opt.iter().cloned().partition(|option| option == "systempaths=unconfined");
    (options, !paths.is_empty())
}

/// Binds and mounts, one for each target: a later entry replaces an earlier one, `configs` and `secrets`
/// give way to `volumes`.
fn volumes(
    project: &Project,
    names: &Names,
    service: &Service,
    paths: &HostPaths,
) -> Result<(Vec<String>, Vec<EngineMount>), String> {
    let mut all: BTreeMap<String, Placed> = BTreeMap::new();
    for mount in &service.mounts {
        let target = clean(&mount.target);
        let placed = place(project, names, mount, paths)?;
        all.insert(target, placed);
    }
    for file in service.files.iter().filter(|file| file.content.is_none()) {
        let found =
            paths.file(&file.archive_path).ok_or("a file of the archive was not resolved")?;
        let target = clean(&file.target);
        all.entry(target.clone()).or_insert_with(|| {
            Placed::Mount(Box::new(EngineMount {
                typ: Some(MountType::BIND),
                source: Some(found.path.display().to_string()),
                target: Some(target),
                read_only: Some(true),
                ..EngineMount::default()
            }))
        });
    }
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for placed in all.into_values() {
        match placed {
            Placed::Bind(bind) => binds.push(bind),
            Placed::Mount(mount) => mounts.push(*mount),
        }
    }
    Ok((binds, mounts))
}

/// The two ways the engine takes a mount. Only `Binds` makes missing host directories.
enum Placed {
    Bind(String),
    Mount(Box<EngineMount>),
}

fn place(
    project: &Project,
    names: &Names,
    mount: &Mount,
    paths: &HostPaths,
) -> Result<Placed, String> {
    let blank = EngineMount {
        target: Some(clean(&mount.target)),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    };
    let with = |typ| EngineMount { typ: Some(typ), ..blank.clone() };
    let placed = match &mount.source {
        MountSource::Volume { key, no_copy } => {
            let volume = project.volumes.get(key);
            let name = volume_name(names, key, volume);
            if volume.is_some_and(|volume| volume.driver_opts.get("o").is_some_and(|o| o == "bind"))
            {
                return Ok(Placed::Bind(bind_text(&name, mount, &["nocopy"], &[*no_copy])));
            }
            let options = (mount.short_form || *no_copy).then(|| MountVolumeOptions {
                no_copy: no_copy.then_some(true),
                ..MountVolumeOptions::default()
            });
            EngineMount { source: Some(name), volume_options: options, ..with(MountType::VOLUME) }
        }
        MountSource::Anonymous => with(MountType::VOLUME),
        MountSource::Bind { path, propagation, create_host_path, selinux } => {
            let source = paths.bind(path).ok_or("a bind mount was not resolved")?;
            if *create_host_path {
                let (selinux, propagation) = (selinux.as_deref(), propagation.as_deref());
                let options = [selinux.unwrap_or_default(), propagation.unwrap_or_default()];
                let given = [selinux.is_some(), propagation.is_some()];
                return Ok(Placed::Bind(bind_text(&text(source), mount, &options, &given)));
            }
            let options = propagation.as_deref().map(bind_propagation).transpose()?;
            EngineMount {
                source: Some(text(source)),
                bind_options: options.map(|propagation| MountBindOptions {
                    propagation: Some(propagation),
                    ..MountBindOptions::default()
                }),
                ..with(MountType::BIND)
            }
        }
        MountSource::Tmpfs { size_bytes, mode } => EngineMount {
            tmpfs_options: (size_bytes.is_some() || mode.is_some()).then(|| MountTmpfsOptions {
                size_bytes: *size_bytes,
                mode: mode.map(i64::from),
                options: None,
            }),
            ..with(MountType::TMPFS)
        },
    };
    Ok(Placed::Mount(Box::new(placed)))
}

/// `source:target:ro,option,…`
fn bind_text(source: &str, mount: &Mount, options: &[&str], given: &[bool]) -> String {
    let mut text = format!("{source}:{}:", mount.target);
    text.push_str(if mount.read_only { "ro" } else { "rw" });
    for (option, _) in options.iter().zip(given).filter(|(_, given)| **given) {
        text.push(',');
        text.push_str(option);
    }
    text
}

fn bind_propagation(text: &str) -> Result<Propagation, String> {
    text.parse().map_err(|_| format!("mount propagation `{text}` is unknown"))
}

/// The engine's name of a volume.
pub(crate) fn volume_name(names: &Names, key: &str, volume: Option<&Volume>) -> String {
    match volume {
        Some(Volume { name: Some(name), .. }) => name.clone(),
        Some(Volume { external: true, .. }) => key.to_owned(),
        _ => names.keyed(key),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Removes trailing and doubled slashes, as the engine does when it reports a mount.
fn clean(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(crate) fn map(from: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!from.is_empty()).then(|| from.clone().into_iter().collect())
}
