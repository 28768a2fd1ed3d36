//! Which accelerator QEMU gets: KVM only after the device image itself came up with it.

use super::args::Hardware;
use super::disk::Disk;
use super::machine::Vm;
use crate::error::{Doing as _, Outcome};
use crate::guest::credentials;
use crate::guest::journal::Journal;
use crate::project::Project;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// With working KVM the image needs a fraction of this.
const BOOT_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// `kvm` or `tcg`: what `MARGO_QEMU_ACCEL` says, else what was found out on this machine since it was started.
pub(crate) fn accelerator(project: &Project) -> &'static str {
    static FOUND: OnceLock<&'static str> = OnceLock::new();
    FOUND.get_or_init(|| find(project))
}

fn find(project: &Project) -> &'static str {
    match std::env::var("MARGO_QEMU_ACCEL").as_deref() {
        Ok("kvm") => return "kvm",
        Ok("tcg") => return "tcg",
        _ => {}
    }
    // Another processor is always emulated.
    if !project.arch.is_ours() {
        return "tcg";
    }
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return "tcg";
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = project.root.join("target/qemu/accelerator");
    let known = std::fs::read_to_string(&note).unwrap_or_default();
    match known.strip_prefix(boot.trim()).map(str::trim) {
        Some("kvm") => return "kvm",
        Some("tcg") => return "tcg",
        _ => {}
    }
    // A device node says nothing, and neither does firmware that starts: nested virtualisation may be there and stop at
    // the first instruction it does not know.
    let dir = project.run_dir(&format!("accelerator-{}", std::process::id()));
    let found = if kvm_boots(project, &dir).is_ok() { "kvm" } else { "tcg" };
    // Found out again next time if it cannot be noted or cleaned up.
    let _ = std::fs::write(note, format!("{} {found}\n", boot.trim()));
    let _ = std::fs::remove_dir_all(dir);
    found
}

fn kvm_boots(project: &Project, dir: &Path) -> Outcome {
    std::fs::create_dir_all(dir).doing("accelerator probe")?;
    let disk = Disk::over(project, &project.image, dir.join("disk.qcow2"), None)?;
    let variables = dir.join("efi-variables.fd");
    if project.direct.is_none() {
        project.run_tool("cp", &[project.arch.firmware().1, &variables.display().to_string()])?;
    }
    let hardware = Hardware {
        accelerator: "kvm",
        memory_mib: 1024,
        cpus: 1,
        clock: None,
        disk: disk.path,
        variables,
        write_log: None,
        stick: None,
        credentials: credentials::of_harness(),
        forwards: Vec::new(),
        incoming: None,
    };
    let mut vm = Vm::start(project, &hardware, dir, &Journal::default())?;
    vm.go()?;
    let began = Instant::now();
    loop {
        let hello = vm.probe.hello(None, LOOK_AGAIN);
        let is_over = began.elapsed() > BOOT_MAX || !vm.is_running() || vm.qmp.count("STOP") > 0;
        if hello.is_ok() || is_over {
            return hello.map(drop);
        }
    }
}
