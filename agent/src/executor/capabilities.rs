//! The capabilities document, from the settings and the host.

use crate::config::Settings;
use crate::margo::capabilities::{CapabilitiesError, CapabilitySettings, HostFacts, build};
use crate::margo::wire::{Cpu, DeviceCapabilitiesManifest, Interface, LabelValue, Peripheral};
use crate::margo::{DeviceId, DeviceIdError};
use std::path::Path;

/// Why the device cannot say what it is.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// `device.id` breaks the grammar (R102).
    #[error("`device.id` cannot be used")]
    Id {
        /// Why.
        #[source]
        source: DeviceIdError,
    },
    /// A label has a value of another kind (R109).
    #[error("`device.labels.{key}` must be a text, number, boolean, or list of texts or numbers")]
    Label {
        /// The label.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The rest.
    #[error("capabilities cannot be described")]
    Capabilities {
        /// Why.
        #[source]
        source: CapabilitiesError,
    },
}

/// Describes the device (R100). `storage` is on the file system that holds applications.
///
/// # Errors
/// See [`DescribeError`]: the configuration needs to be corrected.
pub fn capabilities(
    settings: &Settings,
    storage: &Path,
) -> Result<(DeviceId, DeviceCapabilitiesManifest), DescribeError> {
    let device = &settings.device;
    let id = DeviceId::parse(&device.id).map_err(|source| DescribeError::Id { source })?;
    let failed = |source| DescribeError::Capabilities { source };
    let host = HostFacts::gather(storage).map_err(failed)?;
    let label = |(key, value): (&String, &serde_json::Value)| {
        let value: LabelValue = serde_json::from_value(value.clone())
            .map_err(|source| DescribeError::Label { key: key.clone(), source })?;
        Ok((key.clone(), value))
    };
    let architecture = Some(host.architecture.clone());
    let cpus = device.cpu_cores.map(|cores| Cpu { cores: number(cores), architecture });
    let wanted = CapabilitySettings {
        vendor: device.vendor.clone(),
        model_number: device.model_number.clone(),
        serial_number: device.serial_number.clone(),
        cpus: cpus.into_iter().collect(),
        memory: device.memory.clone(),
        storage: device.storage.clone(),
        peripherals: device.peripherals.iter().map(peripheral).collect(),
        interfaces: device
            .interfaces
            .iter()
            .map(|kind| Interface { kind: kind.to_string() })
            .collect(),
        otel_collector: device.otel.is_present,
        runtimes: vec!["oci".to_owned()],
        deployment_types: vec!["compose".to_owned()],
        labels: device.labels.iter().map(label).collect::<Result<_, _>>()?,
        extensions: std::collections::BTreeMap::new(),
    };
    let manifest = build(&id, &wanted, &host).map_err(failed)?;
    Ok((id, manifest))
}

fn number(cores: f64) -> serde_json::Number {
    // The settings refuse what is not finite.
    serde_json::Number::from_f64(cores).unwrap_or_else(|| 1.into())
}

fn peripheral(peripheral: &crate::config::Peripheral) -> Peripheral {
    Peripheral {
        kind: peripheral.kind.to_string(),
        manufacturer: peripheral.manufacturer.clone(),
        model: peripheral.model.clone(),
    }
}
