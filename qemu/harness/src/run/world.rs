//! One scenario's world: a lab in this process, a device in QEMU, the apps that are deployed.

use super::steps::patience;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::guest::credentials::Credential;
use crate::guest::journal::{Journal, Mark};
use crate::project::Project;
use crate::vm::disk::Disk;
use crate::vm::machine::Vm;
use crate::vm::write_log::WriteLog;
use margo_lab::{DeploymentId, Lab, LabConfig, Service};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A command in the device, where nothing else is said.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// The lab as a device in QEMU's user network reaches it.
pub(crate) const LAB_HOST: &str = "10.0.2.2";
/// Between two looks at something that tells nobody when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Looking costs the device work, which is slow when it is emulated: it gets so many times as long to itself.
const SHARE_OF_LOOKS: u32 = 4;
/// But what has happened is noticed within this.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(5);

/// What is known of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deployed {
    pub(crate) id: DeploymentId,
    pub(crate) version: String,
    pub(crate) services: u32,
}

/// What the device is made of, also while it is off; what a prepared device keeps in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) memory_mib: u64,
    pub(crate) cpus: u64,
    pub(crate) clock: Option<String>,
    pub(crate) deployed: BTreeMap<String, Deployed>,
    /// Lines for the settings that provisioning brings.
    pub(crate) settings: Vec<String>,
    /// Containers noted by `remember`.
    pub(crate) remembered: BTreeMap<String, Vec<String>>,
    /// What a device put aside was made from.
    pub(crate) made_from: String,
    /// The boot of a device put aside.
    pub(crate) boot_id: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) project: Project,
    /// Disks, logs and sockets.
    pub(crate) dir: PathBuf,
    pub(crate) runtime: Handle,
    lab: Option<Arc<Lab>>,
    pub(crate) vm: Option<Vm>,
    pub(crate) disk: Option<Disk>,
    /// Where everything asked of the disk is recorded, from its beginning.
    pub(crate) write_log: Option<WriteLog>,
    pub(crate) facts: Facts,
    pub(crate) journal: Journal,
    /// Where the present boot's journal begins.
    pub(crate) boot_mark: Mark,
    /// The boot that the scenario knows of; the device may be further by itself.
    pub(crate) known_boot: Option<String>,
    /// What is handed over at the next boot, beside the harness's own.
    pub(crate) credentials: Vec<Credential>,
    pub(crate) stick: Option<PathBuf>,
    pub(crate) forwards: Vec<(u16, u16)>,
    /// Which of the jobs that run at the same time this is.
    pub(crate) slot: usize,
}

impl World {
    /// An empty one. `dir` is emptied.
    pub(crate) fn new(
        project: &Project,
        dir: PathBuf,
        slot: usize,
        runtime: Handle,
    ) -> Outcome<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir).doing(format!("cannot empty {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).doing(format!("cannot make {}", dir.display()))?;
        Ok(Self {
            project: project.clone(),
            dir,
            runtime,
            lab: None,
            vm: None,
            disk: None,
            write_log: None,
            facts: Facts::default(),
            journal: Journal::default(),
            boot_mark: Mark::default(),
            known_boot: None,
            credentials: Vec::new(),
            stick: None,
            forwards: Vec::new(),
            slot,
        })
    }

    /// Starts the lab, new or with what is kept in its directory.
    pub(crate) fn start_lab(&mut self) -> Outcome {
        let config = LabConfig {
            dir: Some(self.dir.join("lab")),
            host: Some(LAB_HOST.to_owned()),
            ..LabConfig::default()
        };
        let lab = self.runtime.block_on(Lab::start(config)).doing("cannot start the lab")?;
        self.lab = Some(Arc::new(lab));
        Ok(())
    }

    /// Stops the lab, so that its directory can be copied.
    pub(crate) fn stop_lab(&mut self) {
        if let Some(lab) = self.lab.take() {
            for service in Service::ALL {
                self.runtime.block_on(lab.stop(*service));
            }
        }
    }

    pub(crate) fn lab(&self) -> Outcome<&Arc<Lab>> {
        self.lab.as_ref().ok_or_else(|| Trouble::new("no device yet: begin with `device new`"))
    }

    pub(crate) fn vm(&mut self) -> Outcome<&mut Vm> {
        self.vm.as_mut().ok_or_else(|| Trouble::new("the device is off: `boot` comes first"))
    }

    /// The disk, which must not be in use, to be written by the harness.
    pub(crate) fn idle_disk(&self) -> Outcome<&Disk> {
        if self.vm.is_some() {
            return Err(Trouble::new("the device is on: `cut power` or `power off` comes first"));
        }
        if self.write_log.is_some() {
            return Err(Trouble::new(
                "with --write-log nothing but the device may write its disk: leave this step out",
            ));
        }
        self.disk.as_ref().ok_or_else(|| Trouble::new("no device yet: begin with `device new`"))
    }

    pub(crate) fn deployed(&self, app: &str) -> Outcome<&Deployed> {
        let found = self.facts.deployed.get(app);
        found.ok_or_else(|| Trouble::new(format!("{app} was never deployed in this scenario")))
    }

    /// Runs a command in the device; it must end well.
    pub(crate) fn sh(&mut self, command: &str) -> Outcome<String> {
        let ran = self.vm()?.probe.run(command, COMMAND_MAX * patience())?;
        if ran.exit == 0 {
            return Ok(ran.output);
        }
        let output = ran.output.trim();
        Err(Trouble::new(format!("in the device: `{command}` ended with {}: {output}", ran.exit)))
    }

    /// Looks again and again until it is right or the time is over; what was seen last is told.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut look: impl FnMut(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        let began = Instant::now();
        loop {
            let looked = Instant::now();
            let seen = look(self);
            let pause = (looked.elapsed() * SHARE_OF_LOOKS).clamp(LOOK_AGAIN, LOOK_AGAIN_MAX);
            match seen {
                Ok(found) => return Ok(found),
                Err(seen) if began.elapsed() > timeout => {
                    let text = format!("waited {timeout:?} in vain for {what}; seen: {seen}");
                    return Err(Trouble::new(text));
                }
                Err(_) => {}
            }
            if self.vm.as_mut().is_some_and(|vm| !vm.is_running()) {
                return Err(Trouble::new(format!("QEMU ended while waiting for {what}")));
            }
            std::thread::sleep(pause);
        }
    }

    /// Writes what the lab saw.
    pub(crate) fn keep_lab_events(&self) {
        let Some(lab) = &self.lab else { return };
        let mut text = String::new();
        for request in lab.requests() {
            text.push_str(&format!("{} {request}\n", request.time_ms));
        }
        for report in lab.reports() {
            text.push_str(&format!("{} report {report}\n", report.time_ms));
        }
        // A missing log does not make a test fail.
        let _ = std::fs::write(self.dir.join("lab.log"), text);
    }
}

/// Copies a directory with everything in it.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to).doing(format!("cannot make {}", to.display()))?;
    for entry in std::fs::read_dir(from).doing(format!("cannot list {}", from.display()))? {
        let entry = entry.doing("directory entry")?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).doing("cannot copy a file")?;
        }
    }
    Ok(())
}
