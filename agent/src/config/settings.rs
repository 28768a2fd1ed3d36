//! What the agent runs with: complete, checked, typed. Made by `Sources::load` only.

use super::choices::{
    FirmwareMode, FirstBoot, InterfaceType, LogLevel, Mismatch, OtlpProtocol, PartialFailure,
    PeripheralType, Restore, Transfer, VolumesOnRemoval,
};
use super::effective::EffectiveValue;
use super::rules::DailyRange;
use crate::compose::model::HostPolicy;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the device says about itself.
    pub device: DeviceSettings,
    /// How it talks to the fleet manager.
    pub wfm: WfmSettings,
    /// What it does in the four situations.
    pub behaviour: BehaviourSettings,
    /// How often it tries.
    pub retry: RetrySettings,
    /// The container engine.
    pub engine: EngineSettings,
    /// Firmware updates.
    pub firmware: FirmwareSettings,
    /// Registries that need more than anonymous TLS, one for each host.
    pub registries: Vec<RegistrySettings>,
    /// Directories.
    pub paths: PathSettings,
    /// Who may use the control socket.
    pub local_api: LocalApiSettings,
    /// Sizes that are refused when exceeded (I11).
    pub limits: LimitSettings,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Every key with its value and origin.
    pub(super) effective: Vec<EffectiveValue>,
}

/// Device identity and capabilities (R100–R109).
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSettings {
    /// Device id (R102).
    pub id: String,
    /// Vendor (R103).
    pub vendor: String,
    /// Model number (R103).
    pub model_number: String,
    /// Serial number (R103).
    pub serial_number: String,
    /// Labels: text, number, boolean, or list of texts or of numbers (R109).
    pub labels: BTreeMap<String, serde_json::Value>,
    /// Telemetry of workloads.
    pub otel: OtelSettings,
    /// Peripherals workloads may use.
    pub peripherals: Vec<Peripheral>,
    /// Interfaces workloads may use.
    pub interfaces: Vec<InterfaceType>,
    /// Delegated cores; `None` = all.
    pub cpu_cores: Option<f64>,
    /// Delegated memory, as `2Gi`; `None` = all.
    pub memory: Option<String>,
    /// Delegated storage, as `16Gi`; `None` = the file system of the state.
    pub storage: Option<String>,
}

/// The OpenTelemetry collector of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtelSettings {
    /// A collector runs here (R105).
    pub is_present: bool,
    /// `HTTP_OTEL_EXPORTER_OTLP_ENDPOINT` of workloads.
    pub http_endpoint: Option<String>,
    /// `GRPC_OTEL_EXPORTER_OTLP_ENDPOINT` of workloads.
    pub grpc_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE` of workloads.
    pub certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` of workloads.
    pub protocol: Option<OtlpProtocol>,
}

/// A peripheral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peripheral {
    /// Kind.
    pub kind: PeripheralType,
    /// Maker.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
}

/// The fleet manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WfmSettings {
    /// Base URL, `https`; `None` = not provisioned.
    pub url: Option<String>,
    /// Directory with `svid.pem`, `svid.key`, `bundle.json`.
    pub identity_dir: PathBuf,
    /// Seconds between polls (R009).
    pub poll_interval_secs: u64,
    /// Hours of polling; empty = always (R008).
    pub poll_hours: Vec<DailyRange>,
    /// Hours of silence (R007).
    pub downtime: Vec<DailyRange>,
    /// Seconds until a connection must stand.
    pub connect_timeout_secs: u64,
    /// Seconds until a request must be answered.
    pub request_timeout_secs: u64,
    /// Seconds after which a connection is closed.
    pub connection_age_max_secs: u64,
}

/// What the device does in the situations the specification leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BehaviourSettings {
    /// Before any desired state was received.
    pub first_boot: FirstBoot,
    /// After a reboot.
    pub restore: Restore,
    /// When only a part could be applied.
    pub partial_failure: PartialFailure,
    /// When what runs is not what is desired.
    pub mismatch: Mismatch,
    /// Named volumes of removed deployments.
    pub volumes_on_removal: VolumesOnRemoval,
}

/// Pace of retries and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Milliseconds before the first retry.
    pub initial_ms: u64,
    /// Longest milliseconds between retries.
    pub max_ms: u64,
    /// Percent of a delay left to chance, 0 to 100.
    pub jitter_percent: u8,
    /// Attempts at a mismatch at short delays.
    pub mismatch_retries_max: u32,
    /// Seconds a component has to come up when its deployment does not say.
    pub component_timeout_default_secs: u64,
    /// Deployments worked on at once.
    pub jobs_max: usize,
    /// Seconds between two looks at all containers.
    pub observe_interval_secs: u64,
}

/// The container engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its socket.
    pub socket: PathBuf,
    /// What applications may ask of the host.
    pub host_policy: HostPolicy,
}

/// When firmware is installed, how it gets here, and how a trial is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareSettings {
    /// Whether the firmware is this agent's to update.
    pub mode: FirmwareMode,
    /// How bundles get to RAUC.
    pub transfer: Transfer,
    /// An older version may be installed.
    pub downgrade: bool,
    /// Hours in which an installation may begin; empty = always.
    pub hours: Vec<DailyRange>,
    /// Seconds from the boot until an uncommitted trial is left.
    pub trial_timeout_secs: u64,
    /// Seconds of unbroken health that a commit needs.
    pub healthy_window_secs: u64,
    /// Seconds between two looks at the system during a trial.
    pub check_interval_secs: u64,
    /// A trial needs a system with no failed units.
    pub require_system_running: bool,
    /// A trial needs an answer of the fleet manager.
    pub require_wfm: bool,
    /// Seconds one health check may take.
    pub health_check_timeout_secs: u64,
}

/// How to use one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Host, with port if any.
    pub host: String,
    /// User name; set exactly when `password_file` is.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Plain HTTP.
    pub insecure: bool,
    /// PEM file of the registry's authority.
    pub ca_file: Option<PathBuf>,
}

/// Directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSettings {
    /// Durable state and artifacts.
    pub state_dir: PathBuf,
    /// Control socket.
    pub runtime_dir: PathBuf,
    /// Desired state of the image.
    pub preload_dir: PathBuf,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalApiSettings {
    /// Group whose members may use it.
    pub group: String,
}

/// Limits on what peers send, in bytes unless named otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// State manifest.
    pub manifest_size_bytes_max: u64,
    /// One deployment document.
    pub deployment_size_bytes_max: u64,
    /// Bundle of deployment documents.
    pub bundle_size_bytes_max: u64,
    /// Compose archive as pulled.
    pub archive_size_bytes_max: u64,
    /// Compose archive unpacked.
    pub archive_unpacked_size_bytes_max: u64,
    /// Entries of a compose archive.
    pub archive_entries_max: u64,
    /// Firmware bundle.
    pub firmware_size_bytes_max: u64,
    /// One compose file.
    pub compose_file_size_bytes_max: u64,
}
