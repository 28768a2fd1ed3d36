//! The booted slot as it is seen at the start, without D-Bus: the machine must know it before it does anything, and
//! restoring workloads must wait for nobody (I4).
//!
//! Which slot runs is on the kernel command line, RAUC's name of it in RAUC's configuration. Whether it is committed
//! is in the boot environment, which its own tool reads. Where there is no such tool, the agent's record is believed:
//! the slot of an attempt that was begun is on trial. RAUC is asked afterwards in any case, and is right.

use super::boot::BootFacts;
use serde::Deserialize;
use state_machine::event::BootSlot;
use state_machine::firmware::{Firmware, Phase, Update};
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
    /// Starts that a new trial has.
    #[serde(default)]
    tries_max: Option<u8>,
}

#[derive(Deserialize)]
struct ShownSlot {
    #[serde(default)]
    state: String,
    #[serde(default)]
    tries: Option<u8>,
}

/// The booted slot; `None` where the command line or RAUC's configuration do not tell which it is.
pub async fn first_sight(
    root: &Path,
    facts: &BootFacts,
    record: Option<&Firmware>,
) -> Option<BootSlot> {
    let bootname = facts.bootname.as_deref()?;
    let (slot, other) = facts.slots_by(bootname)?;
    let shown = show(root.join(BOOT_ENV)).await;
    let state = |name: &str| shown.as_ref()?.slots.get(name);
    let committed =
        state(bootname).map_or_else(|| !is_attempted(record, &slot), |it| it.state == "good");
    let other_name = facts
        .slots
        .iter()
        .find(|(name, _)| other.as_ref().is_some_and(|other| other.as_str() == name));
    let note = other_name.and_then(|(_, name)| state(name)).and_then(|left| {
        let tries_max = shown.as_ref()?.tries_max;
        why_left(record?.update.as_ref()?, other.as_ref()?, left, tries_max)
    });
    Some(BootSlot {
        slot,
        other,
        committed,
        boot: BootId::new(&*facts.boot),
        version: facts.version.clone(),
        note,
    })
}

/// Whether the agent's record says that this slot was written to and not committed yet.
fn is_attempted(record: Option<&Firmware>, slot: &SlotName) -> bool {
    record.and_then(|record| record.update.as_ref()).is_some_and(|update| {
        update.target.as_ref() == Some(slot)
            && !matches!(update.phase, Phase::Preparing | Phase::Ready)
    })
}

/// Why the boot loader left the slot of an attempt, as far as the boot environment tells. `None` while the slot may
/// still be started, where the attempt has not got so far, and where the agent wrote down a reason: that one says more.
fn why_left(
    update: &Update,
    other: &SlotName,
    left: &ShownSlot,
    tries_max: Option<u8>,
) -> Option<String> {
    // Before that RAUC calls the slot bad because it writes it, later on the agent because nobody wants it.
    let was_to_run = matches!(update.phase, Phase::Installed | Phase::Trial | Phase::Committing);
    if !was_to_run || update.failure.is_some() || update.target.as_ref() != Some(other) {
        return None;
    }
    match (left.state.as_str(), left.tries) {
        ("trial", Some(0)) => {
            let times = match tries_max {
                Some(tries) => format!("{tries} times"),
                None => "as often as a trial may be".to_owned(),
            };
            Some(format!(
                "the new firmware was started {times} and never got as far as a verdict (panic, hang, or power cuts)"
            ))
        }
        ("bad", _) => Some(
            "the trial was left at its deadline by the guard: the agent did not commit it"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What the boot environment says; `None` if it cannot be read here.
async fn show(tool: PathBuf) -> Option<Shown> {
    let shown = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(tool);
        command.args(["show", "--json"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.output()
    });
    let output = tokio::time::timeout(BOOT_ENV_TIMEOUT, shown).await.ok()?.ok()?.ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::effect::Bundle;
    use state_machine::failure::{Code, Failure};
    use state_machine::firmware::Origin;
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
    async fn after_a_fallback_the_boot_environment_tells_why() {
        let root = tempfile::tempdir().unwrap();
        let facts = BootFacts { bootname: Some("A".into()), ..facts() };
        let slots = r#"{"A":{"state":"good","tries":0},"B":{"state":"trial","tries":0}}"#;
        tool(root.path(), &format!(r#"{{"tries_max":3,"slots":{slots}}}"#));
        let tried = record(Phase::Installed, "rootfs.1");
        let boot = first_sight(root.path(), &facts, Some(&tried)).await.unwrap();
        assert!(boot.committed);
        let note = boot.note.unwrap();
        assert!(note.starts_with("the new firmware was started 3 times and never"), "{note}");
        let boot = first_sight(root.path(), &facts, None).await.unwrap();
        assert_eq!(boot.note, None, "there was no attempt");
    }

    #[test]
    fn a_slot_was_left_for_one_reason_or_is_not_left() {
        let left = |state: &str, tries| ShownSlot { state: state.to_owned(), tries };
        let why = |phase, target: &str, left: &ShownSlot| {
            let update = record(phase, target).update.unwrap();
            why_left(&update, &SlotName::new("rootfs.1"), left, Some(3))
        };
        let (worn, rejected) = (left("trial", Some(0)), left("bad", Some(0)));
        for phase in [Phase::Installed, Phase::Trial, Phase::Committing] {
            assert!(why(phase, "rootfs.1", &worn).unwrap().contains("3 times"));
            assert!(why(phase, "rootfs.1", &rejected).unwrap().contains("deadline by the guard"));
            assert_eq!(why(phase, "rootfs.0", &worn), None, "{phase:?}");
            for state in [left("trial", Some(1)), left("trial", None), left("good", Some(0))] {
                assert_eq!(why(phase, "rootfs.1", &state), None, "{phase:?}");
            }
        }
        for phase in [Phase::Installing, Phase::Discarding, Phase::Rejecting] {
            assert_eq!(why(phase, "rootfs.1", &rejected), None, "{phase:?}");
        }
        let mut judged = record(Phase::Trial, "rootfs.1").update.unwrap();
        judged.failure = Some(Failure::new(Code::FirmwareRejected, "unhealthy"));
        let other = SlotName::new("rootfs.1");
        assert_eq!(why_left(&judged, &other, &rejected, Some(3)), None);
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
