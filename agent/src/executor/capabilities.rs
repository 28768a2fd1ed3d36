//! The capabilities document, from the settings and the host.

use crate::config::Settings;
use crate::margo::capabilities::{CapabilitiesError, CapabilitySettings, HostFacts, build};
use crate::margo::wire::{Cpu, DeviceCapabilitiesManifest, Interface, LabelValue, Peripheral};
use crate::margo::{DeviceId, DeviceIdError};
use crate::updater::Updater;
use std::collections::BTreeMap;
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

/// Label with what firmware must be made for.
const LABEL_COMPATIBLE: &str = "org.margo.firmware.compatible";
/// Label with the version of the running firmware.
const LABEL_VERSION: &str = "org.margo.firmware.version";
/// Label with the boot loader's name of the booted slot.
const LABEL_SLOT: &str = "org.margo.firmware.slot";

/// Describes the device (R100). `storage` is on the file system that holds applications. With an updater the device
/// takes firmware as `custom` deployments, and says in labels for what and from what (R112). A new slot or version
/// makes another document, which is reported after the restart that brought it (R101).
///
/// # Errors
/// See [`DescribeError`]: the configuration needs to be corrected.
pub fn capabilities(
    settings: &Settings,
    storage: &Path,
    updater: Option<&Updater>,
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
    let mut labels: BTreeMap<_, _> = device.labels.iter().map(label).collect::<Result<_, _>>()?;
    labels.extend(updater.map(firmware_labels).into_iter().flatten());
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
        runtimes: with_custom("oci", updater),
        deployment_types: with_custom("compose", updater),
        labels,
        extensions: BTreeMap::new(),
    };
    let manifest = build(&id, &wanted, &host).map_err(failed)?;
    Ok((id, manifest))
}

fn with_custom(kind: &str, updater: Option<&Updater>) -> Vec<String> {
    let custom = updater.map(|_| "custom".to_owned());
    std::iter::once(kind.to_owned()).chain(custom).collect()
}

fn firmware_labels(updater: &Updater) -> impl Iterator<Item = (String, LabelValue)> {
    let facts = updater.facts().clone();
    [
        (LABEL_COMPATIBLE, facts.compatible),
        (LABEL_VERSION, facts.version),
        (LABEL_SLOT, facts.bootname),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        Some((name.to_owned(), serde_json::from_value(value?.into()).ok()?))
    })
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
