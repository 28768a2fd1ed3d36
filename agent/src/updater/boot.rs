//! What is known of this boot: from the kernel and the image at once, from RAUC when it answers.
//!
//! The part that needs no D-Bus is enough to say what the device is (capabilities) and whether its firmware is
//! managed at all. Restoring workloads waits for none of it (I4).

use crate::config::FirmwareMode;
use state_machine::ids::SlotName;
use std::path::Path;

/// Most slots looked at (I11).
const SLOTS_MAX: usize = 32;
/// Longest file read here, in bytes (I11).
const FILE_BYTES_MAX: u64 = 64 * 1024;
const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
/// Where RAUC looks for its configuration, in its order.
const RAUC_CONFIGS: [&str; 3] =
    ["etc/rauc/system.conf", "run/rauc/system.conf", "usr/lib/rauc/system.conf"];

/// What the kernel and the image say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFacts {
    /// This boot (`boot_id`).
    pub boot: String,
    /// `rauc.slot=` on the kernel command line: the boot loader chose between slots.
    pub bootname: Option<String>,
    /// `IMAGE_VERSION` of the running system.
    pub version: Option<String>,
    /// `compatible` in RAUC's configuration.
    pub compatible: Option<String>,
    /// Name and bootname of each bootable slot in RAUC's configuration.
    pub slots: Vec<(String, String)>,
}

impl BootFacts {
    /// Whether the firmware is the agent's to update, by the configuration's word.
    pub fn is_managed(&self, mode: FirmwareMode) -> bool {
        match mode {
            FirmwareMode::Auto => self.bootname.is_some(),
            FirmwareMode::On => true,
            FirmwareMode::Off => false,
        }
    }

    /// RAUC's names of the slot that the boot loader calls so, and of the other one of its class.
    pub(super) fn slots_by(&self, bootname: &str) -> Option<(SlotName, Option<SlotName>)> {
        let (name, _) = self.slots.iter().find(|(_, known)| known == bootname)?;
        let class = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let is_other =
            |(other, _): &&(String, String)| other != name && class(other) == class(name);
        let other = self.slots.iter().find(is_other);
        Some((SlotName::new(&**name), other.map(|(other, _)| SlotName::new(&**other))))
    }

    /// Reads them below `root`. What cannot be read is absent.
    pub fn gather(root: &Path) -> Self {
        let file = |path: &str| read(&root.join(path));
        let releases = ["etc/os-release", "usr/lib/os-release"];
        let release = releases.iter().map(|path| file(path)).find(|text| !text.is_empty());
        // A root made for a test has no kernel of its own.
        let boot = match file(BOOT_ID) {
            boot if boot.is_empty() => read(&Path::new("/").join(BOOT_ID)),
            boot => boot,
        };
        let configs = RAUC_CONFIGS.iter().map(|path| file(path));
        let config = configs.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        Self {
            boot: boot.trim().to_owned(),
            bootname: argument(&file("proc/cmdline"), "rauc.slot"),
            version: release.and_then(|text| assignment(&text, "IMAGE_VERSION")),
            compatible: keyfile_value(&config, "system", "compatible"),
            slots: slots(&config),
        }
    }
}

fn read(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `name=value` among words; the last one counts, as for the kernel.
fn argument(line: &str, name: &str) -> Option<String> {
    let mut values =
        line.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    named(values.next_back()?)
}

/// `NAME=value` on a line of its own, quoted or not.
fn assignment(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    named(value.trim().trim_matches(['"', '\'']))
}

/// `key=value` in a section.
fn keyfile_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = name == section;
        } else if is_inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return named(value.trim());
        }
    }
    None
}

/// `[slot.NAME]` sections that have a `bootname`.
fn slots(config: &str) -> Vec<(String, String)> {
    let names = config.lines().filter_map(|line| {
        line.trim().strip_prefix("[slot.").and_then(|rest| rest.strip_suffix(']'))
    });
    let slot = |name: &str| {
        let bootname = keyfile_value(config, &format!("slot.{name}"), "bootname")?;
        Some((named(name)?, bootname))
    };
    names.filter_map(slot).take(SLOTS_MAX).collect()
}

fn named(value: &str) -> Option<String> {
    let value = super::text(value);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_the_kernel_and_the_image() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz root=PARTUUID=7 rauc.slot=A quiet\n"),
            ("proc/sys/kernel/random/boot_id", "1b4e28ba-2fa1-11d2-883f-0016d3cca427\n"),
            ("etc/os-release", "ID=margo\nIMAGE_VERSION=\"1.2.0\"\n"),
            (
                "usr/lib/rauc/system.conf",
                "[keyring]\ncompatible=no\n[system]\ncompatible = dev-1\n[slot.rootfs.0]\nbootname=A\n\
                 [slot.data.0]\ndevice=x\n[slot.rootfs.1]\nbootname=B\n",
            ),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let facts = BootFacts::gather(root.path());
        assert_eq!(facts.boot, "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        assert_eq!(facts.bootname.as_deref(), Some("A"));
        assert_eq!(facts.version.as_deref(), Some("1.2.0"));
        assert_eq!(facts.compatible.as_deref(), Some("dev-1"));
        let (slot, other) = facts.slots_by("A").unwrap();
        assert_eq!((slot.as_str(), other.unwrap().as_str()), ("rootfs.0", "rootfs.1"));
    }

    #[test]
    fn a_machine_without_any_of_it_has_no_facts() {
        let root = tempfile::tempdir().unwrap();
        let boot = BootFacts::gather(Path::new("/")).boot;
        assert_eq!(boot.len(), 36);
        let expected = BootFacts { boot, ..BootFacts::default() };
        assert_eq!(BootFacts::gather(root.path()), expected);
        assert_eq!(argument("rauc.slots=A xrauc.slot=B", "rauc.slot"), None);
    }
}
