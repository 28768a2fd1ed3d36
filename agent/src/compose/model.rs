//! What a compose file means on this device, after interpolation, defaults and policy: plain data.
//!
//! The loader (`super::load`) makes these; the engine turns them into Docker API calls. Short and long forms,
//! anchors, `extends` of defaults and unit suffixes are all gone here: one way to say each thing.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One component's compose project, ready for the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Project {
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks by their key in the file; `default` is present when a service uses it.
    pub networks: BTreeMap<String, Network>,
    /// Named volumes by their key in the file.
    pub volumes: BTreeMap<String, Volume>,
}

/// One service. `None` and empty mean "not said": the engine's own default applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Image reference as written, normalised only by the engine.
    pub image: String,
    /// `Some(vec![])` clears the image's command.
    pub command: Option<Vec<String>>,
    /// `Some(vec![])` clears the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Merged from `env_file` and `environment`; `None` = take from the project environment, unset if absent there.
    pub environment: BTreeMap<String, Option<String>>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Exposed, unpublished ports, as `80/tcp`.
    pub expose: Vec<String>,
    /// Volumes, binds, tmpfs mounts of `volumes:`.
    pub mounts: Vec<Mount>,
    /// Mounts of `tmpfs:`, path to options (`size=…,mode=…`, may be empty).
    pub tmpfs: BTreeMap<String, String>,
    /// Networks joined by key, in order of the file. Empty when `network_mode` is set.
    pub networks: BTreeMap<String, NetworkAttachment>,
    /// `none`, `bridge`, `host` (if policy permits), or `service:<name>`; `None` = `networks`.
    pub network_mode: Option<String>,
    /// Start order.
    pub depends_on: BTreeMap<String, Dependency>,
    /// Health check, already in nanoseconds.
    pub healthcheck: Option<Healthcheck>,
    /// Restart policy.
    pub restart: Restart,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// Explicit container name.
    pub container_name: Option<String>,
    /// The author's labels.
    pub labels: BTreeMap<String, String>,
    /// Added capabilities.
    pub cap_add: Vec<String>,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// Full privileges; only if policy permits.
    pub privileged: bool,
    /// Read-only root file system.
    pub read_only: bool,
    /// Kernel parameters of the container.
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits: name to (soft, hard).
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Devices; only if policy permits.
    pub devices: Vec<Device>,
    /// Run an init inside the container.
    pub init: Option<bool>,
    /// Signal that stops the container.
    pub stop_signal: Option<String>,
    /// Time between stop signal and kill, in milliseconds.
    pub stop_grace_period_ms: Option<u64>,
    /// Log driver and its options.
    pub logging: Option<Logging>,
    /// Limits and reservations, from `deploy.resources`, `mem_limit`, `cpus` and friends.
    pub resources: Resources,
    /// Files mounted read-only from the archive (`configs`). `secrets` are host files: they are among `mounts`.
    pub files: Vec<FileMount>,
    /// `host:address` entries.
    pub extra_hosts: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// DNS options.
    pub dns_opt: Vec<String>,
    /// Security options (`no-new-privileges:true`, …); unconfined ones only if policy permits.
    pub security_opt: Vec<String>,
    /// Size of /dev/shm in bytes.
    pub shm_size_bytes: Option<i64>,
    /// Process namespace (`host`, `service:x`); only if policy permits.
    pub pid: Option<String>,
    /// IPC namespace; only if policy permits `host`.
    pub ipc: Option<String>,
    /// Keep stdin open.
    pub stdin_open: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Platform (`linux/arm64`) the image must have.
    pub platform: Option<String>,
    /// Adjustment of the kernel's OOM score.
    pub oom_score_adj: Option<i64>,
}

/// A published port range of one protocol, already expanded to single ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// Host address; empty = all.
    pub host_ip: String,
    /// Host port as Docker takes it: empty = ephemeral, `8000`, or `8000-8010` for "one of".
    pub published: String,
    /// Container port.
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// One entry of `volumes:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Said in short form (`a:b:ro`). For information only: compose 2.26 puts binds with `create_host_path` into
    /// `Binds` and everything else, named volumes too, into `Mounts`, whichever form was used.
    pub short_form: bool,
}

/// Where a mount's content lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum MountSource {
    /// A named volume of the project, by key; `nocopy` as said.
    Volume {
        /// Key in `Project::volumes`.
        key: String,
        /// Do not copy the image's content into a new volume.
        no_copy: bool,
    },
    /// A volume without a name, made with the container.
    Anonymous,
    /// A host path, permitted by policy.
    Bind {
        /// Absolute host path.
        path: PathBuf,
        /// Mount propagation, if said.
        propagation: Option<String>,
        /// Make the directory if it is missing.
        create_host_path: bool,
        /// SELinux relabelling: `z` or `Z`.
        selinux: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Size limit in bytes.
        size_bytes: Option<i64>,
        /// File mode of the root.
        mode: Option<u32>,
    },
}

/// A service's place in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkAttachment {
    /// Further DNS names.
    pub aliases: Vec<String>,
    /// Fixed IPv4 address.
    pub ipv4_address: Option<String>,
    /// Fixed IPv6 address.
    pub ipv6_address: Option<String>,
    /// Higher is joined first.
    pub priority: i64,
}

/// When a dependency counts as satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Condition {
    /// Its container has been started.
    Started,
    /// Its health check passes.
    Healthy,
    /// It exited with 0.
    CompletedSuccessfully,
}

/// One entry of `depends_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// When it is satisfied.
    pub condition: Condition,
    /// Recreate this service when the dependency is recreated.
    pub restart: bool,
    /// Absent dependency is no error.
    pub required: bool,
}

/// A health check. Absent durations take the engine's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// Docker's form: `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty = the image's.
    pub test: Vec<String>,
    /// Between checks.
    pub interval_ns: Option<i64>,
    /// Of one check.
    pub timeout_ns: Option<i64>,
    /// Failures until unhealthy.
    pub retries: Option<i64>,
    /// Grace after start.
    pub start_period_ns: Option<i64>,
    /// Between checks during the start period.
    pub start_interval_ns: Option<i64>,
}

/// Docker's restart policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Restart {
    /// Never (compose's default).
    #[default]
    No,
    /// Whenever it stops.
    Always,
    /// Whenever it stops, but not after an operator stopped it.
    UnlessStopped,
    /// When it exits with an error, at most so many times (0 = no limit).
    OnFailure(i64),
}

/// A host device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}

/// Log driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Logging {
    /// Driver name; empty = the engine's default.
    pub driver: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// Limits and reservations; 0 / `None` = none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// CPUs in billionths.
    pub nano_cpus: Option<i64>,
    /// Hard memory limit in bytes.
    pub memory_bytes: Option<i64>,
    /// Soft memory limit in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together in bytes; -1 = unlimited swap.
    pub memory_swap_bytes: Option<i64>,
    /// Most processes.
    pub pids: Option<i64>,
    /// Relative CPU weight.
    pub cpu_shares: Option<i64>,
    /// CPUs allowed, as `0-1,3`.
    pub cpuset: Option<String>,
}

/// A file from the archive (or inline content) mounted into the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileMount {
    /// Path of the file inside the extracted archive, relative to its top directory. Empty if `content` is there.
    pub archive_path: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// Inline content, written into the created container (owner root) before it starts.
    pub content: Option<String>,
    /// File mode of `content`; `None` = 0444. Never set for a file of the archive.
    pub mode: Option<u32>,
}

/// A network of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Explicit name; else `<project>_<key>`.
    pub name: Option<String>,
    /// Not made by us: must exist.
    pub external: bool,
    /// Driver; `None` = `bridge`.
    pub driver: Option<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// No route out.
    pub internal: bool,
    /// Standalone containers may attach.
    pub attachable: bool,
    /// IPv6 on.
    pub enable_ipv6: bool,
    /// Author's labels.
    pub labels: BTreeMap<String, String>,
    /// Address pools.
    pub ipam: Vec<IpamPool>,
}

/// One address pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IpamPool {
    /// CIDR.
    pub subnet: Option<String>,
    /// Gateway address.
    pub gateway: Option<String>,
    /// Range to hand out.
    pub ip_range: Option<String>,
}

/// A named volume of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Explicit name; else `<project>_<key>`.
    pub name: Option<String>,
    /// Not made by us: must exist.
    pub external: bool,
    /// Driver; `None` = `local`.
    pub driver: Option<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Author's labels.
    pub labels: BTreeMap<String, String>,
}

/// What this device permits an application to ask of the host. Everything defaults to "no".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// Directories under which bind mounts are permitted.
    pub bind_roots: Vec<PathBuf>,
    /// `privileged: true`.
    pub privileged: bool,
    /// Host network, pid, ipc, uts, user namespaces and other containers' namespaces.
    pub host_namespaces: bool,
    /// Host devices that may be passed, as path prefixes (`/dev/ttyUSB`).
    pub devices: Vec<String>,
    /// Capabilities beyond Docker's default set that may be added (`NET_ADMIN`; `ALL` permits any).
    pub capabilities: Vec<String>,
    /// Unconfined seccomp/apparmor/label profiles.
    pub unconfined: bool,
}
