//! systemd credentials in the machine's SMBIOS tables: the test's own units, and provisioning packages.

use crate::error::{Doing as _, Outcome};
use crate::run::steps::{allowance, patience};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

/// One credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

impl Credential {
    pub(crate) fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), content: content.into() }
    }
}

/// The shell: one request a line, one answer a line, both in base64, so nothing in between can be mistaken.
const PROBE: &str = r#"[Unit]
Description=Shell of the test harness
DefaultDependencies=no
Conflicts=shutdown.target
After=dev-virtio\x2dports-margo.probe.device
Wants=dev-virtio\x2dports-margo.probe.device
[Service]
OOMScoreAdjust=-900
TimeoutStopSec=2
ExecStart=/bin/sh -c 'exec 3<>/dev/virtio-ports/margo.probe; echo "margo-probe hello $$(cat /proc/sys/kernel/random/boot_id)" >&3; while read -r id limit cmd <&3; do printf %%s "$$cmd" | base64 -d >/run/margo-probe.sh; timeout "$$limit" sh /run/margo-probe.sh >/run/margo-probe.out 2>&1 </dev/null 3>&-; code=$$?; echo "margo-probe $$id $$code $$(head -c 400000 /run/margo-probe.out | base64 -w0)" >&3; done'
"#;

/// The journal of this boot, from its beginning. Not before the journal has moved to its place on disk: who follows it
/// earlier sees nothing of what comes after the move.
const JOURNAL: &str = r"[Unit]
Description=Journal for the test harness
DefaultDependencies=no
Conflicts=shutdown.target
After=systemd-journald.service systemd-journal-flush.service dev-virtio\x2dports-margo.journal.device
Wants=dev-virtio\x2dports-margo.journal.device
[Service]
TimeoutStopSec=2
ExecStart=/usr/bin/journalctl --follow --no-tail --boot --output=json
StandardOutput=file:/dev/virtio-ports/margo.journal
";

/// The lab's registry speaks HTTP. The engine takes that from loopback only, unless told.
const ENGINE: &str = "[Service]\nEnvironment=DOCKER_OPTS=--insecure-registry=10.0.2.0/24\n";

/// How long a trial may last, in seconds since the boot: emulated, a boot with all workloads takes about one minute.
const TRIAL_TIMEOUT_SECS: u32 = 240;
/// The guard comes so long after it.
const GUARD_LATER_SECS: u32 = 60;

/// The agent's deadline for a trial.
pub(crate) fn trial_timeout_secs() -> u32 {
    TRIAL_TIMEOUT_SECS.saturating_mul(allowance())
}

/// The guard's deadline, beyond the agent's own.
fn guard() -> String {
    let deadline_secs = trial_timeout_secs() + GUARD_LATER_SECS;
    format!("[Timer]\nOnBootSec=\nOnBootSec={deadline_secs}s\n")
}

/// What the boot waits for.
const DEVICES: [&str; 4] = [
    r"dev-disk-by\x2dpartlabel-env.device",
    r"dev-disk-by\x2dpartlabel-data.device",
    r"dev-virtio\x2dports-margo.probe.device",
    r"dev-virtio\x2dports-margo.journal.device",
];
/// How long systemd waits for a device unless told, in seconds.
const DEVICE_TIMEOUT_SECS: u32 = 90;

/// A slow emulation needs longer to find its devices. Without them nothing is mounted, and the boot tells only that.
fn slow_devices() -> impl Iterator<Item = Credential> {
    let timeout_secs = DEVICE_TIMEOUT_SECS.saturating_mul(allowance());
    let dropin = format!("[Unit]\nJobRunningTimeoutSec={timeout_secs}s\n");
    DEVICES
        .iter()
        .map(move |unit| Credential::new(&format!("systemd.unit-dropin.{unit}"), dropin.clone()))
}

/// The units that may take only so long to start, and how many seconds.
const STARTS: [(&str, u32); 4] = [
    ("margo-boot-env.service", 30),
    ("margo-provision.service", 30),
    ("margo-provision-drive@.service", 60),
    ("margo-agent.service", 60),
];

/// What takes a moment on a device can take half a minute in a slow emulation, and a unit that failed spoils the boot.
fn slow_starts() -> impl Iterator<Item = Credential> {
    STARTS.iter().map(|(unit, limit_secs)| {
        let timeout_secs = limit_secs.saturating_mul(patience());
        let dropin = format!("[Service]\nTimeoutStartSec={timeout_secs}s\n");
        // With a name of its own: the benchmark has a drop-in for the agent, too.
        Credential::new(&format!("systemd.unit-dropin.{unit}~slow-start"), dropin)
    })
}

/// The units every device under test gets.
pub(crate) fn of_harness() -> Vec<Credential> {
    let mut units = vec![
        Credential::new("systemd.extra-unit.margo-probe.service", PROBE),
        Credential::new("systemd.extra-unit.margo-journal.service", JOURNAL),
        Credential::new("systemd.unit-dropin.docker.service", ENGINE),
        Credential::new("systemd.unit-dropin.margo-trial-guard.timer", guard()),
        Credential::new(
            "systemd.unit-dropin.sysinit.target",
            "[Unit]\nWants=margo-probe.service margo-journal.service\n",
        ),
    ];
    units.extend(slow_devices());
    units.extend(slow_starts());
    units
}

/// Writes them as files that QEMU reads: its command line would be too short.
pub(crate) fn write(credentials: &[Credential], dir: &Path) -> Outcome<Vec<PathBuf>> {
    let dir = dir.join("credentials");
    std::fs::create_dir_all(&dir).doing("credentials")?;
    let mut files = Vec::new();
    for (number, credential) in credentials.iter().enumerate() {
        let content = STANDARD.encode(&credential.content);
        let text = format!("io.systemd.credential.binary:{}={content}", credential.name);
        let file = dir.join(number.to_string());
        std::fs::write(&file, text).doing("credentials")?;
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{STARTS, of_harness};

    #[test]
    fn no_credential_hides_another_one_or_what_the_benchmark_adds() {
        let mut names: Vec<String> = of_harness().into_iter().map(|one| one.name).collect();
        // See `bench::boot`.
        names.push("systemd.unit-dropin.margo-agent.service".to_owned());
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn every_unit_with_a_limit_of_less_than_systemds_own_gets_more_in_a_slow_emulation() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let mut found = Vec::new();
        for dir in ["meta-margo/os/rootfs/usr/lib/systemd/system", "agent/dist/systemd/system"] {
            for entry in std::fs::read_dir(format!("{root}/{dir}")).unwrap() {
                let path = entry.unwrap().path();
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let limit = text.lines().find_map(|line| line.strip_prefix("TimeoutStartSec="));
                if let Some(limit_secs) = limit.and_then(|limit| limit.parse::<u32>().ok())
                    && limit_secs < 90
                {
                    let unit = path.file_name().unwrap().to_str().unwrap().to_owned();
                    found.push((unit, limit_secs));
                }
            }
        }
        let mut known = STARTS.map(|(unit, limit_secs)| (unit.to_owned(), limit_secs));
        known.sort();
        found.sort();
        assert_eq!(found, known);
    }
}
