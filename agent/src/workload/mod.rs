//! Carrying out a workload's orders: a deployment's document, its archives and images, and the engine.
//!
//! | file | what it owns |
//! |---|---|
//! | `plan` | reading a stored deployment document and judging whether it may run here |
//! | `prepared` | the record of what a revision was resolved to: archives and images, pinned |
//! | `registries` | how registries may be talked to |
//! | `preload` | the desired state that ships in the image |
//! | `prepare` | obtaining everything a revision needs, before anything running is touched |
//! | `firmware` | the bundle that a firmware deployment names, and how RAUC gets at it |
//! | `run` | applying, comparing, pruning, removing |
//! | `garbage` | deleting what no revision needs any more |

mod firmware;
mod garbage;
mod plan;
mod preload;
mod prepare;
mod prepared;
mod registries;
mod run;

pub use plan::{Reading, describe};
pub use preload::preload;
pub use run::Target;

use crate::archive::ArchiveLimits;
use crate::artifacts::Artifacts;
use crate::compose::model::HostPolicy;
use crate::config::{LimitSettings, RegistrySettings, Settings, Transfer};
use crate::engine::{Engine, VolumePolicy};
use crate::margo::DeviceId;
use serde_json::Value;
use state_machine::failure::{Code, Failure};
use state_machine::ids::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Everything workload orders need. Shared by all of them.
#[derive(Debug)]
pub struct Workloads {
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) engine: Engine,
    pub(crate) registries: Vec<RegistrySettings>,
    pub(crate) device: DeviceId,
    /// The capabilities document as reported, for eligibility rules.
    pub(crate) capabilities: Value,
    pub(crate) host_policy: HostPolicy,
    pub(crate) volumes_on_removal: VolumePolicy,
    /// Variables of the telemetry collector, for every container (R231).
    pub(crate) telemetry_env: BTreeMap<String, String>,
    pub(crate) component_timeout_default_ms: u64,
    pub(crate) archive_limits: ArchiveLimits,
    pub(crate) archive_size_bytes_max: u64,
    /// Where archives are extracted, one directory for each, named by digest.
    pub(crate) apps_dir: PathBuf,
    /// What ships with the device.
    pub(crate) preload_dir: PathBuf,
    pub(crate) firmware: FirmwareAccess,
}

/// How firmware bundles get to RAUC.
#[derive(Debug)]
pub(crate) struct FirmwareAccess {
    /// This device takes firmware as deployments.
    pub(crate) is_managed: bool,
    pub(crate) transfer: Transfer,
    pub(crate) size_bytes_max: u64,
    /// Where bundles are staged; absent until one is.
    pub(crate) staging_dir: PathBuf,
    /// Revisions whose bundle could not be streamed to the end: staged the next time.
    pub(crate) not_streamed: Mutex<BTreeSet<Digest>>,
}

impl Workloads {
    /// Reads what it needs from the settings. `is_managed`: this device takes firmware as deployments.
    pub fn new(
        settings: &Settings,
        artifacts: Arc<Artifacts>,
        engine: Engine,
        device: DeviceId,
        (capabilities, is_managed): (Value, bool),
    ) -> Self {
        let limits = &settings.limits;
        Self {
            artifacts,
            engine,
            registries: settings.registries.clone(),
            device,
            capabilities,
            host_policy: settings.engine.host_policy.clone(),
            volumes_on_removal: match settings.behaviour.volumes_on_removal {
                crate::config::VolumesOnRemoval::Keep => VolumePolicy::Keep,
                crate::config::VolumesOnRemoval::Delete => VolumePolicy::Delete,
            },
            telemetry_env: telemetry_env(settings),
            component_timeout_default_ms: settings
                .retry
                .component_timeout_default_secs
                .saturating_mul(1_000),
            archive_limits: archive_limits(limits),
            archive_size_bytes_max: limits.archive_size_bytes_max,
            apps_dir: settings.paths.state_dir.join("apps"),
            preload_dir: settings.paths.preload_dir.clone(),
            firmware: FirmwareAccess {
                is_managed,
                transfer: settings.firmware.transfer,
                size_bytes_max: limits.firmware_size_bytes_max,
                staging_dir: settings.paths.state_dir.join("firmware"),
                not_streamed: Mutex::default(),
            },
        }
    }
}

/// What an archive may be, from the settings.
pub(crate) fn archive_limits(limits: &LimitSettings) -> ArchiveLimits {
    ArchiveLimits {
        entries_max: usize::try_from(limits.archive_entries_max).unwrap_or(usize::MAX),
        total_size_bytes_max: limits.archive_unpacked_size_bytes_max,
        ..ArchiveLimits::default()
    }
}

/// The variables the specification wants in every container (R231).
fn telemetry_env(settings: &Settings) -> BTreeMap<String, String> {
    let otel = &settings.device.otel;
    let certificate = otel.certificate.as_ref().map(|path| path.display().to_string());
    [
        ("HTTP_OTEL_EXPORTER_OTLP_ENDPOINT", otel.http_endpoint.clone()),
        ("GRPC_OTEL_EXPORTER_OTLP_ENDPOINT", otel.grpc_endpoint.clone()),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", otel.protocol.map(|protocol| protocol.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// Runs something that blocks on the disk away from the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(Code::Internal, format!("a disk task ended: {error}"))),
    }
}
