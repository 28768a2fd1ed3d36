//! Tests of the configuration: precedence, every kind of mistake with its exact message, defaults, origins.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const USR: &str = "usr/lib/margo-agent/config.d";
const RUN: &str = "run/margo-agent/config.d";
const ETC: &str = "etc/margo-agent/config.d";

struct Root(TempDir);

impl Root {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn load(&self) -> Result<Settings, ConfigErrors> {
        Sources::under(self.0.path()).load()
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The messages, without the root in front of the paths.
    fn errors(&self) -> Vec<String> {
        let prefix = format!("{}/", self.0.path().display());
        let errors = self.load().expect_err("the configuration is wrong").0;
        errors.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
    }
}

/// The messages for one file `/etc/…/50.toml`.
fn errors_of(text: &str) -> Vec<String> {
    let errors = Root::new().with(&format!("{ETC}/50.toml"), text).errors();
    errors.iter().map(|error| error.replace(&format!("{ETC}/"), "")).collect()
}

#[test]
fn nothing_at_all_is_a_valid_configuration() {
    let settings = Root::new().settings();
    assert_eq!(settings.wfm.url, None);
    assert_eq!(settings.wfm.poll_interval_secs, 60);
    assert_eq!(settings.behaviour.first_boot, FirstBoot::Await);
    assert_eq!(settings.behaviour.restore, Restore::Auto);
    assert_eq!(settings.behaviour.partial_failure, PartialFailure::Keep);
    assert_eq!(settings.behaviour.mismatch, Mismatch::Reconcile);
    assert_eq!(settings.engine.host_policy, crate::compose::model::HostPolicy::default());
    assert_eq!(settings.paths.state_dir, Path::new("/var/lib/margo-agent"));
    assert_eq!(settings.device.vendor, "unknown");
    assert_eq!(settings.log_level, LogLevel::Info);
}

#[test]
fn files_are_merged_in_the_order_of_their_names_whatever_the_directory() {
    let root = Root::new()
        .with(&format!("{ETC}/10-a.toml"), "[wfm]\npoll_interval_secs = 10\nurl = \"https://a\"")
        .with(&format!("{USR}/20-b.toml"), "[wfm]\npoll_interval_secs = 20")
        .with(
            &format!("{RUN}/15-c.toml"),
            "[wfm]\npoll_interval_secs = 15\nconnect_timeout_secs = 3",
        );
    let wfm = root.settings().wfm;
    assert_eq!((wfm.poll_interval_secs, wfm.connect_timeout_secs), (20, 3));
    assert_eq!(wfm.url.as_deref(), Some("https://a"));
}

#[test]
fn a_file_replaces_the_one_with_its_name_in_a_lower_directory() {
    let root = Root::new()
        .with(
            &format!("{USR}/10-a.toml"),
            "[wfm]\npoll_interval_secs = 10\nconnect_timeout_secs = 3",
        )
        .with(&format!("{RUN}/10-a.toml"), "[wfm]\npoll_interval_secs = 11");
    let wfm = root.settings().wfm;
    assert_eq!((wfm.poll_interval_secs, wfm.connect_timeout_secs), (11, 10));
}

#[test]
fn a_link_to_dev_null_masks_and_other_files_are_not_read() {
    let root = Root::new()
        .with(&format!("{USR}/10-a.toml"), "[wfm]\npoll_interval_secs = 10")
        .with(&format!("{USR}/10-a.toml.bak"), "nonsense")
        .with(&format!("{USR}/.hidden.toml"), "nonsense")
        .with(&format!("{ETC}/keep"), "");
    symlink("/dev/null", root.0.path().join(ETC).join("10-a.toml")).unwrap();
    assert_eq!(root.settings().wfm.poll_interval_secs, 60);
}

#[test]
fn labels_and_registries_add_up() {
    let root = Root::new()
        .with(&format!("{USR}/10.toml"), "[device.labels]\n\"acme.com/site\" = \"north\"\nlines = [1, 2]\n[[registry]]\nhost = \"a\"\ninsecure = true\n[[registry]]\nhost = \"b:5000\"\n")
        .with(&format!("{ETC}/20.toml"), "[device]\nlabels.\"acme.com/site\" = \"south\"\n[[registry]]\nhost = \"a\"\nusername = \"u\"\npassword_file = \"/p\"\n");
    let settings = root.settings();
    let labels = serde_json::to_value(&settings.device.labels).unwrap();
    assert_eq!(labels, serde_json::json!({ "acme.com/site": "south", "lines": [1, 2] }));
    let hosts: Vec<_> = settings.registries.iter().map(|r| (r.host.as_str(), r.insecure)).collect();
    assert_eq!(hosts, [("a", false), ("b:5000", false)]);
    assert_eq!(settings.registries[0].username.as_deref(), Some("u"));
}

#[test]
fn everything_can_be_set() {
    let text = r#"
[device]
id = "line3/press-07"
vendor = "Acme"
otel_collector = true
otel_http_endpoint = "http://172.17.0.1:4318"
otel_protocol = "grpc"
peripherals = [{ type = "camera", model = "C-1" }]
interfaces = ["canbus", "rs232"]
cpu_cores = 1.5
memory = "512Mi"
[wfm]
url = "https://wfm.example.com:8443/margo"
poll_hours = ["22:00-06:00", "12:00-24:00"]
[behaviour]
partial_failure = "all-or-nothing"
[engine.host_policy]
bind_roots = ["/srv/data"]
devices = ["/dev/ttyUSB"]
capabilities = ["NET_ADMIN"]
[log]
level = "debug"
"#;
    let settings = Root::new().with(&format!("{ETC}/50.toml"), text).settings();
    assert_eq!(settings.device.id, "line3/press-07");
    assert_eq!(settings.device.otel.protocol, Some(OtlpProtocol::Grpc));
    assert_eq!(settings.device.peripherals[0].kind, PeripheralType::Camera);
    assert_eq!(settings.device.interfaces, [InterfaceType::Canbus, InterfaceType::Rs232]);
    assert_eq!(settings.device.cpu_cores, Some(1.5));
    assert_eq!(settings.wfm.poll_hours[0], DailyRange { start_minute: 1320, end_minute: 360 });
    assert_eq!(settings.behaviour.partial_failure, PartialFailure::AllOrNothing);
    assert_eq!(settings.engine.host_policy.bind_roots, [Path::new("/srv/data")]);
    assert_eq!(settings.log_level, LogLevel::Debug);
}

#[test]
fn each_mistake_is_told_with_file_line_and_key() {
    let cases = [
        (
            "[wfm]\npoll_intervall_secs = 1",
            "50.toml:2: unknown key wfm.poll_intervall_secs; did you mean wfm.poll_interval_secs?",
        ),
        ("\n[wmf]\nurl = \"https://x\"", "50.toml:2: unknown key wmf; did you mean wfm?"),
        ("[wfm]\ncolour = 1", "50.toml:2: unknown key wfm.colour"),
        ("wfm = 1", "50.toml:1: wfm must be a table, not an integer"),
        (
            "[wfm]\npoll_interval_secs = \"60\"",
            "50.toml:2: wfm.poll_interval_secs must be an integer, 1 to 86400, not a text",
        ),
        (
            "[wfm]\npoll_interval_secs = 0",
            "50.toml:2: wfm.poll_interval_secs is 0, but must be 1 to 86400",
        ),
        (
            "[wfm]\npoll_interval_secs = -5",
            "50.toml:2: wfm.poll_interval_secs is -5, but must be 1 to 86400",
        ),
        (
            "[wfm]\npoll_interval_secs = 99999999999999999999",
            "50.toml:2: wfm.poll_interval_secs is \"99999999999999999999\", but must be 1 to 86400",
        ),
        (
            "[wfm]\nurl = \"http://wfm\"",
            "50.toml:2: wfm.url is \"http://wfm\": it must be a URL like \"https://wfm.example.com\"",
        ),
        (
            "[wfm]\nurl = \"https://me:secret@wfm\"",
            "50.toml:2: wfm.url is \"(not shown)\": it must be a URL like \"https://wfm.example.com\"",
        ),
        ("[wfm]\nurl = \"\"", "50.toml:2: wfm.url is \"\": it must not be empty"),
        (
            "[wfm]\npoll_hours = [\n\"08:00-12:00\",\n\"25:00-26:00\"]",
            "50.toml:4: wfm.poll_hours[1] is \"25:00-26:00\": it must be a time range like \"22:00-06:00\" (UTC)",
        ),
        (
            "[wfm]\ndowntime = \"08:00-12:00\"",
            "50.toml:2: wfm.downtime must be a list of texts, not a text",
        ),
        ("[wfm]\ndowntime = [8]", "50.toml:2: wfm.downtime[0] must be a text, not an integer"),
        (
            "[wfm]\nidentity_dir = \"identity\"",
            "50.toml:2: wfm.identity_dir is \"identity\": it must be an absolute path without '..'",
        ),
        (
            "[device]\nid = \"a//b\"",
            "50.toml:2: device.id is \"a//b\": it must be made of letters, digits and \".\", \"_\", \"~\", \"-\", with \"/\" between parts",
        ),
        (
            "[device]\nmemory = \"2GB\"",
            "50.toml:2: device.memory is \"2GB\": it must be a size like \"16Gi\" (Ki, Mi, Gi, Ti, Pi or Ei)",
        ),
        ("[device]\ncpu_cores = 0", "50.toml:2: device.cpu_cores is 0, but must be 0.01 to 4096"),
        (
            "[device]\notel_collector = 1",
            "50.toml:2: device.otel_collector must be true or false, not an integer",
        ),
        (
            "[device]\notel_collector = true",
            "50.toml:2: device.otel_collector is true, so device.otel_http_endpoint must be set: workloads are told where the collector is",
        ),
        (
            "[device.labels]\na = { b = 1 }",
            "50.toml:2: device.labels.a must be a text, number, boolean, or a list of texts or of numbers, not a table",
        ),
        (
            "[device.labels]\na = [1, \"x\"]",
            "50.toml:2: device.labels.a must be a text, number, boolean, or a list of texts or of numbers, not a list",
        ),
        (
            "[device]\nperipherals = [{ model = \"x\" }]",
            "50.toml:2: device.peripherals[0].type is missing",
        ),
        (
            "[behaviour]\nrestore = \"wait-for-wmf\"",
            "50.toml:2: behaviour.restore is \"wait-for-wmf\": it must be one of \"auto\", \"wait-for-wfm\"; did you mean \"wait-for-wfm\"?",
        ),
        (
            "[retry]\ninitial_ms = 900000",
            "50.toml:2: retry.initial_ms (900000) must not be above retry.max_ms (600000)",
        ),
        (
            "[engine.host_policy]\ncapabilities = [\"CAP_NET_ADMIN\"]",
            "50.toml:2: engine.host_policy.capabilities[0] is \"CAP_NET_ADMIN\": it must be a capability like \"NET_ADMIN\" (without \"CAP_\"), or \"ALL\"",
        ),
        (
            "[engine.host_policy]\ndevices = [\"/etc\"]",
            "50.toml:2: engine.host_policy.devices[0] is \"/etc\": it must be a path prefix under /dev/",
        ),
        ("[[registry]]\ninsecure = true", "50.toml:1: registry[0].host is missing"),
        (
            "[[registry]]\nhost = \"a\"\npasword_file = \"/x\"",
            "50.toml:3: unknown key registry[0].pasword_file; did you mean password_file?",
        ),
        (
            "[[registry]]\nhost = \"https://a\"",
            "50.toml:2: registry[0].host is \"https://a\": it must be a host like \"registry.example.com:5000\"",
        ),
        (
            "[[registry]]\nhost = \"a\"\nusername = \"u\"",
            "50.toml:1: registry a: username and password_file go together",
        ),
        (
            "[[registry]]\nhost = \"a\"\ninsecure = true\nca_file = \"/x\"",
            "50.toml:1: registry a: ca_file has no meaning when insecure is true",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "50.toml:2: log.level is \"loud\": it must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        (
            "[local_api]\ngroup = \"a b\"",
            "50.toml:2: local_api.group is \"a b\": it must be the name of a group",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors_of(text), [expected], "{text}");
    }
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    for (text, line) in [("[wfm]\nurl =", "50.toml:2: "), ("a = 1\na = 2", "50.toml:2: ")] {
        let errors = errors_of(text);
        assert!(errors[0].starts_with(&format!("{line}not valid TOML: ")), "{errors:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_but_not_without_end() {
    let two = errors_of("[wfm]\nurl = 1\npoll_interval_secs = 0\n");
    assert_eq!(two.len(), 2, "{two:?}");
    let many: String = (0..50).map(|n| format!("unknown{n} = 1\n")).collect();
    assert_eq!(errors_of(&many).len(), 20);
}

#[test]
fn files_have_limits() {
    let root = Root::new().with(&format!("{ETC}/a.toml"), &"#".repeat(256 * 1024 + 1));
    assert_eq!(root.errors(), [format!("{ETC}/a.toml is larger than 262144 bytes")]);
    let root = (0..129).fold(Root::new(), |root, n| root.with(&format!("{RUN}/{n}.toml"), ""));
    assert_eq!(root.errors(), [format!("{RUN} holds more than 128 fragments")]);
    let many = format!("[wfm]\npoll_hours = [{}]", "\"08:00-12:00\",".repeat(257));
    assert_eq!(errors_of(&many), ["50.toml:2: wfm.poll_hours has more than 256 elements"]);
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let root = Root::new();
    fs::create_dir_all(root.0.path().join(ETC).join("50.toml")).unwrap();
    assert_eq!(root.errors(), [format!("cannot read {ETC}/50.toml")]);
}

#[test]
fn identity_comes_from_the_firmware_and_placeholders_do_not_count() {
    let root = Root::new()
        .with("sys/class/dmi/id/sys_vendor", "Acme GmbH\n")
        .with("sys/class/dmi/id/product_name", "EC-100\n")
        .with("sys/class/dmi/id/product_serial", "To be filled by O.E.M.\n")
        .with("proc/device-tree/serial-number", "1000000012345678\0")
        .with("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let device = root.settings().device;
    assert_eq!((device.vendor.as_str(), device.model_number.as_str()), ("Acme GmbH", "EC-100"));
    assert_eq!(device.serial_number, "1000000012345678");
    assert!(device.id.starts_with("device-") && device.id.len() == 23, "{}", device.id);
    assert!(!device.id.contains("0123456789abcdef"), "the machine id is not for others to know");
    assert_eq!(root.settings().device.id, device.id);
}

#[test]
fn identity_comes_from_the_device_tree_where_there_is_no_dmi() {
    let root = Root::new()
        .with("proc/device-tree/compatible", "acme,ec100\0brcm,bcm2711\0")
        .with("proc/device-tree/model", "Acme EC-100 Rev 1\0");
    let device = root.settings().device;
    assert_eq!(
        (device.vendor.as_str(), device.model_number.as_str()),
        ("acme", "Acme EC-100 Rev 1")
    );
}

#[test]
fn the_effective_configuration_names_origins_and_reads_back_the_same() {
    let text = "[wfm]\nurl = \"https://wfm\"\n[device.labels]\n\"a.b/c\\\"d\" = [1, 2]\nplain = true\n\
                [[registry]]\nhost = \"a\"\n[[registry]]\nhost = \"b\"\nusername = \"u\"\npassword_file = \"/p\"\n";
    let root = Root::new().with(&format!("{ETC}/50.toml"), text);
    let settings = root.settings();
    let effective = settings.effective_toml();
    let file = root.0.path().join(ETC).join("50.toml");
    assert!(
        effective.contains(&format!("url = \"https://wfm\" # {}:2\n", file.display())),
        "{effective}"
    );
    assert!(effective.contains("poll_interval_secs = 60 # default\n"), "{effective}");
    assert!(effective.contains("vendor = \"unknown\" # from this device\n"), "{effective}");
    assert!(effective.contains("# cpu_cores is unset\n"), "{effective}");
    let again = Root::new().with(&format!("{ETC}/50.toml"), &effective).settings();
    assert_eq!(again.device, settings.device);
    assert_eq!(again.wfm, settings.wfm);
    assert_eq!(again.registries, settings.registries);
    assert_eq!(again.limits, settings.limits);
}

#[test]
fn every_key_of_the_table_is_used_once() {
    let effective = Root::new().settings().effective;
    let mut used: Vec<_> = effective.iter().map(|value| value.path.as_str()).collect();
    let mut table: Vec<_> = keys::KEYS.iter().map(|key| key.path).collect();
    // These two appear only when set, once for each entry.
    table.retain(|path| ![keys::LABELS, keys::REGISTRY].contains(path));
    used.sort_unstable();
    table.sort_unstable();
    assert_eq!(used, table);
}

/// The shipped file must say what is compiled in: with its comments taken away it changes nothing.
#[test]
fn the_shipped_defaults_are_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/config.d/10-defaults.toml");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, defaults_toml()).unwrap();
    }
    let shipped = fs::read_to_string(&path).unwrap();
    assert_eq!(shipped, defaults_toml(), "run the tests with UPDATE=1 to write it anew");

    let mut uncommented = String::new();
    let mut is_example = false;
    for line in shipped.lines() {
        let is_value = line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
        if line.starts_with("#[[") {
            break;
        }
        if is_value && !is_example {
            uncommented.push_str(&line[1..]);
        } else if line.starts_with('[') {
            uncommented.push_str(line);
        }
        uncommented.push('\n');
        is_example = line.ends_with("for example:");
    }
    let settings = Root::new().with(&format!("{ETC}/50.toml"), &uncommented).settings();
    let values = |settings: &Settings| {
        let values = settings.effective.iter().map(|v| (v.path.clone(), v.value.clone()));
        values.collect::<Vec<_>>()
    };
    assert_eq!(values(&settings), values(&Root::new().settings()));
    assert!(uncommented.contains("poll_interval_secs = 60"));
}

/// Examples are read by people: they must be right.
#[test]
fn the_examples_of_the_shipped_file_are_valid() {
    let text = defaults_toml();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let settings = Root::new().with(&format!("{ETC}/50.toml"), &uncommented).settings();
    assert_eq!(settings.device.labels["example.com/site"], "north");
}

#[test]
fn daily_ranges_may_run_over_midnight() {
    let range = |text| DailyRange::parse(text).unwrap();
    assert!(range("08:00-12:00").contains(480) && !range("08:00-12:00").contains(720));
    assert!(range("22:00-06:00").contains(0) && range("22:00-06:00").contains(1439));
    assert!(!range("22:00-06:00").contains(360));
    assert!(range("00:00-24:00").contains(0) && range("00:00-24:00").contains(1439));
    for bad in ["8:00-12:00", "08:00", "08:60-09:00", "24:00-01:00", "08:00-08:00", "+8:00-09:00"] {
        assert_eq!(DailyRange::parse(bad), None, "{bad}");
    }
}

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(path)).unwrap()
}

/// The service makes the directories and the group that the defaults name.
#[test]
fn the_shipped_files_agree_with_the_defaults() {
    let settings = Root::new().settings();
    let unit = shipped("systemd/system/margo-agent.service");
    let directive = |name: &str| {
        let prefix = format!("{name}=");
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
        let value = values.next().unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(values.next(), None, "{name} twice");
        value
    };
    let state_dir = Path::new("/var/lib").join(directive("StateDirectory"));
    assert_eq!(settings.paths.state_dir, state_dir);
    let mounts: Vec<&Path> = directive("RequiresMountsFor").split(' ').map(Path::new).collect();
    assert_eq!(mounts, [state_dir.as_path(), settings.wfm.identity_dir.parent().unwrap()]);
    let runtime_dir = Path::new("/run").join(directive("RuntimeDirectory"));
    assert_eq!(settings.paths.runtime_dir, runtime_dir);
    let group = format!("g {} ", settings.local_api.group);
    assert!(shipped("sysusers.d/margo-agent.conf").lines().any(|line| line.starts_with(&group)));
    let identity = format!("d {} 0700 ", settings.wfm.identity_dir.display());
    assert!(shipped("tmpfiles.d/margo-agent.conf").lines().any(|line| line.starts_with(&identity)));
    // I4: restoring must not wait for these.
    for line in unit.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains("network-online") && !line.contains("time-sync"), "{line}");
    }
}

#[test]
fn every_line_of_the_units_has_its_reason() {
    for name in ["margo-agent.service", "margo-provision.service", "margo-provision-drive@.service"]
    {
        let unit = shipped(&format!("systemd/system/{name}"));
        let mut above = "";
        for line in unit.lines() {
            let (directive, _) = line.split_once('=').unwrap_or(("", ""));
            // These say what the unit is, or go with the line above.
            let is_plain = ["", "Description", "Documentation", "Type", "DeviceAllow"]
                .contains(&directive)
                || (directive == "ExecStart" && name == "margo-agent.service")
                || directive.ends_with("Mode");
            assert!(line.starts_with('#') || is_plain || above.starts_with('#'), "{name}: {line}");
            above = line;
        }
    }
}

/// The units and the program must agree on who is asked, where the record is, and what the label is.
#[test]
fn the_units_of_provisioning_fit_the_program() {
    let boot = shipped("systemd/system/margo-provision.service");
    let drive = shipped("systemd/system/margo-provision-drive@.service");
    let rule = shipped("udev/rules.d/80-margo-provision.rules");
    assert!(boot.contains("\nExecStart=-/usr/bin/margoctl provision boot\n"));
    assert!(boot.contains("\nImportCredential=margo.*\n"));
    assert!(boot.contains("\nBefore=margo-agent.service\n"));
    assert!(drive.contains("\nExecStart=-/usr/bin/margoctl provision drive /dev/%I\n"));
    for unit in [&boot, &drive] {
        assert!(unit.contains("\nRuntimeDirectory=margo-provision\n"));
        assert!(unit.contains("\nRuntimeDirectoryPreserve=yes\n"));
        assert!(unit.contains("\nReadWritePaths=-/etc/margo-agent\n"));
    }
    assert!(rule.contains("ENV{ID_FS_LABEL}==\"MARGOCONFIG\""), "{rule}");
    assert!(rule.contains("+=\"margo-provision-drive@%k.service\""), "{rule}");
    // %k goes in unescaped, so only names that need no escape may come in.
    assert!(rule.contains(" KERNEL!=\"*-*\","), "{rule}");
    // I4: the agent restores without a drive and without a verdict on a package.
    assert!(!drive.contains("Before=margo-agent"));
}
