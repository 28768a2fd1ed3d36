//! From what the files say to what the agent uses: defaults, facts of the host, and rules over several keys.

use super::effective::{self, EffectiveValue, Origin};
use super::error::ConfigError;
use super::fragment::as_float;
use super::host::HostFacts;
use super::keys::{self, Preset};
use super::merged::Merged;
use super::rules::DailyRange;
use super::settings::{
    BehaviourSettings, DeviceSettings, EngineSettings, FirmwareSettings, LimitSettings,
    LocalApiSettings, OtelSettings, PathSettings, Peripheral, RegistrySettings, RetrySettings,
    Settings, WfmSettings,
};
use super::{FirmwareMode, InterfaceType, LogLevel, OtlpProtocol, PeripheralType, Transfer};
use crate::compose::model::HostPolicy;
use std::path::PathBuf;

/// Builds the settings. With errors the result is incomplete and must not be used.
pub(super) fn settings(
    merged: &Merged,
    host: &HostFacts,
    errors: &mut Vec<ConfigError>,
) -> Settings {
    let mut build = Build { merged, errors, effective: Vec::new() };
    let settings = Settings {
        device: device(&mut build, host),
        wfm: wfm(&mut build),
        behaviour: behaviour(&mut build),
        retry: retry(&mut build),
        engine: engine(&mut build),
        firmware: firmware(&mut build),
        registries: registries(&mut build),
        paths: PathSettings {
            state_dir: build.path("paths.state_dir"),
            runtime_dir: build.path("paths.runtime_dir"),
            preload_dir: build.path("paths.preload_dir"),
        },
        local_api: LocalApiSettings { group: build.text("local_api.group") },
        limits: limits(&mut build),
        log_level: build.choice("log.level", LogLevel::parse, LogLevel::Info),
        effective: Vec::new(),
    };
    let effective = build.effective;
    Settings { effective, ..settings }
}

struct Build<'a> {
    merged: &'a Merged,
    errors: &'a mut Vec<ConfigError>,
    effective: Vec<EffectiveValue>,
}

impl Build<'_> {
    /// The value of a key, or `None` when it is unset. Remembers it for the effective configuration.
    fn value(&mut self, path: &'static str) -> Option<toml::Value> {
        self.value_or(path, None)
    }

    /// The same, with a value for a key that nobody set and that has no default.
    fn value_or(&mut self, path: &'static str, host: Option<&str>) -> Option<toml::Value> {
        let (value, origin) = if let Some(located) = self.merged.values.get(path) {
            (Some(located.value.clone()), Origin::File(located.place.clone()))
        } else if let Some(Preset::Default(text)) = keys::find(path).map(|key| key.value) {
            (text.parse().ok(), Origin::Default)
        } else {
            (host.map(|text| toml::Value::String(text.to_owned())), Origin::Host)
        };
        self.effective.push(EffectiveValue { path: path.to_owned(), value: value.clone(), origin });
        value
    }

    /// Notes a key that is used in a way its row of the table does not allow.
    fn mistake<T>(&mut self, path: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.errors.push(ConfigError::Table { key: path.to_owned() });
        }
        value
    }

    fn bool(&mut self, path: &'static str) -> bool {
        let value = self.value(path).and_then(|value| value.as_bool());
        self.mistake(path, value).unwrap_or_default()
    }

    fn integer<T: TryFrom<i64> + Default>(&mut self, path: &'static str) -> T {
        let value = self.value(path).and_then(|value| T::try_from(value.as_integer()?).ok());
        self.mistake(path, value).unwrap_or_default()
    }

    fn text_if_set(&mut self, path: &'static str) -> Option<String> {
        Some(self.value(path)?.as_str()?.to_owned())
    }

    fn text(&mut self, path: &'static str) -> String {
        let value = self.text_if_set(path);
        self.mistake(path, value).unwrap_or_default()
    }

    fn path(&mut self, path: &'static str) -> PathBuf {
        self.text(path).into()
    }

    fn choice<T>(&mut self, path: &'static str, parse: fn(&str) -> Option<T>, default: T) -> T {
        let value = self.text_if_set(path).and_then(|word| parse(&word));
        self.mistake(path, value).unwrap_or(default)
    }

    fn texts(&mut self, path: &'static str) -> Vec<String> {
        let value = self.value(path).and_then(|value| {
            value.as_array()?.iter().map(|item| Some(item.as_str()?.to_owned())).collect()
        });
        self.mistake(path, value).unwrap_or_default()
    }

    fn parsed<T>(&mut self, path: &'static str, parse: fn(&str) -> Option<T>) -> Vec<T> {
        let value = self.texts(path).iter().map(|text| parse(text)).collect();
        self.mistake(path, value).unwrap_or_default()
    }

    /// Reports that two keys do not fit together, at the place of the first one that a file set.
    fn conflict(&mut self, paths: [&'static str; 2], why: String) {
        let place = paths.iter().find_map(|path| self.merged.values.get(path));
        if let Some(located) = place {
            self.errors.push(ConfigError::Conflict { place: located.place.clone(), why });
        }
    }
}

fn device(build: &mut Build<'_>, host: &HostFacts) -> DeviceSettings {
    let mut text = |path, fact: &str| {
        let value = build.value_or(path, Some(fact)).and_then(|v| Some(v.as_str()?.to_owned()));
        build.mistake(path, value).unwrap_or_default()
    };
    let id = text("device.id", &host.device_id);
    let vendor = text("device.vendor", &host.vendor);
    let model_number = text("device.model_number", &host.model_number);
    let serial_number = text("device.serial_number", &host.serial_number);
    let otel = OtelSettings {
        is_present: build.bool("device.otel_collector"),
        http_endpoint: build.text_if_set("device.otel_http_endpoint"),
        grpc_endpoint: build.text_if_set("device.otel_grpc_endpoint"),
        certificate: build.text_if_set("device.otel_certificate").map(PathBuf::from),
        protocol: build
            .text_if_set("device.otel_protocol")
            .and_then(|word| OtlpProtocol::parse(&word)),
    };
    if otel.is_present && otel.http_endpoint.is_none() {
        let paths = ["device.otel_collector", "device.otel_http_endpoint"];
        let why = "device.otel_collector is true, so device.otel_http_endpoint must be set: workloads \
                   are told where the collector is";
        build.conflict(paths, why.into());
    }
    DeviceSettings {
        id,
        vendor,
        model_number,
        serial_number,
        otel,
        peripherals: peripherals(build),
        interfaces: build.parsed("device.interfaces", InterfaceType::parse),
        cpu_cores: build.value("device.cpu_cores").as_ref().and_then(as_float),
        memory: build.text_if_set("device.memory"),
        storage: build.text_if_set("device.storage"),
        // Last: the effective configuration writes a table of its own for them.
        labels: labels(build),
    }
}

fn labels(build: &mut Build<'_>) -> std::collections::BTreeMap<String, serde_json::Value> {
    let mut labels = std::collections::BTreeMap::new();
    for (name, located) in &build.merged.labels {
        build.effective.push(EffectiveValue {
            path: format!("{}.{}", keys::LABELS, effective::quoted(name)),
            value: Some(located.value.clone()),
            origin: Origin::File(located.place.clone()),
        });
        // TOML has dates and JSON has not, but labels were checked to be none.
        if let Ok(value) = serde_json::to_value(&located.value) {
            labels.insert(name.clone(), value);
        }
    }
    labels
}

fn peripherals(build: &mut Build<'_>) -> Vec<Peripheral> {
    let path = "device.peripherals";
    let read = |table: &toml::Value| {
        Some(Peripheral {
            kind: PeripheralType::parse(table.get("type")?.as_str()?)?,
            manufacturer: text_of(table, "manufacturer"),
            model: text_of(table, "model"),
        })
    };
    let value = build.value(path);
    let tables = value.as_ref().and_then(|value| value.as_array());
    // Tables with mistakes have their own errors already and are left out here.
    tables.map(|tables| tables.iter().filter_map(read).collect()).unwrap_or_default()
}

fn text_of(table: &toml::Value, key: &str) -> Option<String> {
    Some(table.get(key)?.as_str()?.to_owned())
}

fn wfm(build: &mut Build<'_>) -> WfmSettings {
    WfmSettings {
        url: build.text_if_set("wfm.url"),
        identity_dir: build.path("wfm.identity_dir"),
        poll_interval_secs: build.integer("wfm.poll_interval_secs"),
        poll_hours: build.parsed("wfm.poll_hours", DailyRange::parse),
        downtime: build.parsed("wfm.downtime", DailyRange::parse),
        connect_timeout_secs: build.integer("wfm.connect_timeout_secs"),
        request_timeout_secs: build.integer("wfm.request_timeout_secs"),
        connection_age_max_secs: build.integer("wfm.connection_age_max_secs"),
    }
}

fn behaviour(build: &mut Build<'_>) -> BehaviourSettings {
    use super::choices::{FirstBoot, Mismatch, PartialFailure, Restore, VolumesOnRemoval};
    BehaviourSettings {
        first_boot: build.choice("behaviour.first_boot", FirstBoot::parse, FirstBoot::Await),
        restore: build.choice("behaviour.restore", Restore::parse, Restore::Auto),
        partial_failure: build.choice(
            "behaviour.partial_failure",
            PartialFailure::parse,
            PartialFailure::Keep,
        ),
        mismatch: build.choice("behaviour.mismatch", Mismatch::parse, Mismatch::Reconcile),
        volumes_on_removal: build.choice(
            "behaviour.volumes_on_removal",
            VolumesOnRemoval::parse,
            VolumesOnRemoval::Keep,
        ),
    }
}

fn retry(build: &mut Build<'_>) -> RetrySettings {
    let retry = RetrySettings {
        initial_ms: build.integer("retry.initial_ms"),
        max_ms: build.integer("retry.max_ms"),
        jitter_percent: build.integer("retry.jitter_percent"),
        mismatch_retries_max: build.integer("retry.mismatch_retries_max"),
        component_timeout_default_secs: build.integer("retry.component_timeout_default_secs"),
        jobs_max: build.integer("retry.jobs_max"),
        observe_interval_secs: build.integer("retry.observe_interval_secs"),
    };
    if retry.initial_ms > retry.max_ms {
        let why = format!(
            "retry.initial_ms ({}) must not be above retry.max_ms ({})",
            retry.initial_ms, retry.max_ms
        );
        build.conflict(["retry.initial_ms", "retry.max_ms"], why);
    }
    retry
}

fn firmware(build: &mut Build<'_>) -> FirmwareSettings {
    let firmware = FirmwareSettings {
        mode: build.choice("firmware.mode", FirmwareMode::parse, FirmwareMode::Auto),
        transfer: build.choice("firmware.transfer", Transfer::parse, Transfer::Auto),
        downgrade: build.bool("firmware.downgrade"),
        hours: build.parsed("firmware.hours", DailyRange::parse),
        trial_timeout_secs: build.integer("firmware.trial_timeout_secs"),
        healthy_window_secs: build.integer("firmware.healthy_window_secs"),
        check_interval_secs: build.integer("firmware.check_interval_secs"),
        require_system_running: build.bool("firmware.require_system_running"),
        require_wfm: build.bool("firmware.require_wfm"),
        health_check_timeout_secs: build.integer("firmware.health_check_timeout_secs"),
    };
    if firmware.healthy_window_secs >= firmware.trial_timeout_secs {
        let why = format!(
            "firmware.healthy_window_secs ({}) must be below firmware.trial_timeout_secs ({})",
            firmware.healthy_window_secs, firmware.trial_timeout_secs
        );
        let keys = ["firmware.healthy_window_secs", "firmware.trial_timeout_secs"];
        build.conflict(keys, why);
    }
    firmware
}

fn engine(build: &mut Build<'_>) -> EngineSettings {
    EngineSettings {
        socket: build.path("engine.socket"),
        host_policy: HostPolicy {
            bind_roots: build
                .texts("engine.host_policy.bind_roots")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            privileged: build.bool("engine.host_policy.privileged"),
            host_namespaces: build.bool("engine.host_policy.host_namespaces"),
            devices: build.texts("engine.host_policy.devices"),
            capabilities: build.texts("engine.host_policy.capabilities"),
            unconfined: build.bool("engine.host_policy.unconfined"),
        },
    }
}

fn registries(build: &mut Build<'_>) -> Vec<RegistrySettings> {
    let mut registries = Vec::new();
    for (host, located) in &build.merged.registries {
        let table = &located.value;
        build.effective.push(EffectiveValue {
            path: keys::REGISTRY.to_owned(),
            value: Some(table.clone()),
            origin: Origin::File(located.place.clone()),
        });
        let registry = RegistrySettings {
            host: host.clone(),
            username: text_of(table, "username"),
            password_file: text_of(table, "password_file").map(PathBuf::from),
            insecure: table.get("insecure").and_then(toml::Value::as_bool).unwrap_or_default(),
            ca_file: text_of(table, "ca_file").map(PathBuf::from),
        };
        let mut conflict = |why: String| {
            build.errors.push(ConfigError::Conflict { place: located.place.clone(), why });
        };
        if registry.username.is_some() != registry.password_file.is_some() {
            conflict(format!("registry {host}: username and password_file go together"));
        }
        if registry.insecure && registry.ca_file.is_some() {
            conflict(format!("registry {host}: ca_file has no meaning when insecure is true"));
        }
        registries.push(registry);
    }
    registries
}

fn limits(build: &mut Build<'_>) -> LimitSettings {
    LimitSettings {
        manifest_size_bytes_max: build.integer("limits.manifest_size_bytes_max"),
        deployment_size_bytes_max: build.integer("limits.deployment_size_bytes_max"),
        bundle_size_bytes_max: build.integer("limits.bundle_size_bytes_max"),
        archive_size_bytes_max: build.integer("limits.archive_size_bytes_max"),
        archive_unpacked_size_bytes_max: build.integer("limits.archive_unpacked_size_bytes_max"),
        archive_entries_max: build.integer("limits.archive_entries_max"),
        firmware_size_bytes_max: build.integer("limits.firmware_size_bytes_max"),
        compose_file_size_bytes_max: build.integer("limits.compose_file_size_bytes_max"),
    }
}
