//! Prepared devices: a scenario is run once up to a point, the running device is put aside, and others begin there.

use super::steps;
use super::suite::last_words;
use super::timeline::Timeline;
use super::world::{Facts, World, copy_dir};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::scenario::action::Action;
use crate::scenario::files;
use crate::vm::disk::Disk;
use crate::vm::machine::Vm;
use crate::vm::snapshot;
use std::path::Path;
use std::time::SystemTime;

const MEMORY: &str = "memory";
const FACTS: &str = "facts.json";

impl World {
    /// Goes on from a prepared device, which is made first when it is missing or was made from something else.
    pub(crate) fn device_from(&mut self, name: &str) -> Outcome {
        if self.write_log.is_some() {
            return self.device_played(name);
        }
        // The lab's ports are baked into the device, so each job that runs at the same time has its own.
        let kept = self.project.prepared_dir(self.slot, name);
        if !self.is_fresh(&kept, name) {
            self.prepare(&kept, name)?;
        }
        for file in ["efi-variables.fd", "stick.img"] {
            if kept.join(file).exists() {
                std::fs::copy(kept.join(file), self.dir.join(file)).doing("copy")?;
            }
        }
        copy_dir(&kept.join("lab"), &self.dir.join("lab"))?;
        let facts = std::fs::read(kept.join(FACTS)).doing(FACTS)?;
        self.facts = serde_json::from_slice(&facts).doing(FACTS)?;
        let disk = self.dir.join("disk.qcow2");
        self.disk = Some(Disk::over(&self.project, &kept.join("disk.qcow2"), disk, None)?);
        self.start_lab()?;
        let hardware = self.hardware(Some(kept.join(MEMORY)))?;
        let mut vm = Vm::start(&self.project, &hardware, &self.dir, &self.journal)?;
        snapshot::loaded(&mut vm)?;
        if let Some(boot_id) = self.facts.boot_id.clone() {
            self.known_boot = Some(boot_id.clone());
            vm.probe.adopt(boot_id);
        }
        vm.go()?;
        self.vm = Some(vm);
        // Its clock stood still meanwhile, and certificates of the lab may be younger than it.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map(|now| now.as_secs()).unwrap_or_default();
        self.sh(&format!("date -s @{now} >/dev/null")).map(drop)
    }

    /// The steps of a prepared device, here: a record of its writes must begin with a factory-new disk.
    fn device_played(&mut self, name: &str) -> Outcome {
        let scenario = files::read(&self.source(name))?;
        let mut timeline = Timeline::new(&format!("prepared/{name}"), true);
        for step in &scenario.steps {
            let at = || format!("{}:{}", scenario.path.display(), step.line);
            steps::run(self, step, &mut timeline)
                .map_err(|trouble| Trouble::new(format!("{}: {}\n{trouble}", at(), step.text)))?;
        }
        Ok(())
    }

    fn is_fresh(&self, kept: &Path, name: &str) -> bool {
        let read = |file: &Path| std::fs::read(file).ok();
        let facts = read(&kept.join(FACTS)).and_then(|text| serde_json::from_slice(&text).ok());
        let Some(Facts { made_from, .. }) = facts else { return false };
        made_from == self.made_from(name) && self.is_base_kept(kept, name)
    }

    /// Changes with everything a prepared device is made from.
    fn made_from(&self, name: &str) -> String {
        let mut text = std::fs::read_to_string(self.source(name)).unwrap_or_default();
        for credential in crate::guest::credentials::of_harness() {
            text.push_str(&credential.name);
            text.push_str(&String::from_utf8_lossy(&credential.content));
        }
        // Memory can only be put back into the same machine.
        text.push_str(include_str!("../vm/args.rs"));
        let image = std::fs::metadata(&self.project.image).and_then(|image| image.modified());
        text.push_str(&format!("{} {:?}", self.project.image.display(), image.ok()));
        margo_lab::ids::sha256_digest(text.as_bytes())
    }

    /// A prepared device that began with another one needs that one's disk as it was.
    fn is_base_kept(&self, kept: &Path, name: &str) -> bool {
        let time = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let Ok(scenario) = files::read(&self.source(name)) else { return false };
        scenario.steps.iter().all(|step| match &step.action {
            Action::DeviceFrom { prepared } => {
                let base = self.project.prepared_dir(self.slot, prepared);
                let is_older = time(&base.join(FACTS)) < time(&kept.join(FACTS));
                self.is_fresh(&base, prepared) && is_older
            }
            _ => true,
        })
    }

    fn source(&self, name: &str) -> std::path::PathBuf {
        self.project.root.join("qemu/scenarios/prepared").join(format!("{name}.scenario"))
    }

    fn prepare(&self, kept: &Path, name: &str) -> Outcome {
        let scenario = files::read(&self.source(name))?;
        let mut timeline = Timeline::new(&format!("prepared/{name}"), false);
        let mut world = Self::new(&self.project, kept.to_owned(), self.slot, self.runtime.clone())?;
        for step in &scenario.steps {
            let did = steps::run(&mut world, step, &mut timeline);
            let Err(trouble) = did else { continue };
            let at = format!("{}:{}", scenario.path.display(), step.line);
            let words = last_words(&world);
            // The failure itself is what matters.
            let _ = world.end(true);
            return Err(Trouble::new(format!("{at}: {trouble}\n{words}")));
        }
        world.facts.boot_id = world.vm()?.probe.boot_id().map(str::to_owned);
        world.facts.made_from = world.made_from(name);
        // Nothing of it may be half-way when it is stopped.
        world.sh("sync")?;
        snapshot::save(world.vm()?, &kept.join(MEMORY))?;
        world.vm = None;
        world.stop_lab();
        let facts = serde_json::to_vec(&world.facts).doing(FACTS)?;
        std::fs::write(kept.join(FACTS), facts).doing(FACTS)?;
        Ok(())
    }
}
