//! The device's power: made, booted, put aside, cut off.

use super::world::{Facts, World};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::guest::credentials;
use crate::vm::accel;
use crate::vm::args::Hardware;
use crate::vm::disk::Disk;
use crate::vm::machine::Vm;
use std::path::PathBuf;
use std::time::{Duration, Instant};

impl World {
    /// A factory-new device, off.
    pub(crate) fn device_new(
        &mut self,
        memory_mib: u64,
        cpus: u64,
        disk_mib: Option<u64>,
        clock: Option<String>,
    ) -> Outcome {
        let image = self.project.require_image()?.to_owned();
        if let Some(log) = &self.write_log {
            log.begin()?;
        }
        let path = self.dir.join("disk.qcow2");
        self.disk = Some(Disk::over(&self.project, &image, path, disk_mib)?);
        self.facts = Facts { memory_mib, cpus, clock, ..Facts::default() };
        let variables = self.variables();
        if self.project.direct.is_none() {
            let to = variables.display().to_string();
            self.project.run_tool("cp", &[self.project.arch.firmware().1, &to])?;
        }
        self.start_lab()
    }

    pub(crate) fn variables(&self) -> PathBuf {
        self.dir.join("efi-variables.fd")
    }

    pub(crate) fn hardware(&self, incoming: Option<PathBuf>) -> Outcome<Hardware> {
        let disk = self.disk.as_ref().ok_or_else(|| {
            Trouble::new("no device yet: begin with `device new` or `device from …`")
        })?;
        let mut given = credentials::of_harness();
        given.extend(self.credentials.iter().cloned());
        Ok(Hardware {
            accelerator: accel::accelerator(&self.project),
            memory_mib: self.facts.memory_mib,
            cpus: self.facts.cpus,
            clock: self.facts.clock.clone(),
            disk: disk.path.clone(),
            write_log: self.write_log.clone(),
            variables: self.variables(),
            stick: self.stick.clone(),
            credentials: given,
            forwards: self.forwards.clone(),
            incoming,
        })
    }

    /// Switches on and waits for the test shell.
    pub(crate) fn boot(&mut self, with_network: bool, timeout: Duration) -> Outcome {
        if self.vm.is_some() {
            return Err(Trouble::new("the device is on already"));
        }
        let hardware = self.hardware(None)?;
        self.boot_mark = self.journal.mark();
        let mut vm = Vm::start(&self.project, &hardware, &self.dir, &self.journal)?;
        if !with_network {
            vm.set_link(false)?;
        }
        vm.go()?;
        let vm = self.vm.insert(vm);
        self.known_boot = Some(vm.probe.hello(None, timeout)?);
        Ok(())
    }

    /// Waits until the device's file systems are there: its test shell is up before them.
    pub(crate) fn mounted(&mut self, timeout: Duration) -> Outcome {
        self.wait("the device's file systems", timeout, |world| {
            world.sh("systemctl is-active --quiet local-fs.target")
        })
        .map(drop)
    }

    /// Shuts down in good order.
    pub(crate) fn power_off(&mut self, timeout: Duration) -> Outcome {
        self.sh(&later("systemctl poweroff --no-block"))?;
        self.vm()?.ended(timeout)?;
        self.vm = None;
        Ok(())
    }

    /// Pulls the plug.
    pub(crate) fn cut(&mut self) -> Outcome {
        self.stop_recording()?;
        let vm = self.vm.take();
        vm.ok_or_else(|| Trouble::new("the device is off already"))?.cut()
    }

    /// Stops the machine so that log and disk say the same: what was under way ends, and the log's head is written.
    fn stop_recording(&mut self) -> Outcome {
        match (&self.write_log, &mut self.vm) {
            (Some(_), Some(vm)) => vm.stop(),
            _ => Ok(()),
        }
    }

    /// Reboots in good order.
    pub(crate) fn reboot(&mut self, timeout: Duration) -> Outcome {
        self.sh(&later("systemctl reboot --no-block"))?;
        self.await_reboot(timeout)
    }

    /// Waits until the shell of another boot answers than the one the scenario knows of.
    pub(crate) fn await_reboot(&mut self, timeout: Duration) -> Outcome {
        let known = self.known_boot.clone();
        let probe = &mut self.vm()?.probe;
        let boot = match probe.boot_id().filter(|boot| known.as_deref() != Some(*boot)) {
            // An earlier step has met the new boot's shell already.
            Some(boot) => boot.to_owned(),
            None => probe.hello(known.as_deref(), timeout)?,
        };
        self.boot_mark = self.journal.first_of(&boot);
        self.known_boot = Some(boot);
        Ok(())
    }

    /// Waits for reboots until the device was booted from this slot.
    pub(crate) fn await_slot(&mut self, slot: &str, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let mut last = String::from("it did not reboot");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(why) = self.await_reboot(left) {
                return Err(Trouble::new(format!("slot {slot} was not booted: {last}; {why}")));
            }
            // A boot can end while it is asked. Then the next one counts.
            match self.expect_slot(slot) {
                Ok(()) => return Ok(()),
                Err(why) => last = why.to_string(),
            }
        }
    }

    /// Presses the reset button.
    pub(crate) fn press_reset(&mut self, timeout: Duration) -> Outcome {
        self.vm()?.reset()?;
        self.await_reboot(timeout)
    }

    /// What the hardware clock says from the next boot on.
    pub(crate) fn set_clock(&mut self, clock: &str) {
        self.facts.clock = (clock != "now").then(|| clock.to_owned());
    }

    /// Ends everything; the logs stay, the disk only when asked.
    pub(crate) fn end(&mut self, keep_disk: bool) -> Outcome {
        let stopped = self.stop_recording();
        self.vm = None;
        self.keep_lab_events();
        self.stop_lab();
        stopped?;
        if keep_disk {
            return Ok(());
        }
        for name in ["disk.qcow2", "efi-variables.fd", "stick.img"] {
            let file = self.dir.join(name);
            if file.exists() {
                std::fs::remove_file(&file).doing("cannot remove a disk")?;
            }
        }
        let lab = self.dir.join("lab");
        if lab.exists() {
            std::fs::remove_dir_all(&lab).doing("cannot remove the lab's files")?;
        }
        Ok(())
    }
}

/// A command that runs when the shell has answered: a shutdown ends the shell as well.
fn later(command: &str) -> String {
    format!("(sleep 0.5; {command}) >/dev/null 2>&1 &")
}
