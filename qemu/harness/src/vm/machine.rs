//! One running virtual machine: started, asked, cut off.

use super::args::Hardware;
use super::qmp::Qmp;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::guest::journal::Journal;
use crate::guest::probe::Probe;
use crate::project::Project;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// Until QEMU has made its sockets.
const START_MAX: Duration = Duration::from_secs(60);
/// Until a killed QEMU is gone.
const END_MAX: Duration = Duration::from_secs(30);

/// A QEMU process and its channels. Dropping it pulls the plug.
#[derive(Debug)]
pub(crate) struct Vm {
    child: Child,
    /// The control channel.
    pub(crate) qmp: Qmp,
    /// The shell inside.
    pub(crate) probe: Probe,
}

impl Vm {
    /// Starts QEMU with all channels connected; the processor stands still until [`Vm::go`].
    pub(crate) fn start(
        project: &Project,
        hardware: &Hardware,
        dir: &Path,
        journal: &Journal,
    ) -> Outcome<Self> {
        for socket in ["qmp", "console", "margo.probe", "margo.journal"] {
            // One of the boot before would be connected to in vain.
            let _ = std::fs::remove_file(dir.join(socket));
        }
        let log = File::options().create(true).append(true).open(dir.join("qemu.log"));
        let log = log.doing("qemu.log")?;
        let child = project
            .tool(project.arch.emulator())
            .args(hardware.args(project, dir)?)
            .stdout(log.try_clone().doing("qemu.log")?)
            .stderr(log)
            .spawn();
        let mut child = child.doing("cannot start QEMU")?;
        let channels = Self::connect(&mut child, dir, journal);
        match channels {
            Ok((qmp, probe)) => Ok(Self { child, qmp, probe }),
            Err(trouble) => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(trouble)
            }
        }
    }

    fn connect(child: &mut Child, dir: &Path, journal: &Journal) -> Outcome<(Qmp, Probe)> {
        let qmp = Qmp::open(connect(child, dir, "qmp")?, &dir.join("qmp.log"))?;
        let probe = Probe::open(connect(child, dir, "margo.probe")?)?;
        journal.follow(connect(child, dir, "margo.journal")?, &dir.join("journal.jsonl"))?;
        Ok((qmp, probe))
    }

    /// Lets the processor run.
    pub(crate) fn go(&mut self) -> Outcome {
        self.qmp.ask("cont", json!({})).map(drop)
    }

    /// Holds the processor; what was asked of the disk is done and flushed.
    pub(crate) fn stop(&mut self) -> Outcome {
        self.qmp.ask("stop", json!({})).map(drop)
    }

    /// Pulls or plugs the network cable.
    pub(crate) fn set_link(&mut self, is_up: bool) -> Outcome {
        self.qmp.ask("set_link", json!({"name": "nic0", "up": is_up})).map(drop)
    }

    /// Plugs a stick. As a SCSI disk: small kernels for virtual machines have no USB.
    pub(crate) fn plug(&mut self, image: &Path) -> Outcome {
        let file = json!({"driver": "file", "filename": image, "read-only": true});
        let node = json!({"driver": "raw", "node-name": "stick", "read-only": true, "file": file});
        self.qmp.ask("blockdev-add", node)?;
        let device = json!({"driver": "scsi-hd", "bus": "scsi.0", "drive": "stick",
            "id": "stick", "removable": true});
        self.qmp.ask("device_add", device).map(drop)
    }

    /// Pulls the stick.
    pub(crate) fn unplug(&mut self) -> Outcome {
        let before = self.qmp.count("DEVICE_DELETED");
        self.qmp.ask("device_del", json!({"id": "stick"}))?;
        let began = Instant::now();
        while self.qmp.count("DEVICE_DELETED") == before {
            if began.elapsed() > START_MAX {
                return Err(Trouble::new("the stick could not be unplugged"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.qmp.ask("blockdev-del", json!({"node-name": "stick"})).map(drop)
    }

    /// Limits the disk's speed; 0 ends it.
    pub(crate) fn throttle(&mut self, kib_per_second: u64) -> Outcome {
        let mut limits = json!({"id": "vda"});
        for key in ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
            if let Some(limits) = limits.as_object_mut() {
                limits.insert(key.to_owned(), Value::from(0));
            }
        }
        if let Some(limit) = limits.get_mut("bps_wr") {
            *limit = Value::from(kib_per_second.saturating_mul(1024));
        }
        self.qmp.ask("block_set_io_throttle", limits).map(drop)
    }

    /// Presses the reset button.
    pub(crate) fn reset(&mut self) -> Outcome {
        self.qmp.ask("system_reset", json!({})).map(drop)
    }

    /// Whether QEMU still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How often the machine has restarted.
    pub(crate) fn resets(&self) -> usize {
        self.qmp.count("RESET")
    }

    /// Waits until QEMU ends by itself, as it does when the device powers off.
    pub(crate) fn ended(&mut self, timeout: Duration) -> Outcome {
        let began = Instant::now();
        while self.is_running() {
            if began.elapsed() > timeout {
                return Err(Trouble::new("the device did not power off"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Pulls the plug: what the device did not send to its disk is lost.
    pub(crate) fn cut(mut self) -> Outcome {
        self.kill()
    }

    fn kill(&mut self) -> Outcome {
        // It may have ended by itself.
        let _ = self.child.kill();
        let began = Instant::now();
        while self.is_running() {
            if began.elapsed() > END_MAX {
                return Err(Trouble::new("QEMU cannot be killed"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}

fn connect(child: &mut Child, dir: &Path, name: &str) -> Outcome<UnixStream> {
    let began = Instant::now();
    loop {
        match UnixStream::connect(dir.join(name)) {
            Ok(stream) => return Ok(stream),
            Err(_) if began.elapsed() < START_MAX && matches!(child.try_wait(), Ok(None)) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => {
                let log = std::fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(Trouble::new(format!(
                    "QEMU did not start ({name}: {error}): {}",
                    tail.join(" | ")
                )));
            }
        }
    }
}
