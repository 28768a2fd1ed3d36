//! Damage to a device, and programs that stop where a test wants them to.

use super::moments::HELD_MESSAGE_ID;
use super::world::World;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::vm::environment;
use margo_lab::{Fault, FaultKind, Operation, Service};

/// Where wrappers of held programs are in the device: gone with the boot.
const HOLD_DIR: &str = "/run/margo-hold";
/// Bytes overwritten at the head of a slot: the squashfs superblock and the first data.
const SLOT_NOISE_BYTES: usize = 4 << 20;

impl World {
    /// Makes a server of the lab misbehave.
    pub(crate) fn fault(
        &mut self,
        service: &str,
        kind: &str,
        operation: Option<&str>,
        count: Option<u32>,
    ) -> Outcome {
        let service: Service = service.parse().doing("fault")?;
        let kind: FaultKind = kind.parse().doing("fault")?;
        let mut fault = Fault::new(service, kind);
        if let Some(operation) = operation {
            fault = fault.on(operation.parse::<Operation>().doing("fault")?);
        }
        if let Some(count) = count {
            fault = fault.times(count);
        }
        self.lab()?.fault(fault).map(drop).doing("fault")
    }

    /// Stops or starts a server of the lab.
    pub(crate) fn switch_lab(&mut self, service: &str, is_on: bool) -> Outcome {
        let service: Service = service.parse().doing("lab")?;
        let runtime = self.runtime.clone();
        let lab = self.lab()?;
        if is_on {
            return runtime.block_on(lab.resume(service)).doing("lab start");
        }
        runtime.block_on(lab.stop(service));
        Ok(())
    }

    /// Takes all space of the data partition but this much.
    pub(crate) fn fill_data(&mut self, leave_mib: u64) -> Outcome {
        self.sh(&format!(
            "d=/data; [ -d $d ] || d=/var/lib; \
             free=$(df --output=avail -B1M $d | tail -n 1); \
             fallocate -l $((free - {leave_mib}))M $d/.margo-ballast && sync"
        ))
        .map(drop)
    }

    /// Gives it back.
    pub(crate) fn free_data(&mut self) -> Outcome {
        self.sh("rm -f /data/.margo-ballast /var/lib/.margo-ballast; sync").map(drop)
    }

    /// Overwrites the middle of the agent's state files and makes sure that it is on the disk.
    pub(crate) fn damage_state(&mut self, which: &str) -> Outcome {
        let choose = match which {
            "newest" => "ls -t state-[ab] | head -n 1",
            "oldest" => "ls -t state-[ab] | tail -n 1",
            _ => "ls state-[ab]",
        };
        // In place, as a failing storage would do it: no rename, no new file. The agent is stopped, or its next two saves
        // could replace what was damaged before the power is cut.
        let found = self.sh(&format!(
            "set -e; systemctl stop margo-agent; cd /var/lib/margo-agent/state; set -- $({choose}); test -f \"$1\"; for f; do \
             printf 'XXXXXXXXXXXXXXXX' | dd of=\"$f\" bs=1 seek=$(($(stat -c %s \"$f\") / 2)) conv=notrunc status=none; echo \"$f\"; \
             done; sync"
        ))?;
        // What the shell complains of is in the same text: only names of the files count.
        if !found.lines().all(|line| matches!(line, "state-a" | "state-b")) || found.is_empty() {
            return Err(Trouble::new(format!("the agent's state was not damaged: {found}")));
        }
        Ok(())
    }

    /// Overwrites copies of the boot environment on the switched-off disk.
    pub(crate) fn damage_environment(&mut self, which: &str) -> Outcome {
        environment::damage(&self.project, self.idle_disk()?, which)
    }

    /// Overwrites the head of a slot on the switched-off disk.
    pub(crate) fn damage_slot(&mut self, slot: &str) -> Outcome {
        let disk = self.idle_disk()?;
        let name = format!("root_{}", slot.to_lowercase());
        let range = disk.partition(&self.project, &name)?;
        disk.write(&self.project, range.offset, &vec![0xA5; SLOT_NOISE_BYTES])
    }

    /// Puts a wrapper over a program that stops before or after a run with this argument, and says so in the journal.
    pub(crate) fn hold(&mut self, program: &str, place: &str, argument: &str) -> Outcome {
        let path = match program {
            "boot-env" => "/usr/lib/margo-agent/margo-boot-env",
            path if path.starts_with('/') => path,
            other => {
                let text = format!("hold {other}: `boot-env`, or a path that begins with /");
                return Err(Trouble::new(text));
            }
        };
        let (before, after) = match place {
            "before" => ("stop", ":"),
            _ => (":", "stop"),
        };
        let script = format!(
            "#!/bin/sh\nstop() {{\n case \" $* \" in *\"{argument}\"*) ;; *) return ;; esac\n \
             printf 'MESSAGE_ID={HELD_MESSAGE_ID}\\nMESSAGE=held: %s\\n' \"$*\" | logger --journald\n \
             while [ ! -e {HOLD_DIR}/go ]; do sleep 0.1; done\n}}\n{before} \"$@\"\n\
             {HOLD_DIR}/original \"$@\"\ncode=$?\n{after} \"$@\"\nexit $code\n"
        );
        // A mount of its own: nothing below /run may be executed.
        self.sh(&format!(
            "mkdir -p {HOLD_DIR} && {{ mountpoint -q {HOLD_DIR} || mount -t tmpfs -o mode=0755 hold {HOLD_DIR}; }} \
             && rm -f {HOLD_DIR}/go && cp {path} {HOLD_DIR}/original"
        ))?;
        self.send_file(script.as_bytes(), &format!("{HOLD_DIR}/wrapper"))?;
        self.sh(&format!("chmod 0755 {HOLD_DIR}/wrapper && mount --bind {HOLD_DIR}/wrapper {path}"))
            .map(drop)
    }

    /// Lets it go on.
    pub(crate) fn release(&mut self) -> Outcome {
        self.sh(&format!("touch {HOLD_DIR}/go")).map(drop)
    }
}
