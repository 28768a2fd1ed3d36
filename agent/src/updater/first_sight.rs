//! The booted slot as it is seen at the start, without D-Bus: the machine must know it before it does anything, and
//! restoring workloads must wait for nobody (I4).
//!
//! Which slot runs is on the kernel command line, RAUC's name of it in RAUC's configuration. Whether it is committed
//! is in the boot environment, which its own tool reads. Where there is no such tool, the agent's record is believed:
//! the slot of an attempt that was begun is on trial. RAUC is asked afterwards in any case, and is right.

use super::boot::BootFacts;
use serde::Deserialize;
use state_machine::event::BootSlot;
use state_machine::firmware::{Firmware, Phase};
use state_machine::ids::{BootId, SlotName};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Reads and writes the boot environment.
const BOOT_ENV: &str = "usr/lib/margo-agent/margo-boot-env";
/// Longest wait for it.
const BOOT_ENV_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    slots: BTreeMap<String, ShownSlot>,
}

#[derive(Deserialize)]
struct ShownSlot {
    #[serde(default)]
    state: String,
}

/// The booted slot; `None` where the command line or RAUC's configuration do not tell which it is.
pub async fn first_sight(
    root: &Path,
    facts: &BootFacts,
    record: Option<&Firmware>,
) -> Option<BootSlot> {
    let bootname = facts.bootname.as_deref()?;
    let (slot, other) = facts.slots_by(bootname)?;
    let shown = is_good(root.join(BOOT_ENV), bootname.to_owned()).await;
    let committed = shown.unwrap_or_else(|| !is_attempted(record, &slot));
    Some(BootSlot {
        slot,
        other,
        committed,
        boot: BootId::new(&*facts.boot),
        version: facts.version.clone(),
        note: None,
    })
}

/// Whether the agent's record says that this slot was written to and not committed yet.
fn is_attempted(record: Option<&Firmware>, slot: &SlotName) -> bool {
    record.and_then(|record| record.update.as_ref()).is_some_and(|update| {
        update.target.as_ref() == Some(slot)
            && !matches!(update.phase, Phase::Preparing | Phase::Ready)
    })
}

/// What the boot environment says; `None` if it cannot be read here.
async fn is_good(tool: PathBuf, bootname: String) -> Option<bool> {
    let shown = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(tool);
        command.args(["show", "--json"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.output()
    });
    let output = tokio::time::timeout(BOOT_ENV_TIMEOUT, shown).await.ok()?.ok()?.ok()?;
    let shown: Shown = serde_json::from_slice(&output.stdout).ok()?;
    Some(shown.slots.get(&bootname)?.state == "good")
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::effect::Bundle;
    use state_machine::firmware::{Origin, Update};
    use state_machine::ids::TransactionId;
    use std::os::unix::fs::PermissionsExt as _;

    fn facts() -> BootFacts {
        BootFacts {
            boot: "b1".into(),
            bootname: Some("B".into()),
            slots: vec![("rootfs.0".into(), "A".into()), ("rootfs.1".into(), "B".into())],
            ..BootFacts::default()
        }
    }

    fn record(phase: Phase, target: &str) -> Firmware {
        let update = Update {
            transaction: TransactionId::new("t"),
            origin: Origin::Rollback,
            phase,
            bundle: Some(Bundle { version: "2".into(), manifest: None }),
            from: None,
            target: Some(SlotName::new(target)),
            boot: None,
            baseline: Vec::new(),
            engine: false,
            failure: None,
        };
        Firmware { update: Some(update), ..Firmware::default() }
    }

    fn tool(root: &Path, shown: &str) {
        let path = root.join(BOOT_ENV);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\nprintf '%s' '{shown}'\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_boot_environment_decides() {
        let root = tempfile::tempdir().unwrap();
        for (state, committed) in [("good", true), ("trial", false), ("bad", false)] {
            let slots =
                format!(r#"{{"A":{{"state":"good"}},"B":{{"state":"{state}","tries":2}}}}"#);
            tool(root.path(), &format!(r#"{{"booted":"B","slots":{slots}}}"#));
            let boot = first_sight(root.path(), &facts(), None).await.unwrap();
            assert_eq!((boot.slot.as_str(), boot.committed), ("rootfs.1", committed), "{state}");
            assert_eq!(boot.other, Some(SlotName::new("rootfs.0")));
        }
    }

    #[tokio::test]
    async fn without_it_the_record_decides() {
        let root = tempfile::tempdir().unwrap();
        for (record, committed) in [
            (None, true),
            (Some(record(Phase::Installed, "rootfs.1")), false),
            (Some(record(Phase::Installed, "rootfs.0")), true),
            (Some(record(Phase::Preparing, "rootfs.1")), true),
        ] {
            let boot = first_sight(root.path(), &facts(), record.as_ref()).await.unwrap();
            assert_eq!(boot.committed, committed, "{record:?}");
        }
        tool(root.path(), "no json");
        assert!(first_sight(root.path(), &facts(), None).await.unwrap().committed);
    }

    #[tokio::test]
    async fn a_slot_nobody_describes_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let unknown = BootFacts { bootname: Some("C".into()), ..facts() };
        assert_eq!(first_sight(root.path(), &unknown, None).await, None);
    }
}
