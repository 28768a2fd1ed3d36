//! The table of all keys: the only place that knows their names, types, ranges, defaults and meaning.
//!
//! Parsing, `Settings`, the effective configuration and the shipped `10-defaults.toml` all follow it.

use super::choices::{
    FirmwareMode, FirstBoot, InterfaceType, LogLevel, Mismatch, OtlpProtocol, PartialFailure,
    PeripheralType, Restore, Transfer, VolumesOnRemoval,
};
use super::rules::Rule;

/// Most elements of one list (I11).
pub(super) const LIST_LEN_MAX: usize = 256;

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    Integer {
        min: u64,
        max: u64,
    },
    /// Integer or float.
    Number {
        min: f64,
        max: f64,
    },
    Text(Rule),
    TextList(Rule),
    /// A table of free names: text, number, boolean, or a list of texts or of numbers (R109).
    Labels,
    /// A list of tables with these keys.
    Tables(&'static [Key]),
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted path; inside [`Kind::Tables`] just the name.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) value: Preset,
    /// What it is for, in one or two lines.
    pub(super) doc: &'static str,
}

/// The value a key has when nobody sets it, as TOML.
#[derive(Clone, Copy, Debug)]
pub(super) enum Preset {
    /// A default.
    Default(&'static str),
    /// No value; an example for the shipped file.
    Unset(&'static str),
    /// No value, and the table in which it stands needs one.
    Required(&'static str),
}

const fn key(path: &'static str, kind: Kind, value: Preset, doc: &'static str) -> Key {
    Key { path, kind, value, doc }
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

use Kind::{Bool, Labels, Number, Tables, Text, TextList};
use Preset::{Default, Required, Unset};

/// Key of the tables that override one another by host.
pub(super) const REGISTRY: &str = "registry";
pub(super) const LABELS: &str = "device.labels";

const PERIPHERAL_KEYS: &[Key] = &[
    key("type", Text(Rule::Choice(PeripheralType::WORDS)), Required("\"camera\""), "Kind."),
    key("manufacturer", Text(Rule::Any), Unset("\"Acme\""), "Maker."),
    key("model", Text(Rule::Any), Unset("\"C-1\""), "Model."),
];

const REGISTRY_KEYS: &[Key] = &[
    key(
        "host",
        Text(Rule::RegistryHost),
        Required("\"registry.example.com\""),
        "Host, with port if any, as it stands in image and archive references.",
    ),
    key("username", Text(Rule::Any), Unset("\"device\""), "User name."),
    key(
        "password_file",
        Text(Rule::AbsolutePath),
        Unset("\"/etc/margo-agent/registry.password\""),
        "File with the password or token, readable by root only.",
    ),
    key(
        "insecure",
        Bool,
        Default("false"),
        "Plain HTTP instead of TLS. Only for a trusted network.",
    ),
    key(
        "ca_file",
        Text(Rule::AbsolutePath),
        Unset("\"/etc/margo-agent/registry-ca.pem\""),
        "PEM file of the authority that signed the registry's certificate.",
    ),
];

/// All keys, in the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    key(
        "device.id",
        Text(Rule::DeviceId),
        Unset("\"line3/press-07\""),
        "Device id given to the fleet manager. Default: made from the machine id.",
    ),
    key(
        "device.vendor",
        Text(Rule::Any),
        Unset("\"Acme\""),
        "Vendor. Default: what the firmware says (DMI or device tree).",
    ),
    key(
        "device.model_number",
        Text(Rule::Any),
        Unset("\"EC-100\""),
        "Model number. Default: what the firmware says.",
    ),
    key(
        "device.serial_number",
        Text(Rule::Any),
        Unset("\"0042\""),
        "Serial number. Default: what the firmware says, else made from the machine id.",
    ),
    key(
        LABELS,
        Labels,
        Unset("{ \"example.com/site\" = \"north\" }"),
        "Labels reported with the capabilities: text, number, boolean, or a list of texts or of numbers.",
    ),
    key(
        "device.otel_collector",
        Bool,
        Default("false"),
        "An OpenTelemetry collector runs on this device. Devices that host workloads must have one.",
    ),
    key(
        "device.otel_http_endpoint",
        Text(Rule::HttpUrl),
        Unset("\"http://172.17.0.1:4318\""),
        "OTLP over HTTP, as workloads reach it. Given to every container.",
    ),
    key(
        "device.otel_grpc_endpoint",
        Text(Rule::HttpUrl),
        Unset("\"http://172.17.0.1:4317\""),
        "OTLP over gRPC, as workloads reach it. Given to every container.",
    ),
    key(
        "device.otel_certificate",
        Text(Rule::AbsolutePath),
        Unset("\"/etc/otel/ca.pem\""),
        "PEM file that workloads need to trust the collector.",
    ),
    key(
        "device.otel_protocol",
        Text(Rule::Choice(OtlpProtocol::WORDS)),
        Unset("\"http/protobuf\""),
        "Protocol workloads are told to use.",
    ),
    key(
        "device.peripherals",
        Tables(PERIPHERAL_KEYS),
        Default("[]"),
        "Peripherals that workloads may use.",
    ),
    key(
        "device.interfaces",
        TextList(Rule::Choice(InterfaceType::WORDS)),
        Default("[\"ethernet\"]"),
        "Interfaces that workloads may use.",
    ),
    key(
        "device.cpu_cores",
        Number { min: 0.01, max: 4096.0 },
        Unset("2"),
        "Cores of this device that are Margo's alone. Default: all.",
    ),
    key(
        "device.memory",
        Text(Rule::Quantity),
        Unset("\"2Gi\""),
        "Memory of this device that is Margo's alone. Default: all.",
    ),
    key(
        "device.storage",
        Text(Rule::Quantity),
        Unset("\"16Gi\""),
        "Storage of this device that is Margo's alone. Default: the file system with the state.",
    ),
    key(
        "wfm.url",
        Text(Rule::HttpsUrl),
        Unset("\"https://wfm.example.com\""),
        "The fleet manager. Without it the device stays unprovisioned and runs what it has.",
    ),
    key(
        "wfm.identity_dir",
        Text(Rule::AbsolutePath),
        Default("\"/etc/margo-agent/identity\""),
        "Directory with svid.pem, svid.key and bundle.json.",
    ),
    key(
        "wfm.poll_interval_secs",
        integer(1, 86_400),
        Default("60"),
        "Seconds between two polls of the desired state.",
    ),
    key(
        "wfm.poll_hours",
        TextList(Rule::DailyRange),
        Default("[]"),
        "Hours of the day (UTC) in which the device polls. Empty: always.",
    ),
    key(
        "wfm.downtime",
        TextList(Rule::DailyRange),
        Default("[]"),
        "Hours of the day (UTC) in which nothing is sent and failing connections are no error.",
    ),
    key(
        "wfm.connect_timeout_secs",
        integer(1, 300),
        Default("10"),
        "Seconds until a connection must stand.",
    ),
    key(
        "wfm.request_timeout_secs",
        integer(1, 3600),
        Default("60"),
        "Seconds until a request must be answered in full.",
    ),
    key(
        "wfm.connection_age_max_secs",
        integer(10, 86_400),
        Default("3600"),
        "Seconds after which a connection is closed, so that trust is checked anew.",
    ),
    key(
        "behaviour.first_boot",
        Text(Rule::Choice(FirstBoot::WORDS)),
        Default("\"await\""),
        "A device that never received a desired state waits for it (await), or runs the one in the image\n\
         until then (preload).",
    ),
    key(
        "behaviour.restore",
        Text(Rule::Choice(Restore::WORDS)),
        Default("\"auto\""),
        "After a reboot the last desired state is restored without network (auto), or after the fleet\n\
         manager answered (wait-for-wfm).",
    ),
    key(
        "behaviour.partial_failure",
        Text(Rule::Choice(PartialFailure::WORDS)),
        Default("\"keep\""),
        "When only a part could be applied: keep what works (keep), take the failed deployment back\n\
         (rollback), or take all of them back (all-or-nothing).",
    ),
    key(
        "behaviour.mismatch",
        Text(Rule::Choice(Mismatch::WORDS)),
        Default("\"reconcile\""),
        "When what runs differs from what is desired: bring it back (reconcile), or only say so (report).",
    ),
    key(
        "behaviour.volumes_on_removal",
        Text(Rule::Choice(VolumesOnRemoval::WORDS)),
        Default("\"keep\""),
        "Named volumes of a removed deployment stay (keep) or go (delete).",
    ),
    key(
        "retry.initial_ms",
        integer(10, 3_600_000),
        Default("2000"),
        "Milliseconds before the first retry; doubled with each further one.",
    ),
    key(
        "retry.max_ms",
        integer(10, 86_400_000),
        Default("600000"),
        "Longest time between two retries, in milliseconds. Retries never end.",
    ),
    key(
        "retry.jitter_percent",
        integer(0, 100),
        Default("20"),
        "Percent of a delay that is left to chance, so that a fleet does not retry in step.",
    ),
    key(
        "retry.mismatch_retries_max",
        integer(0, 1000),
        Default("5"),
        "Attempts to bring back a mismatch at short delays; after that only at the longest one.",
    ),
    key(
        "retry.component_timeout_default_secs",
        integer(1, 86_400),
        Default("300"),
        "Seconds a component has to come up when its deployment does not say.",
    ),
    key("retry.jobs_max", integer(1, 64), Default("8"), "Deployments worked on at the same time."),
    key(
        "retry.observe_interval_secs",
        integer(1, 86_400),
        Default("30"),
        "Seconds between two looks at all containers, beside the engine's own events.",
    ),
    key(
        "engine.socket",
        Text(Rule::AbsolutePath),
        Default("\"/var/run/docker.sock\""),
        "Socket of the container engine.",
    ),
    key(
        "engine.host_policy.bind_roots",
        TextList(Rule::AbsolutePath),
        Default("[]"),
        "Directories under which applications may mount host paths.",
    ),
    key(
        "engine.host_policy.privileged",
        Bool,
        Default("false"),
        "Applications may run privileged containers.",
    ),
    key(
        "engine.host_policy.host_namespaces",
        Bool,
        Default("false"),
        "Applications may share the host's network, process and other namespaces.",
    ),
    key(
        "engine.host_policy.devices",
        TextList(Rule::DevicePrefix),
        Default("[]"),
        "Prefixes of device paths that applications may use, like \"/dev/ttyUSB\".",
    ),
    key(
        "engine.host_policy.capabilities",
        TextList(Rule::Capability),
        Default("[]"),
        "Capabilities beyond the engine's defaults that applications may add, like \"NET_ADMIN\".",
    ),
    key(
        "engine.host_policy.unconfined",
        Bool,
        Default("false"),
        "Applications may switch off seccomp, AppArmor or labels.",
    ),
    key(
        "firmware.mode",
        Text(Rule::Choice(FirmwareMode::WORDS)),
        Default("\"auto\""),
        "This agent updates the firmware: if the boot loader chose between slots (auto), always (on), or\n\
         never (off).",
    ),
    key(
        "firmware.transfer",
        Text(Rule::Choice(Transfer::WORDS)),
        Default("\"auto\""),
        "Bundles are read from the registry while they are installed (stream), downloaded first (stage), or\n\
         streamed where possible (auto).",
    ),
    key(
        "firmware.downgrade",
        Bool,
        Default("false"),
        "An older version than the running one may be installed.",
    ),
    key(
        "firmware.hours",
        TextList(Rule::DailyRange),
        Default("[]"),
        "Hours of the day (UTC) in which an installation, and with it the restart, may begin. Empty: always.",
    ),
    key(
        "firmware.trial_timeout_secs",
        integer(30, 86_400),
        Default("480"),
        "Seconds from the boot until a trial that was not committed is left. Keep it below the guard's time.",
    ),
    key(
        "firmware.healthy_window_secs",
        integer(1, 86_400),
        Default("60"),
        "Seconds for which everything must be healthy without a break before a trial is committed.",
    ),
    key(
        "firmware.check_interval_secs",
        integer(1, 3600),
        Default("5"),
        "Seconds between two looks at the system during a trial.",
    ),
    key(
        "firmware.require_system_running",
        Bool,
        Default("true"),
        "A trial needs a system with no failed units (`systemctl is-system-running`).",
    ),
    key(
        "firmware.require_wfm",
        Bool,
        Default("false"),
        "A trial needs an answer of the fleet manager. Leave it off if the network may be away for long.",
    ),
    key(
        "firmware.health_check_timeout_secs",
        integer(1, 3600),
        Default("30"),
        "Seconds one program in /etc/margo/health.d/required.d or wanted.d may take.",
    ),
    key(
        REGISTRY,
        Tables(REGISTRY_KEYS),
        Default("[]"),
        "Registries that need credentials or an own authority. Files add to one another; the same host in\n\
         a later file replaces the earlier one.",
    ),
    key(
        "paths.state_dir",
        Text(Rule::AbsolutePath),
        Default("\"/var/lib/margo-agent\""),
        "Durable state and artifacts. Must be on storage that survives updates.",
    ),
    key(
        "paths.runtime_dir",
        Text(Rule::AbsolutePath),
        Default("\"/run/margo-agent\""),
        "Control socket.",
    ),
    key(
        "paths.preload_dir",
        Text(Rule::AbsolutePath),
        Default("\"/usr/share/margo-agent/preload\""),
        "Desired state that ships in the image.",
    ),
    key(
        "local_api.group",
        Text(Rule::Group),
        Default("\"margo\""),
        "Group whose members may use margoctl.",
    ),
    key(
        "limits.manifest_size_bytes_max",
        integer(1024, 64 << 20),
        Default("4194304"),
        "Largest state manifest.",
    ),
    key(
        "limits.deployment_size_bytes_max",
        integer(1024, 64 << 20),
        Default("1048576"),
        "Largest deployment document.",
    ),
    key(
        "limits.bundle_size_bytes_max",
        integer(1024, 1 << 30),
        Default("16777216"),
        "Largest bundle of deployment documents.",
    ),
    key(
        "limits.archive_size_bytes_max",
        integer(1024, 16 << 30),
        Default("67108864"),
        "Largest compose archive, as it is pulled.",
    ),
    key(
        "limits.archive_unpacked_size_bytes_max",
        integer(1024, 64 << 30),
        Default("268435456"),
        "Largest compose archive, unpacked.",
    ),
    key(
        "limits.archive_entries_max",
        integer(1, 1_000_000),
        Default("4096"),
        "Most entries of a compose archive.",
    ),
    key(
        "limits.firmware_size_bytes_max",
        integer(1024, 1 << 40),
        Default("4294967296"),
        "Largest firmware bundle.",
    ),
    key(
        "limits.compose_file_size_bytes_max",
        integer(1024, 16 << 20),
        Default("1048576"),
        "Largest compose file.",
    ),
    key(
        "log.level",
        Text(Rule::Choice(LogLevel::WORDS)),
        Default("\"info\""),
        "How much is logged. MARGO_LOG in the environment overrides it.",
    ),
];

/// The key with this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether `path` is a table that holds keys.
pub(super) fn is_table(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The nearest of the known names at the same place, if one is near enough to be a slip.
pub(super) fn suggestion(path: &str) -> Option<String> {
    let depth = path.split('.').count();
    let mut candidates: Vec<String> = KEYS
        .iter()
        .filter_map(|key| {
            let parts: Vec<_> = key.path.split('.').take(depth).collect();
            (parts.len() == depth).then(|| parts.join("."))
        })
        .collect();
    candidates.dedup();
    nearest(path, candidates.iter().map(String::as_str))
}

/// The nearest of `candidates` to `name`, if it differs in at most a third of its letters.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, candidate) =
        candidates.map(|candidate| (edit_distance(name, candidate), candidate)).min()?;
    (distance.saturating_mul(3) <= name.chars().count()).then(|| candidate.to_owned())
}

/// Edits from one name to the other; two letters swapped count as one. Names are short, and a longer one than
/// that is no slip.
fn edit_distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 128;
    let a: Vec<char> = a.chars().take(CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    // `rows[i][j]`: distance of the first i letters of a from the first j of b.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(usize::MAX)
    };
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, to) in b.iter().enumerate() {
            let left = row.last().copied().unwrap_or_default().saturating_add(1);
            let above = at(&rows, i, j.saturating_add(1)).saturating_add(1);
            let replaced = at(&rows, i, j).saturating_add(usize::from(from != to));
            let mut best = left.min(above).min(replaced);
            if let (Some(i1), Some(j1)) = (i.checked_sub(1), j.checked_sub(1))
                && a.get(i1) == Some(to)
                && b.get(j1) == Some(from)
            {
                best = best.min(at(&rows, i1, j1).saturating_add(1));
            }
            row.push(best);
        }
        rows.push(row);
    }
    at(&rows, a.len(), b.len())
}
