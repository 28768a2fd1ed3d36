//! The one table of accepted keys. A key that is not here is refused with its path; so the table cannot lie.
//!
//! Path syntax: `*` is a name the author chooses, `[]` an item of a list. Keys that start with `x-` are accepted and
//! ignored wherever the author does not choose the names.

use super::cursor::Cursor;
use super::problems::{ProblemKind, Report};
use super::yaml::Value;

/// An accepted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it stands, such as `services.*.ports[].target`.
    pub path: &'static str,
    /// What is accepted, in one line.
    pub note: &'static str,
}

/// A key that Compose knows and this device refuses for a reason worth telling.
struct Refused {
    path: &'static str,
    kind: ProblemKind,
    why: &'static str,
}

macro_rules! keys {
    ($($path:literal $note:literal)*) => { &[$(Key { path: $path, note: $note }),*] };
}

/// Every accepted key path, in the order of the documentation.
pub static KEYS: &[Key] = keys! {
    "name" "ignored with a warning: the deployment names the project"
    "version" "ignored with a warning"
    "services" "at most 64 active services"
    "services.*" "letters, digits, `.`, `_`, `-`"
    "services.*.image" "required; pinned to the digest of its first pull"
    "services.*.command" "list, or a string split into words (no shell)"
    "services.*.entrypoint" "like `command`"
    "services.*.environment" "map or list; names without a value come from the deployment's parameters"
    "services.*.environment.*" "string, number, boolean or nothing"
    "services.*.env_file" "one path, or a list of paths; inside the archive"
    "services.*.env_file.path" "path inside the archive"
    "services.*.env_file.required" "default true"
    "services.*.env_file[].path" "path inside the archive"
    "services.*.env_file[].required" "default true"
    "services.*.ports" "short or long form, ranges; tcp, udp, sctp"
    "services.*.ports[].target" "required; 1-65535"
    "services.*.ports[].published" "port or range; nothing means any free one"
    "services.*.ports[].host_ip" "IP address"
    "services.*.ports[].protocol" "tcp, udp or sctp"
    "services.*.ports[].mode" "no effect, as in compose"
    "services.*.ports[].name" "no effect, as in compose"
    "services.*.ports[].app_protocol" "no effect, as in compose"
    "services.*.expose" "ports or ranges"
    "services.*.volumes" "short or long form; binds only below the policy's roots"
    "services.*.volumes[].type" "required; `volume`, `bind` or `tmpfs`"
    "services.*.volumes[].source" "volume key, or absolute host path"
    "services.*.volumes[].target" "required; absolute path"
    "services.*.volumes[].read_only" "boolean"
    "services.*.volumes[].consistency" "no effect on Linux"
    "services.*.volumes[].volume" ""
    "services.*.volumes[].volume.nocopy" "boolean"
    "services.*.volumes[].bind" ""
    "services.*.volumes[].bind.propagation" "private, rprivate, shared, rshared, slave, rslave"
    "services.*.volumes[].bind.create_host_path" "boolean, default false"
    "services.*.volumes[].bind.selinux" "`z` or `Z`"
    "services.*.volumes[].tmpfs" ""
    "services.*.volumes[].tmpfs.size" "size"
    "services.*.volumes[].tmpfs.mode" "file mode"
    "services.*.tmpfs" "one or a list of `path[:options]`"
    "services.*.networks" "list or map of declared networks; `default` if absent"
    "services.*.networks.*" ""
    "services.*.networks.*.aliases" "list of DNS names"
    "services.*.networks.*.ipv4_address" "in a subnet of the network"
    "services.*.networks.*.ipv6_address" "address"
    "services.*.networks.*.priority" "higher is joined first"
    "services.*.network_mode" "none, bridge, `service:x`; host only if policy permits"
    "services.*.depends_on" "list or map; no cycles"
    "services.*.depends_on.*" ""
    "services.*.depends_on.*.condition" "service_started, service_healthy, service_completed_successfully"
    "services.*.depends_on.*.restart" "boolean"
    "services.*.depends_on.*.required" "boolean; false tolerates a service whose profile is off"
    "services.*.healthcheck" ""
    "services.*.healthcheck.test" "string (run by a shell) or list with CMD, CMD-SHELL, NONE"
    "services.*.healthcheck.interval" "duration"
    "services.*.healthcheck.timeout" "duration"
    "services.*.healthcheck.retries" "number"
    "services.*.healthcheck.start_period" "duration"
    "services.*.healthcheck.start_interval" "duration; needs Docker 25"
    "services.*.healthcheck.disable" "boolean"
    "services.*.restart" "no, always, unless-stopped, on-failure[:count]"
    "services.*.user" "`user[:group]`"
    "services.*.group_add" "list of names or numbers"
    "services.*.working_dir" "absolute path"
    "services.*.hostname" "host name"
    "services.*.domainname" "domain name"
    "services.*.container_name" "unique in the file"
    "services.*.labels" "map or list"
    "services.*.labels.*" "string, number, boolean or nothing"
    "services.*.cap_add" "Docker's default set; further ones only if policy lists them"
    "services.*.cap_drop" "capabilities or ALL"
    "services.*.privileged" "only if policy permits"
    "services.*.read_only" "boolean"
    "services.*.security_opt" "no-new-privileges, apparmor, label; unconfined only if policy permits"
    "services.*.sysctls" "map or list"
    "services.*.sysctls.*" "string or number"
    "services.*.ulimits" ""
    "services.*.ulimits.*" "number, or soft and hard"
    "services.*.ulimits.*.soft" "number"
    "services.*.ulimits.*.hard" "number"
    "services.*.devices" "only if policy lists them"
    "services.*.init" "boolean"
    "services.*.stop_signal" "signal"
    "services.*.stop_grace_period" "duration"
    "services.*.logging" ""
    "services.*.logging.driver" "log driver"
    "services.*.logging.options" ""
    "services.*.logging.options.*" "string or number"
    "services.*.deploy" ""
    "services.*.deploy.replicas" "1"
    "services.*.deploy.resources" ""
    "services.*.deploy.resources.limits" ""
    "services.*.deploy.resources.limits.cpus" "number"
    "services.*.deploy.resources.limits.memory" "size"
    "services.*.deploy.resources.limits.pids" "number"
    "services.*.deploy.resources.reservations" ""
    "services.*.deploy.resources.reservations.cpus" "no effect, with a warning, as in compose"
    "services.*.deploy.resources.reservations.memory" "size"
    "services.*.mem_limit" "size"
    "services.*.mem_reservation" "size"
    "services.*.memswap_limit" "size of memory and swap together, or -1"
    "services.*.cpus" "number"
    "services.*.cpu_shares" "number"
    "services.*.cpuset" "such as `0-1,3`"
    "services.*.pids_limit" "number"
    "services.*.shm_size" "size"
    "services.*.oom_score_adj" "-1000 to 1000"
    "services.*.configs" "names, or the long form"
    "services.*.configs[].source" "config key"
    "services.*.configs[].target" "path; default `/<source>`"
    "services.*.configs[].uid" "no effect on files, as in compose"
    "services.*.configs[].gid" "no effect on files, as in compose"
    "services.*.configs[].mode" "file mode of `content`; no effect on files, as in compose"
    "services.*.secrets" "names, or the long form"
    "services.*.secrets[].source" "secret key"
    "services.*.secrets[].target" "path; default `/run/secrets/<source>`"
    "services.*.secrets[].uid" "no effect, as in compose"
    "services.*.secrets[].gid" "no effect, as in compose"
    "services.*.secrets[].mode" "no effect, as in compose"
    "services.*.extra_hosts" "map or list of host and address; `host-gateway`"
    "services.*.extra_hosts.*" "IP address or `host-gateway`"
    "services.*.dns" "address or list"
    "services.*.dns_search" "domain or list"
    "services.*.dns_opt" "list"
    "services.*.pid" "`service:x`; host only if policy permits"
    "services.*.ipc" "private, shareable, none, `service:x`; host only if policy permits"
    "services.*.stdin_open" "boolean"
    "services.*.tty" "boolean"
    "services.*.platform" "`os/arch[/variant]`"
    "services.*.pull_policy" "missing, if_not_present; always has no effect"
    "services.*.scale" "1"
    "services.*.profiles" "a service whose profiles are not in COMPOSE_PROFILES is dropped"
    "networks" "at most 64 used"
    "networks.*" ""
    "networks.*.name" "explicit name"
    "networks.*.external" "must exist already"
    "networks.*.external.name" "deprecated"
    "networks.*.driver" "bridge"
    "networks.*.driver_opts" ""
    "networks.*.driver_opts.*" "string or number"
    "networks.*.internal" "boolean"
    "networks.*.attachable" "boolean"
    "networks.*.enable_ipv6" "boolean"
    "networks.*.labels" "map or list"
    "networks.*.labels.*" "string, number, boolean or nothing"
    "networks.*.ipam" ""
    "networks.*.ipam.driver" "default"
    "networks.*.ipam.config" ""
    "networks.*.ipam.config[].subnet" "CIDR"
    "networks.*.ipam.config[].gateway" "address"
    "networks.*.ipam.config[].ip_range" "CIDR"
    "volumes" "at most 64 used"
    "volumes.*" ""
    "volumes.*.name" "explicit name"
    "volumes.*.external" "must exist already"
    "volumes.*.external.name" "deprecated"
    "volumes.*.driver" "local"
    "volumes.*.driver_opts" ""
    "volumes.*.driver_opts.type" "tmpfs, nfs, nfs4; none only for a permitted bind"
    "volumes.*.driver_opts.o" "mount options"
    "volumes.*.driver_opts.device" "what is mounted"
    "volumes.*.labels" "map or list"
    "volumes.*.labels.*" "string, number, boolean or nothing"
    "configs" ""
    "configs.*" ""
    "configs.*.name" "no effect"
    "configs.*.labels" "no effect"
    "configs.*.labels.*" "no effect"
    "configs.*.file" "path inside the archive"
    "configs.*.content" "the content itself"
    "secrets" ""
    "secrets.*" ""
    "secrets.*.name" "no effect"
    "secrets.*.labels" "no effect"
    "secrets.*.labels.*" "no effect"
    "secrets.*.file" "absolute host path below the policy's bind roots; never in the archive"
};

macro_rules! refused {
    ($($path:literal $kind:ident $why:literal)*) => {
        &[$(Refused { path: $path, kind: ProblemKind::$kind, why: $why }),*]
    };
}

static REFUSED: &[Refused] = refused! {
    "include" Unsupported "put everything into one file"
    "services.*.build" Unsupported "this device builds no images: push one and name it in `image`"
    "services.*.develop" Unsupported "for development only: remove it"
    "services.*.extends" Unsupported "write the service out, or use a YAML anchor and `<<`"
    "services.*.deploy.restart_policy" Unsupported "use `restart`"
    "services.*.uts" NotPermitted "the host's UTS namespace is not given away: remove it"
    "services.*.userns_mode" NotPermitted "the host's user namespace is not given away: remove it"
    "services.*.cgroup" NotPermitted "the control group namespace is the engine's: remove it"
    "services.*.cgroup_parent" NotPermitted "the control group is the engine's: remove it"
    "services.*.device_cgroup_rules" NotPermitted "use `devices`"
    "services.*.volumes_from" Unsupported "name the volumes of both services"
    "services.*.links" Unsupported "services reach each other by name; use `networks` with `aliases`"
    "services.*.external_links" Unsupported "use an external network"
    "services.*.oom_kill_disable" Unsupported "use `oom_score_adj`"
    "configs.*.external" Unsupported "use `file` or `content`"
    "configs.*.environment" Unsupported "use `content` with `${NAME}`"
    "secrets.*.external" Unsupported "use `file` with a host path"
    "secrets.*.environment" Unsupported "a secret in a parameter would be in the desired state: use `file` with a host path"
};

fn is_accepted(path: &str) -> bool {
    KEYS.iter().any(|key| key.path == path)
}

fn has_keys_below(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Notes every key of the file that is not accepted. What lies below one is not looked at.
pub(super) fn check_keys(root: &Cursor<'_>, report: &mut Report) {
    walk(root, "", report, &mut |_| {});
}

/// The paths, in the table's syntax, of all keys of a tree.
#[cfg(test)]
pub(super) fn keys_used(root: &Cursor<'_>) -> std::collections::BTreeSet<String> {
    let mut out = std::collections::BTreeSet::new();
    walk(root, "", &mut Report::default(), &mut |path| {
        out.insert(path.to_owned());
    });
    out
}

fn walk(at: &Cursor<'_>, pattern: &str, report: &mut Report, seen: &mut dyn FnMut(&str)) {
    match &at.node.value {
        Value::Map(_) => {
            // A map where none is expected is for the reader of that key to complain about.
            if !pattern.is_empty() && !has_keys_below(pattern) {
                return;
            }
            let join = |key: &str| {
                if pattern.is_empty() { key.to_owned() } else { format!("{pattern}.{key}") }
            };
            let is_free = !pattern.is_empty() && is_accepted(&join("*"));
            for (key, child) in at.entries() {
                let path = if is_free { join("*") } else { join(key) };
                if !is_free && key.starts_with("x-") {
                    continue;
                }
                if is_accepted(&path) {
                    seen(&path);
                    walk(&child, &path, report, seen);
                } else {
                    refuse(&child, &path, report);
                }
            }
        }
        Value::Seq(_) => {
            for item in at.items() {
                walk(&item, &format!("{pattern}[]"), report, seen);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}

fn refuse(at: &Cursor<'_>, pattern: &str, report: &mut Report) {
    match REFUSED.iter().find(|refused| refused.path == pattern) {
        Some(Refused { kind: ProblemKind::NotPermitted, why, .. }) => {
            report.not_permitted(at, *why);
        }
        Some(Refused { why, .. }) => report.unsupported(at, *why),
        None => report.unsupported(at, "this device does not know this key: remove it"),
    }
}

/// The table as Markdown, as it stands in `README.md` and in `margoctl check-app --list-keys`.
pub fn keys_as_markdown() -> String {
    let mut out = String::from("| key | accepted |\n| --- | --- |\n");
    for key in KEYS {
        let note = if key.note.is_empty() { "as below" } else { key.note };
        out.push_str(&format!("| `{}` | {} |\n", key.path, note.replace('|', "\\|")));
    }
    out
}

/// The refusals with a reason of their own, as Markdown.
#[cfg(test)]
fn refusals_as_markdown() -> String {
    let mut out = String::from("| key | instead |\n| --- | --- |\n");
    for refused in REFUSED {
        out.push_str(&format!("| `{}` | {} |\n", refused.path, refused.why));
    }
    out
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
