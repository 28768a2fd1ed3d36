//! `DeviceCapabilitiesManifest`.

use serde_json::{Map, Value};

use super::{Findings, parse};
use crate::net::problem::Problem;

/// Fields that only, and always, a device that hosts workloads reports.
const HOSTING: &[&str] = &[
    "cpus",
    "memory",
    "storage",
    "peripherals",
    "interfaces",
    "otelCollector",
    "supportedRuntimes",
    "supportedDeploymentTypes",
];
const PERIPHERALS: &[&str] = &["gpu", "display", "camera", "microphone", "speaker"];
const INTERFACES: &[&str] =
    &["ethernet", "wifi", "cellular", "bluetooth", "usb", "canbus", "rs232"];
const ARCHITECTURES: &[&str] = &["amd64", "arm64", "arm"];
const RUNTIMES: &[&str] = &["oci", "custom"];
const DEPLOYMENT_TYPES: &[&str] = &["helm", "compose", "custom"];

/// Whether a text is unreserved characters in segments joined by slashes (R102).
pub(in crate::wfm) fn is_device_id(text: &str) -> bool {
    text.split('/').all(|segment| {
        !segment.is_empty()
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    })
}

/// Checks a body sent for a device; returns it parsed.
pub(in crate::wfm) fn capabilities(
    body: &[u8],
    device: &str,
) -> Result<Map<String, Value>, Problem> {
    let object = parse(body)?;
    let mut findings = Findings::default();
    for (key, value) in &object {
        match key.as_str() {
            "properties" => {}
            "labels" => labels(&mut findings, value),
            _ if is_extension(key) => {
                if !value.is_object() {
                    findings.malformed(key, "must be an object");
                }
            }
            _ => findings.malformed(key, "is not allowed here"),
        }
    }
    match findings.required(&object, "", "properties") {
        Some(Value::Object(properties)) => check_properties(&mut findings, properties, device),
        Some(_) => findings.malformed("properties", "must be an object"),
        None => {}
    }
    findings.finish()?;
    Ok(object)
}

fn is_extension(key: &str) -> bool {
    let name = key.strip_prefix("x-").and_then(|rest| rest.strip_suffix("-extensions"));
    name.is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn labels(findings: &mut Findings, value: &Value) {
    let Some(labels) = value.as_object() else {
        return findings.malformed("labels", "must be an object");
    };
    for (key, value) in labels {
        let is_allowed = match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => true,
            Value::Array(items) => {
                items.iter().all(Value::is_string) || items.iter().all(Value::is_number)
            }
            Value::Null | Value::Object(_) => false,
        };
        if !is_allowed {
            let message = "must be a string, number, boolean or an array of strings or of numbers";
            findings.malformed(format!("labels.{key}"), message);
        }
    }
}

fn check_properties(findings: &mut Findings, properties: &Map<String, Value>, device: &str) {
    let at = "properties";
    for key in ["vendor", "modelNumber", "serialNumber"] {
        let _checked = findings.text(properties, at, key);
    }
    if let Some(id) = findings.text(properties, at, "id") {
        if !is_device_id(id) {
            findings.malformed("properties.id", "must be unreserved characters and slashes");
        } else if id != device {
            findings.semantic("properties.id", format!("differs from `{device}` in the path"));
        }
    }
    findings.objects(properties, at, "cpus", |findings, cpu, at| {
        match findings.required(cpu, at, "cores") {
            Some(cores) if !cores.is_number() => {
                findings.malformed(format!("{at}.cores"), "must be a number");
            }
            _ => {}
        }
        if cpu.contains_key("architecture") {
            findings.one_of(cpu, at, "architecture", ARCHITECTURES);
        }
    });
    findings.objects(properties, at, "peripherals", |findings, item, at| {
        findings.one_of(item, at, "type", PERIPHERALS);
    });
    findings.objects(properties, at, "interfaces", |findings, item, at| {
        findings.one_of(item, at, "type", INTERFACES);
    });
    quantity(findings, properties, "memory", &["Ki", "Mi", "Gi"]);
    quantity(findings, properties, "storage", &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    words(findings, properties, "supportedRuntimes", RUNTIMES);
    words(findings, properties, "supportedDeploymentTypes", DEPLOYMENT_TYPES);
    if properties.get("otelCollector").is_some_and(|value| !value.is_boolean()) {
        findings.malformed("properties.otelCollector", "must be a boolean");
    }
    hosting(findings, properties);
}

/// A device that reports anything about hosting reports all of it (R105, R106, R111).
fn hosting(findings: &mut Findings, properties: &Map<String, Value>) {
    if !HOSTING.iter().any(|key| properties.contains_key(*key)) {
        return;
    }
    for key in HOSTING {
        if !properties.contains_key(*key) {
            let message = "is missing though the device hosts workloads";
            findings.semantic(format!("properties.{key}"), message);
        }
    }
    if properties.get("otelCollector") == Some(&Value::Bool(false)) {
        findings.semantic("properties.otelCollector", "must be true on a hosting device");
    }
}

fn quantity(findings: &mut Findings, properties: &Map<String, Value>, key: &str, units: &[&str]) {
    let Some(value) = properties.get(key) else { return };
    let path = format!("properties.{key}");
    let Some(text) = value.as_str() else {
        return findings.malformed(path, "must be a string");
    };
    // The specification's own examples have a blank before the unit.
    let is_quantity = units.iter().filter_map(|unit| text.strip_suffix(unit)).any(|number| {
        let number = number.trim_end();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    if !is_quantity {
        findings.semantic(path, format!("must be a number with one of {}", units.join(", ")));
    }
}

fn words(findings: &mut Findings, properties: &Map<String, Value>, key: &str, known: &[&str]) {
    let Some(value) = properties.get(key) else { return };
    let path = format!("properties.{key}");
    let Some(items) = value.as_array() else {
        return findings.malformed(path, "must be an array");
    };
    if items.is_empty() {
        findings.semantic(path.as_str(), "must have at least one item");
    }
    for item in items {
        if !item.as_str().is_some_and(|text| known.contains(&text)) {
            findings.malformed(path.as_str(), format!("must hold only {}", known.join(", ")));
        }
    }
}
