//! Bringing a device its identity and settings: on a stick, as credentials, or by hand.

use super::world::World;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::guest::credentials::{Credential, trial_timeout_secs};
use crate::vm::stick;
use margo_lab::{SvidDefect, SvidOptions};
use std::path::{Path, PathBuf};

/// The package's settings.
const SETTINGS: &str = "margo-provision.toml";
const SVID: &str = "svid.pem";
const KEY: &str = "svid.key";
const BUNDLE: &str = "bundle.json";
/// File of the package and the credential that stands for it.
const CREDENTIALS: [(&str, &str); 4] = [
    (SETTINGS, "margo.settings"),
    (SVID, "margo.svid"),
    (KEY, "margo.svid-key"),
    (BUNDLE, "margo.trust-bundle"),
];
/// How long all must be well before a commit, in seconds. Shorter than on a device: tests wait for it often.
const HEALTHY_WINDOW_SECS: u32 = 10;
/// The first line of the settings.
const HEADER: &str = "# Provisioning package of the lab's device.\n";

impl World {
    /// Plugs a stick with the package, now or before the next boot.
    pub(crate) fn plug_config_drive(&mut self, defect: Option<&str>) -> Outcome {
        let package = self.package(defect)?;
        let image = self.dir.join("stick.img");
        stick::make(&self.project, &package, &image)?;
        if let Some(vm) = &mut self.vm {
            vm.plug(&image)?;
        }
        self.stick = Some(image);
        Ok(())
    }

    /// Pulls it.
    pub(crate) fn unplug_config_drive(&mut self) -> Outcome {
        self.stick.take().ok_or_else(|| Trouble::new("no config drive is plugged"))?;
        match &mut self.vm {
            Some(vm) => vm.unplug(),
            None => Ok(()),
        }
    }

    /// The next boots hand the package over as credentials.
    pub(crate) fn provision_by_credentials(&mut self) -> Outcome {
        let package = self.package(None)?;
        for (file, name) in CREDENTIALS {
            let content = std::fs::read(package.join(file)).doing(format!("package: {file}"))?;
            self.credentials.push(Credential::new(name, content));
        }
        Ok(())
    }

    /// Writes what provisioning would have written, in the running device.
    pub(crate) fn provision_by_hand(&mut self) -> Outcome {
        let package = self.package(None)?;
        self.sh("mkdir -p /etc/margo-agent/identity /etc/margo-agent/config.d")?;
        for file in [SVID, KEY, BUNDLE] {
            let bytes = std::fs::read(package.join(file)).doing(format!("package: {file}"))?;
            self.send_file(&bytes, &format!("/etc/margo-agent/identity/{file}"))?;
        }
        let bytes = std::fs::read(package.join(SETTINGS)).doing(SETTINGS)?;
        self.send_file(&bytes, "/etc/margo-agent/config.d/50-provisioned.toml")?;
        self.sh(
            "chmod 0600 /etc/margo-agent/identity/svid.key; sync; systemctl restart --no-block margo-agent",
        )
        .map(drop)
    }

    /// Writes the package's files.
    fn package(&self, defect: Option<&str>) -> Outcome<PathBuf> {
        let made = self.dir.join("identity");
        let package = self.dir.join("package");
        std::fs::create_dir_all(&package).doing("package")?;
        let options = match defect {
            Some("expired") => {
                SvidOptions { defect: Some(SvidDefect::Expired), ..SvidOptions::default() }
            }
            _ => SvidOptions::default(),
        };
        let lab = self.lab()?;
        let client = lab.config().client_id.clone();
        lab.provision_client(&made, &client, options).doing("provisioning package")?;
        for file in [SVID, KEY, BUNDLE] {
            std::fs::copy(made.join(file), package.join(file)).doing("provisioning package")?;
        }
        std::fs::write(package.join(SETTINGS), self.settings()?).doing(SETTINGS)?;
        spoil(&package, defect)?;
        Ok(package)
    }

    fn settings(&self) -> Outcome<String> {
        let lab = self.lab()?;
        let trial_timeout_secs = trial_timeout_secs();
        let mut text = HEADER.to_owned();
        // Dotted keys at the top, so that a scenario's own lines can stand beside them.
        text.push_str(&format!(
            "device.id = \"lab-device\"\ndevice.vendor = \"Lab\"\ndevice.model_number = \"Q1\"\n\
             device.serial_number = \"1\"\ndevice.otel_collector = true\n\
             device.otel_http_endpoint = \"http://127.0.0.1:4318\"\nwfm.url = \"{}\"\nwfm.poll_interval_secs = 2\n\
             retry.initial_ms = 500\nretry.max_ms = 4000\nfirmware.trial_timeout_secs = {trial_timeout_secs}\n\
             firmware.healthy_window_secs = {HEALTHY_WINDOW_SECS}\nfirmware.check_interval_secs = 2\n",
            lab.endpoints().wfm_url
        ));
        for line in &self.facts.settings {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&format!(
            "\n[[registry]]\nhost = \"{}\"\ninsecure = true\n",
            lab.registry().host()
        ));
        Ok(text)
    }
}

/// Makes a package that must be refused.
fn spoil(package: &Path, defect: Option<&str>) -> Outcome {
    match defect {
        None | Some("expired") => Ok(()),
        Some("no-key") => std::fs::remove_file(package.join(KEY)).doing("defect"),
        Some("garbage") => std::fs::write(package.join(SVID), b"not a certificate").doing("defect"),
        Some(other) => {
            Err(Trouble::new(format!("defect {other}: one of no-key, expired, garbage")))
        }
    }
}
