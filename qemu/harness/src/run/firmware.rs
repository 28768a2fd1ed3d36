//! Firmware orders, and what the device's OS says of itself.

use super::world::{Deployed, World};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::project::Project;
use margo_lab::{ComponentSpec, DeploymentSpec};
use std::path::PathBuf;

/// The name under which steps speak of it.
pub(crate) const FIRMWARE: &str = "firmware";

impl World {
    /// Orders a version through Margo: the bundle goes to the registry, a deployment of profile `custom` names it.
    pub(crate) fn order_firmware(&mut self, version: &str, kind: &str) -> Outcome {
        let bundle = bundle(&self.project, version, kind)?;
        let registry = self.lab()?.registry();
        let pushed = registry.push_firmware("firmware/os", version, &bundle);
        pushed.doing("cannot push the bundle")?;
        let repository = format!("oci://{}/firmware/os", registry.host());
        let component = ComponentSpec::new(FIRMWARE, repository, version);
        let spec = DeploymentSpec::custom(FIRMWARE, vec![component]);
        let lab = self.lab()?;
        let id = match self.facts.deployed.get(FIRMWARE) {
            Some(known) => {
                lab.update(&known.id, spec).doing("cannot order the firmware")?;
                known.id.clone()
            }
            None => lab.deploy(spec).doing("cannot order the firmware")?,
        };
        let deployed = Deployed { id, version: version.to_owned(), services: 0 };
        self.facts.deployed.insert(FIRMWARE.to_owned(), deployed);
        Ok(())
    }

    /// How far RAUC is, in percent.
    pub(crate) fn firmware_progress(&mut self) -> Outcome<u64> {
        let asked =
            "busctl get-property de.pengutronix.rauc / de.pengutronix.rauc.Installer Progress";
        let text = self.sh(asked)?;
        let percent = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        percent.ok_or_else(|| Trouble::new(format!("RAUC's progress is {text:?}")))
    }

    /// The version of the running device OS.
    pub(crate) fn expect_firmware(&mut self, version: &str) -> Outcome {
        let found = self.sh(". /etc/os-release; printf %s \"$IMAGE_VERSION\"")?;
        same("the device OS's version", &found, version)
    }

    /// The slot the device was booted from.
    pub(crate) fn expect_slot(&mut self, slot: &str) -> Outcome {
        let line = self.sh("cat /proc/cmdline")?;
        let found = line.split_whitespace().find_map(|word| word.strip_prefix("rauc.slot="));
        same("the booted slot", found.unwrap_or("none"), slot)
    }

    /// What the boot environment says of a slot.
    pub(crate) fn expect_slot_state(&mut self, slot: &str, state: &str) -> Outcome {
        let block = self.sh("cat /boot/env/grubenv")?;
        let key = format!("{slot}_STATE=");
        let found = block.lines().find_map(|line| line.strip_prefix(&key));
        same(&format!("slot {slot}'s state"), found.unwrap_or("none"), state)
    }
}

/// The bundle of a version, as `qemu/bundle` makes it.
pub(crate) fn bundle(project: &Project, version: &str, kind: &str) -> Outcome<PathBuf> {
    let stem = project.arch.image_name();
    let name = match kind {
        "good" => format!("{stem}-{version}.raucb"),
        other => format!("{stem}-{version}-{other}.raucb"),
    };
    let path = project.root.join("target/qemu/image").join(&name);
    if path.exists() {
        return Ok(path);
    }
    let arch = project.arch.name();
    let next = format!("next step: qemu/bundle --arch {arch} --version {version} --kind {kind}");
    Err(Trouble::new(format!("there is no bundle {}; {next}", path.display())))
}

fn same(what: &str, found: &str, wanted: &str) -> Outcome {
    if found.trim() == wanted {
        return Ok(());
    }
    Err(Trouble::new(format!("{what} is {:?}, not {wanted:?}", found.trim())))
}
