//! The fault points and invariants a scenario can name, and the table that says which scenario covers what.

use super::Scenario;
use std::fmt::Write as _;

/// Fault points of a device with A/B firmware: number and what goes wrong there.
pub(crate) const FAULT_POINTS: &[(&str, &str)] = &[
    ("F1", "power cut before and after the firmware intent is on stable storage"),
    (
        "F2",
        "the bundle's download or stream breaks: network cut, server errors, slow, truncated, changed",
    ),
    ("F3", "power cut after RAUC took the order, before `installing` was seen"),
    ("F4", "power cut after the signature check, before the target slot is marked bad"),
    ("F5", "power cut between marking the target bad and the first write"),
    ("F6", "power cut while the image is written"),
    ("F7", "power cut after the image is on disk, before RAUC records it"),
    ("F8", "power cut between RAUC's record and the activation"),
    ("F9", "power cut within a write of the boot environment"),
    ("F10", "power cut between two U-Boot environment writes"),
    ("F11", "power cut after the activation, before `Completed`"),
    ("F12", "the post-install handler fails"),
    ("F13", "RAUC is killed during an installation"),
    ("F14", "the agent or D-Bus is killed during an installation; a foreign installation"),
    ("F15", "power cut after `Completed`, before the pending reboot is recorded"),
    ("F16", "power cut or hang during the shutdown"),
    ("F17", "power cut in the boot loader, around its write of the environment"),
    ("F18", "the new kernel is missing or damaged, panics, or finds no root"),
    ("F19", "the new system hangs, before or after the watchdog's driver is up"),
    ("F20", "the new system's agent is missing, crashes or hangs"),
    ("F21", "RAUC or D-Bus do not come up in the new system"),
    ("F22", "in the trial the network is dead, a workload is unhealthy, or was so before"),
    ("F23", "power cuts on a committed slot: no fallback may follow"),
    ("F24", "power cut between the verdict and `Mark good`"),
    ("F25", "power cut between `Mark good` and the agent's commit record"),
    ("F26", "power cut after the commit, before the report got through"),
    ("F27", "the clock is wrong by years"),
    ("F28", "power cut in a migration of data"),
    ("F29", "a fallback finds data that the newer version wrote"),
    ("F30", "the data partition is full, read-only, or gives errors"),
    ("F31", "RAUC's status, the agent's state, or the boot environment is damaged or missing"),
    ("F32", "a second update is ordered while one is under way"),
    ("F33", "both slots are bad"),
    ("F34", "the growth at the first boot is interrupted, or there is nothing to grow"),
    ("F35", "power cuts at random times, again and again"),
    ("F36", "a bad bundle: compatible, downgrade, signature, certificate, truncated, too large"),
];

/// The design's invariants.
const INVARIANTS: u32 = 11;
/// Points that this device has not, and why.
const NOT_OURS: &[(&str, &str)] = &[
    ("F10", "no U-Boot on this device"),
    ("F12", "this device's RAUC has no post-install handler"),
    (
        "F28",
        "no data is migrated: a release reads the state of the one before, and writes what that can read; see F29",
    ),
];

/// Whether a name in `covers` exists.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_invariant = (1..=INVARIANTS).any(|number| name == format!("I{number}"));
    if is_invariant || FAULT_POINTS.iter().any(|(point, _)| *point == name) {
        return Ok(());
    }
    Err(format!("covers {name:?}: there are F1 to F36 and I1 to I{INVARIANTS}"))
}

/// The page with the table.
pub(crate) fn page(scenarios: &[Scenario]) -> String {
    let mut page = String::from(
        "# Fault points and the scenarios that cover them\n\n\
         Written from `qemu/scenarios/*.scenario` by `cargo run -p margo-qemu -- docs`; a test keeps it in step.\n\
         A point without a scenario is open. Other tests below QEMU (model, simulation, store) may cover it as well.\n\n\
         | point | what goes wrong there | scenarios |\n|---|---|---|\n",
    );
    for (point, what) in FAULT_POINTS {
        let excuse = NOT_OURS.iter().find(|(name, _)| name == point);
        let found = match excuse {
            Some((_, why)) => format!("not applicable: {why}"),
            None => covering(scenarios, point),
        };
        // Writing to a String does not fail.
        let _ = writeln!(page, "| {point} | {what} | {found} |");
    }
    page.push_str("\n| invariant | scenarios |\n|---|---|\n");
    for number in 1..=INVARIANTS {
        let name = format!("I{number}");
        let _ = writeln!(page, "| {name} | {} |", covering(scenarios, &name));
    }
    page
}

fn covering(scenarios: &[Scenario], point: &str) -> String {
    let names: Vec<String> = scenarios
        .iter()
        .filter(|scenario| scenario.covers.iter().any(|covered| covered == point))
        .map(|scenario| format!("`{}`", scenario.name))
        .collect();
    if names.is_empty() { "**open**".to_owned() } else { names.join(", ") }
}
