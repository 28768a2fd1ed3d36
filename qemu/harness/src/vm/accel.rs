//! Which accelerator QEMU gets: KVM only after it really ran something.

use crate::project::Project;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A machine that is up runs this long at most until its firmware says something.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// `kvm` or `tcg`, found out once.
pub(crate) fn accelerator(project: &Project) -> &'static str {
    static FOUND: OnceLock<&'static str> = OnceLock::new();
    FOUND.get_or_init(|| if kvm_works(project) { "kvm" } else { "tcg" })
}

/// A device node says nothing: nested virtualisation may be there and stall. So a guest has to get somewhere: the PC
/// firmware under KVM must reach its debug port.
fn kvm_works(project: &Project) -> bool {
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let log = std::env::temp_dir().join(format!("margo-kvm-probe-{}", std::process::id()));
    let child = project
        .tool("qemu-system-x86_64")
        .args(["-nodefaults", "-display", "none", "-machine", "q35,accel=kvm", "-cpu", "max"])
        .args(["-m", "64", "-debugcon"])
        .arg(format!("file:{}", log.display()))
        .args(["-global", "isa-debugcon.iobase=0x402"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let began = Instant::now();
    let mut works = false;
    while !works && began.elapsed() < PROBE_MAX && matches!(child.try_wait(), Ok(None)) {
        works = std::fs::metadata(&log).is_ok_and(|log| log.len() > 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_file(&log);
    works
}
