//! What an application may ask of the host. Everything is refused that `HostPolicy` does not name.
//!
//! These checks look at the text of a path only. Symbolic links are the engine adapter's to resolve: it calls
//! [`bind_permitted`] again with the resolved path.

use super::model::HostPolicy;
use std::path::{Component, Path, PathBuf};

/// Names of container engine sockets. Whoever can write to one owns the host, so no setting permits them.
const SOCKET_NAMES: &[&str] = &[
    "docker.sock",
    "containerd.sock",
    "containerd.sock.ttrpc",
    "podman.sock",
    "crio.sock",
    "buildkitd.sock",
];

/// Directories an engine's socket or state lies below. They, and whatever contains them, are permitted only when
/// a bind root names exactly them.
const ENGINE_PATHS: &[&str] = &[
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/crio",
    "/run/buildkit",
    "/var/run/docker",
    "/var/run/containerd",
    "/var/run/podman",
    "/var/lib/docker",
    "/var/lib/containerd",
];

/// Trees that a root above them does not include: a root must lie in them.
const SPECIAL_TREES: &[&str] = &["/dev", "/proc", "/sys", "/run", "/var/run", "/boot"];

/// Capabilities a Docker container has anyway.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The other capabilities of Linux.
const FURTHER_CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Whether a host path may be mounted into a container: absolute, without `..`, under a bind root, and neither an
/// engine's socket nor a directory that gives access to one.
pub fn bind_permitted(policy: &HostPolicy, path: &Path) -> bool {
    bind_refusal(policy, path).is_none()
}

/// Why a bind mount is refused, with what to do; `None` if it is permitted.
pub(super) fn bind_refusal(policy: &HostPolicy, path: &Path) -> Option<String> {
    let shown = path.display();
    let Some(path) = normalise(path) else {
        return Some(format!("`{shown}` must be an absolute host path without `..`"));
    };
    let is_socket = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| SOCKET_NAMES.contains(&name));
    if is_socket {
        return Some(format!(
            "`{shown}` is a container engine's socket: no application may have it"
        ));
    }
    let is_exact_root =
        policy.bind_roots.iter().any(|root| normalise(root).as_ref() == Some(&path));
    if is_exact_root {
        return None;
    }
    let engine = ENGINE_PATHS
        .iter()
        .map(Path::new)
        .find(|engine| engine.starts_with(&path) || path.starts_with(engine));
    if let Some(engine) = engine {
        return Some(format!(
            "`{shown}` gives access to the container engine ({}): mount a directory below it",
            engine.display()
        ));
    }
    // The innermost special tree the path lies in; a root outside it does not count.
    let tree = SPECIAL_TREES.iter().map(Path::new).find(|tree| path.starts_with(tree));
    let is_under_root = policy
        .bind_roots
        .iter()
        .filter_map(|root| normalise(root))
        .any(|root| path.starts_with(&root) && tree.is_none_or(|tree| root.starts_with(tree)));
    if is_under_root {
        return None;
    }
    let roots: Vec<String> =
        policy.bind_roots.iter().map(|root| root.display().to_string()).collect();
    Some(if roots.is_empty() {
        format!("`{shown}`: this device permits no bind mounts: use a named volume")
    } else {
        format!("`{shown}` is not below {}: use a named volume", roots.join(", "))
    })
}

/// Without `.` and double slashes; `None` for relative paths and those with `..`.
fn normalise(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::Normal(_) => out.push(component),
            Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// Why a capability may not be added; `None` if it may. The name must be in upper case, without `CAP_`.
pub(super) fn capability_refusal(policy: &HostPolicy, name: &str) -> Option<String> {
    let is_permitted = DEFAULT_CAPABILITIES.contains(&name)
        || policy
            .capabilities
            .iter()
            .map(|permitted| capability_name(permitted))
            .any(|permitted| permitted == name || permitted == "ALL");
    (!is_permitted).then(|| {
        format!(
            "the capability {name} is beyond Docker's default set; the device's policy must list it"
        )
    })
}

/// `cap_net_admin` → `NET_ADMIN`.
pub(super) fn capability_name(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or_else(|| upper.clone(), str::to_owned)
}

/// Whether Linux has a capability of this (normalised) name, or it is `ALL`.
pub(super) fn is_capability(name: &str) -> bool {
    name == "ALL" || DEFAULT_CAPABILITIES.contains(&name) || FURTHER_CAPABILITIES.contains(&name)
}

/// Why a device may not be passed; `None` if it may.
pub(super) fn device_refusal(policy: &HostPolicy, path: &str) -> Option<String> {
    let Some(normal) = normalise(Path::new(path)) else {
        return Some(format!("`{path}` must be an absolute path without `..`"));
    };
    let normal = normal.to_string_lossy();
    let is_permitted = policy
        .devices
        .iter()
        .any(|prefix| !prefix.is_empty() && normal.starts_with(prefix.as_str()));
    (!is_permitted).then(|| format!("the device `{path}`: the device's policy must list it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(roots: &[&str]) -> HostPolicy {
        HostPolicy { bind_roots: roots.iter().map(PathBuf::from).collect(), ..Default::default() }
    }

    #[test]
    fn binds_are_permitted_below_roots_only() {
        for (roots, path, expected) in [
            (&[][..], "/srv", false),
            (&["/srv/data"], "/srv/data", true),
            (&["/srv/data"], "/srv/data/x/y", true),
            (&["/srv/data"], "/srv/data//x/./y/", true),
            (&["/srv/data/"], "/srv/data", true),
            (&["/srv/data"], "/srv/database", false),
            (&["/srv/data"], "/srv", false),
            (&["/srv/data"], "/srv/data/../../etc", false),
            (&["/srv/data"], "srv/data", false),
            (&["/srv/../etc"], "/etc", false),
            (&["/"], "/srv", true),
            (&["/"], "/", true),
            (&["/"], "/etc", true),
            (&["/"], "/run", false),
            (&["/"], "/run/user", false),
            (&["/"], "/var", false),
            (&["/"], "/var/run", false),
            (&["/"], "/var/lib", false),
            (&["/"], "/var/lib/docker/volumes", false),
            (&["/"], "/var/log", true),
            (&["/"], "/dev", false),
            (&["/"], "/dev/sda", false),
            (&["/"], "/proc/1", false),
            (&["/"], "/sys/class/gpio", false),
            (&["/sys/class/gpio"], "/sys/class/gpio/gpio1", true),
            (&["/dev/bus"], "/dev/bus/usb", true),
            (&["/run"], "/run", true),
            (&["/run"], "/run/app", true),
            (&["/run"], "/run/docker", false),
            (&["/run"], "/run/docker.sock", false),
            (&["/run/docker.sock"], "/run/docker.sock", false),
            (&["/srv"], "/srv/docker.sock", false),
            (&["/run/containerd"], "/run/containerd", true),
            (&["/run/containerd"], "/run/containerd/containerd.sock", false),
        ] {
            assert_eq!(
                bind_permitted(&policy(roots), Path::new(path)),
                expected,
                "{roots:?} {path}"
            );
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = bind_refusal(&policy(&[]), Path::new("/etc")).unwrap();
        assert!(text.contains("use a named volume"), "{text}");
        let text = bind_refusal(&policy(&["/a", "/b"]), Path::new("/etc")).unwrap();
        assert!(text.contains("/a, /b"), "{text}");
    }

    #[test]
    fn capabilities() {
        let some =
            HostPolicy { capabilities: vec!["cap_net_admin".to_owned()], ..Default::default() };
        let all = HostPolicy { capabilities: vec!["ALL".to_owned()], ..Default::default() };
        for (policy, name, expected) in [
            (HostPolicy::default(), "CHOWN", true),
            (HostPolicy::default(), "NET_ADMIN", false),
            (HostPolicy::default(), "ALL", false),
            (some.clone(), "NET_ADMIN", true),
            (some, "SYS_ADMIN", false),
            (all.clone(), "SYS_ADMIN", true),
            (all, "ALL", true),
        ] {
            assert_eq!(capability_refusal(&policy, name).is_none(), expected, "{name}");
        }
        assert_eq!(capability_name("cap_sys_time"), "SYS_TIME");
        assert!(is_capability("BPF") && is_capability("ALL") && !is_capability("NONSENSE"));
    }

    #[test]
    fn devices_go_by_prefix() {
        let policy = HostPolicy { devices: vec!["/dev/ttyUSB".to_owned()], ..Default::default() };
        for (path, expected) in [
            ("/dev/ttyUSB0", true),
            ("/dev/./ttyUSB0", true),
            ("/dev/ttyS0", false),
            ("/dev/ttyUSB/../sda", false),
            ("dev/ttyUSB0", false),
        ] {
            assert_eq!(device_refusal(&policy, path).is_none(), expected, "{path}");
        }
        let empty = HostPolicy { devices: vec![String::new()], ..Default::default() };
        assert!(device_refusal(&empty, "/dev/sda").is_some());
    }
}
