//! What the device knows about itself without being told: DMI, device tree, machine id.

use ring::hmac;
use std::io::Read as _;
use std::path::Path;

/// Longest fact read, in bytes.
const FACT_SIZE_BYTES_MAX: u64 = 256;

/// Texts that boards carry when nobody filled them in, in lower case.
const PLACEHOLDERS: &[&str] = &[
    "",
    "0",
    "00000000",
    "0123456789",
    "123456789",
    "default string",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "system manufacturer",
    "system product name",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// Defaults for the device's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostFacts {
    pub(super) device_id: String,
    pub(super) vendor: String,
    pub(super) model_number: String,
    pub(super) serial_number: String,
}

impl HostFacts {
    /// Reads what there is below `root`. Never fails: every fact has a last resort.
    pub(super) fn read(root: &Path) -> Self {
        let machine = machine_name(root);
        // `compatible` starts with "vendor,board".
        let compatible = fact(root, "proc/device-tree/compatible");
        let tree_vendor = compatible
            .as_deref()
            .and_then(|text| Some(text.split_once(',')?.0.to_owned()))
            .filter(|text| !text.is_empty());
        Self {
            vendor: fact(root, "sys/class/dmi/id/sys_vendor")
                .or(tree_vendor)
                .unwrap_or_else(|| "unknown".into()),
            model_number: fact(root, "sys/class/dmi/id/product_name")
                .or_else(|| fact(root, "proc/device-tree/model"))
                .unwrap_or_else(|| "unknown".into()),
            serial_number: fact(root, "sys/class/dmi/id/product_serial")
                .or_else(|| fact(root, "proc/device-tree/serial-number"))
                .unwrap_or_else(|| machine.clone()),
            device_id: machine,
        }
    }
}

/// A stable name that is not the machine id itself, which is not for others to know.
fn machine_name(root: &Path) -> String {
    let Some(id) = fact(root, "etc/machine-id").filter(|id| id.len() == 32) else {
        return "unknown".into();
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes());
    let tag = hmac::sign(&key, b"margo-agent device id");
    let short = tag.as_ref().get(..8).unwrap_or_default();
    format!("device-{}", hex::encode(short))
}

/// One file's text, up to the first NUL or end of line, unless it says nothing.
fn fact(root: &Path, path: &str) -> Option<String> {
    let file = std::fs::File::open(root.join(path)).ok()?;
    let mut bytes = Vec::new();
    file.take(FACT_SIZE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let text = text.split(['\0', '\n']).next()?.trim();
    let is_placeholder = PLACEHOLDERS.contains(&text.to_lowercase().as_str());
    let is_clean = !text.chars().any(char::is_control);
    (!is_placeholder && is_clean).then(|| text.to_owned())
}
