//! What this device reports about itself (section 5 of the interface): settings first, the host's facts for the rest.

use super::device_id::DeviceId;
use super::quantity;
use super::wire::{
    Cpu, DeviceCapabilitiesManifest, DeviceProperties, Interface, LabelValue, Peripheral,
};
use crate::artifacts::digest;
use state_machine::ids::Digest;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "arm"];
const PERIPHERALS: [&str; 5] = ["gpu", "display", "camera", "microphone", "speaker"];
const INTERFACES: [&str; 7] =
    ["ethernet", "wifi", "cellular", "bluetooth", "usb", "canbus", "rs232"];
const RUNTIMES: [&str; 2] = ["oci", "custom"];
const DEPLOYMENT_TYPES: [&str; 3] = ["helm", "compose", "custom"];
/// Most labels.
const LABELS_MAX: usize = 256;

/// Why capabilities cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum CapabilitiesError {
    /// A required text is empty.
    #[error("{key} is empty")]
    Empty {
        /// Which one.
        key: &'static str,
    },
    /// A value is not one of those the specification lists.
    #[error("{key}: `{value}` is not one of {permitted}")]
    NotListed {
        /// Where it stands.
        key: &'static str,
        /// The value.
        value: String,
        /// Those that are.
        permitted: String,
    },
    /// There must be at least one (R106).
    #[error("{key} has no entry")]
    NoEntry {
        /// Of what.
        key: &'static str,
    },
    /// A size without a unit the interface knows.
    #[error("{key}: `{value}` is not a whole number with Ki, Mi, Gi, Ti, Pi or Ei")]
    Quantity {
        /// Of what.
        key: &'static str,
        /// As given.
        value: String,
    },
    /// An extension's key or value breaks R241.
    #[error("extension `{key}` must be named `x-<name>-extensions` and be an object")]
    Extension {
        /// As given.
        key: String,
    },
    /// Too many labels, or one without a name.
    #[error("labels need names, and there may be at most {LABELS_MAX}")]
    Labels,
    /// The host's facts cannot be read.
    #[error("reading {path}")]
    Host {
        /// What was being read.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

/// What an operator says. Values are the share of the device that is Margo's alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CapabilitySettings {
    /// Vendor.
    pub vendor: String,
    /// Model number.
    pub model_number: String,
    /// Serial number.
    pub serial_number: String,
    /// Empty = all cores of the host.
    pub cpus: Vec<Cpu>,
    /// `None` = all memory of the host.
    pub memory: Option<String>,
    /// `None` = the whole file system that holds applications.
    pub storage: Option<String>,
    /// Peripherals.
    pub peripherals: Vec<Peripheral>,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// An OpenTelemetry collector runs on this device; the interface requires one (R105).
    pub otel_collector: bool,
    /// Runtimes; `oci` for containers, `custom` for firmware (R106).
    pub runtimes: Vec<String>,
    /// Deployment types; `compose`, `custom` (R106).
    pub deployment_types: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, LabelValue>,
    /// `x-<name>-extensions` objects.
    pub extensions: BTreeMap<String, serde_json::Value>,
}

/// What the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Usable cores.
    pub cores: u64,
    /// `amd64`, `arm64`, `arm`, or something the interface has no name for.
    pub architecture: String,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// Size (not free space, which changes all the time) of the file system that holds applications, in bytes.
    pub storage_bytes: u64,
}

impl HostFacts {
    /// Asks the running host. `storage` is a path on the file system that holds applications.
    ///
    /// # Errors
    /// The kernel does not answer; try again later.
    pub fn gather(storage: &Path) -> Result<Self, CapabilitiesError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let file_system = rustix::fs::statvfs(storage).map_err(|source| {
            CapabilitiesError::Host { path: storage.to_path_buf(), source: source.into() }
        })?;
        Ok(Self {
            cores: u64::try_from(cores).unwrap_or(u64::MAX),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .to_owned(),
            memory_bytes: memory_bytes()?,
            storage_bytes: file_system.f_frsize.saturating_mul(file_system.f_blocks),
        })
    }
}

/// `MemTotal`, rounded down to whole 64 MiB: it varies by some pages from boot to boot, and that is not a change
/// worth reporting.
fn memory_bytes() -> Result<u64, CapabilitiesError> {
    const STEP_BYTES: u64 = 64 << 20;
    let path = Path::new("/proc/meminfo");
    let fault = |source| CapabilitiesError::Host { path: path.to_path_buf(), source };
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let total_kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .ok_or_else(|| fault(io::Error::new(io::ErrorKind::InvalidData, "no MemTotal")))?;
    let total_bytes = total_kib.saturating_mul(1024);
    Ok(total_bytes
        .checked_sub(total_bytes % STEP_BYTES)
        .filter(|left| *left > 0)
        .unwrap_or(total_bytes))
}

/// Builds the document (R103–R109). Equal inputs give byte-identical JSON.
///
/// # Errors
/// The first setting the specification does not permit.
pub fn build(
    device: &DeviceId,
    settings: &CapabilitySettings,
    host: &HostFacts,
) -> Result<DeviceCapabilitiesManifest, CapabilitiesError> {
    check_settings(settings)?;
    let cpus = if settings.cpus.is_empty() {
        let known = ARCHITECTURES.contains(&host.architecture.as_str());
        let architecture = known.then(|| host.architecture.clone());
        vec![Cpu { cores: host.cores.into(), architecture }]
    } else {
        settings.cpus.clone()
    };
    let memory = settings.memory.clone().unwrap_or_else(|| quantity::format(host.memory_bytes));
    let storage = settings.storage.clone().unwrap_or_else(|| quantity::format(host.storage_bytes));
    Ok(DeviceCapabilitiesManifest {
        properties: DeviceProperties {
            id: device.as_str().to_owned(),
            vendor: settings.vendor.clone(),
            model_number: settings.model_number.clone(),
            serial_number: settings.serial_number.clone(),
            cpus,
            memory,
            storage,
            peripherals: settings.peripherals.clone(),
            interfaces: settings.interfaces.clone(),
            otel_collector: settings.otel_collector,
            supported_runtimes: settings.runtimes.clone(),
            supported_deployment_types: settings.deployment_types.clone(),
        },
        labels: settings.labels.clone(),
        extensions: settings.extensions.clone(),
    })
}

impl DeviceCapabilitiesManifest {
    /// The document as JSON data, for `eligibility`.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The exact bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Maps are ordered and keys are texts: serialisation cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Changes exactly when the reported content does (R101).
    pub fn digest(&self) -> Digest {
        digest::of(&self.to_bytes())
    }
}

fn check_settings(settings: &CapabilitySettings) -> Result<(), CapabilitiesError> {
    for (key, value) in [
        ("vendor", &settings.vendor),
        ("model_number", &settings.model_number),
        ("serial_number", &settings.serial_number),
    ] {
        if value.trim().is_empty() {
            return Err(CapabilitiesError::Empty { key });
        }
    }
    for (key, values, permitted) in [
        ("runtimes", &settings.runtimes, &RUNTIMES[..]),
        ("deployment_types", &settings.deployment_types, &DEPLOYMENT_TYPES[..]),
    ] {
        if values.is_empty() {
            return Err(CapabilitiesError::NoEntry { key });
        }
        listed(key, values.iter().map(String::as_str), permitted)?;
    }
    let architectures = settings.cpus.iter().filter_map(|cpu| cpu.architecture.as_deref());
    listed("cpus.architecture", architectures, &ARCHITECTURES)?;
    listed(
        "peripherals.type",
        settings.peripherals.iter().map(|one| one.kind.as_str()),
        &PERIPHERALS,
    )?;
    listed(
        "interfaces.type",
        settings.interfaces.iter().map(|one| one.kind.as_str()),
        &INTERFACES,
    )?;
    for (key, value) in [("memory", &settings.memory), ("storage", &settings.storage)] {
        if let Some(value) = value.as_ref().filter(|value| quantity::parse(value).is_none()) {
            return Err(CapabilitiesError::Quantity { key, value: value.clone() });
        }
    }
    if settings.labels.len() > LABELS_MAX || settings.labels.keys().any(String::is_empty) {
        return Err(CapabilitiesError::Labels);
    }
    match settings.extensions.iter().find(|(key, value)| !is_extension(key) || !value.is_object()) {
        Some((key, _)) => Err(CapabilitiesError::Extension { key: key.clone() }),
        None => Ok(()),
    }
}

fn listed<'a>(
    key: &'static str,
    values: impl Iterator<Item = &'a str>,
    permitted: &[&str],
) -> Result<(), CapabilitiesError> {
    for value in values {
        if !permitted.contains(&value) {
            return Err(CapabilitiesError::NotListed {
                key,
                value: value.to_owned(),
                permitted: permitted.join(", "),
            });
        }
    }
    Ok(())
}

/// `x-<name>-extensions` with a name of lowercase letters, digits and dashes (R241).
fn is_extension(key: &str) -> bool {
    key.strip_prefix("x-").and_then(|rest| rest.strip_suffix("-extensions")).is_some_and(|name| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}
