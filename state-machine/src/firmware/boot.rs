//! What the booted slot says about the attempt: after a power cut this and the record are all there is to go by.

use super::live::Live;
use super::{Booted, Firmware, Origin, Phase, Update, Verdict};
use crate::event::BootSlot;
use crate::failure::{Code, Failure};
use crate::ids::{DeploymentId, SlotName};
use crate::step::Cx;
use crate::transition::Why;
use crate::workload::Workload;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// What is to be done about the attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It is where it was.
    Unchanged,
    /// Its slot runs, not committed.
    OnTrial,
    /// Its slot runs, committed: whatever the record says (F25), it is done.
    Done,
    /// Its slot runs although nobody wants it any more.
    Unwanted,
    /// Its slot does not run although it was to be booted.
    Left,
    /// Nothing of it was touched yet, and something else is on trial.
    Overtaken,
}

impl Firmware {
    /// The booted slot was observed. `is_start`: the agent has just started, nothing is under way.
    pub(crate) fn on_boot(
        &mut self,
        live: &mut Live,
        boot: Option<&BootSlot>,
        is_start: bool,
        workloads: &BTreeMap<DeploymentId, Workload>,
        cx: &mut Cx<'_>,
    ) {
        let prev = self.as_str();
        live.boot = boot.cloned();
        let Some(boot) = boot else {
            self.on_unmanaged(live, prev, cx);
            return;
        };
        let reading = self.update.as_ref().map(|update| read(update, boot, is_start));
        self.booted = if boot.committed {
            Booted::Committed { slot: boot.slot.clone() }
        } else {
            Booted::Trial { slot: boot.slot.clone() }
        };
        match reading {
            None if boot.committed && prev != self.as_str() => {
                self.note(prev, Why::BootObserved, None, None, cx);
            }
            None | Some(Reading::Unchanged) => {}
            Some(Reading::OnTrial) => self.go(live, Phase::Trial, Why::BootObserved, cx),
            Some(Reading::Done) => self.succeed(live, cx),
            Some(Reading::Unwanted) => self.go(live, Phase::Rejecting, Why::BootObserved, cx),
            Some(Reading::Left) => {
                let left = self.update.as_ref().map(|u| (why_left(u, boot), why(u.phase)));
                if let Some((failure, why)) = left {
                    // What is booted instead may be on trial itself; that is another story.
                    self.booted = Booted::Committed { slot: boot.slot.clone() };
                    self.fail(live, failure, why, cx);
                }
            }
            Some(Reading::Overtaken) => {
                live.fresh_start(cx);
                self.update = None;
                self.adopt_foreign(live, boot, prev, is_start, workloads, cx);
            }
        }
        let is_early = self.update.as_ref().is_some_and(|update| update.phase.is_early());
        if is_early && boot.other.is_none() {
            // There is nowhere to install to; preparing anew says so.
            self.abandon(live, Why::Unwanted, cx);
        }
        if !boot.committed && self.update.is_none() {
            let prev = if reading.is_none() { prev } else { "idle" };
            self.adopt_foreign(live, boot, prev, is_start, workloads, cx);
        }
        if boot.committed {
            self.revise(live, None);
        }
    }

    /// The firmware is nobody's business here, or no longer: an attempt cannot be followed to its end.
    fn on_unmanaged(&mut self, live: &mut Live, prev: &'static str, cx: &mut Cx<'_>) {
        self.booted = Booted::Unmanaged;
        if self.update.as_ref().is_some_and(|update| !update.phase.is_early()) {
            let text = "the firmware of this device is no longer managed";
            let failure = Failure::new(Code::FirmwareUnavailable, text);
            self.fail(live, failure, Why::BootObserved, cx);
        } else if self.update.is_some() {
            self.abandon(live, Why::BootObserved, cx);
        } else if prev != self.as_str() {
            self.note(prev, Why::BootObserved, None, None, cx);
        }
    }

    /// A slot on trial that this agent did not install, or has forgotten: it is judged all the same, by what is held.
    fn adopt_foreign(
        &mut self,
        live: &mut Live,
        boot: &BootSlot,
        prev: &'static str,
        is_start: bool,
        workloads: &BTreeMap<DeploymentId, Workload>,
        cx: &mut Cx<'_>,
    ) {
        self.booted = Booted::Trial { slot: boot.slot.clone() };
        self.begin(live, Origin::Foreign, Phase::Trial, cx);
        if !is_start {
            // What was good until now may be long past a deadline that it never had.
            live.trial_from_ms = cx.now.monotonic_ms;
        }
        let ran =
            |w: &&Workload| !w.held.is_empty() && w.dropped_by.is_none() && w.failure.is_none();
        if let Some(update) = &mut self.update {
            update.from = boot.other.clone();
            update.target = Some(boot.slot.clone());
            update.baseline =
                workloads.values().filter(ran).map(|w| w.desired.id.clone()).collect();
            update.engine = !update.baseline.is_empty();
        }
        self.note(prev, Why::BootObserved, None, None, cx);
    }

    /// Holds what was called installed to what runs now (I8). `reason`: why the slot was left, if somebody knows.
    pub(crate) fn revise(&mut self, live: &Live, reason: Option<&str>) {
        let (Some(boot), Booted::Committed { slot: runs }) = (&live.boot, &self.booted) else {
            return;
        };
        for record in self.deployments.values_mut() {
            let Verdict::Installed { slot, version } = &mut record.verdict else { continue };
            if slot == runs {
                continue;
            }
            if boot.version.as_ref() == Some(version) {
                slot.clone_from(runs);
                continue;
            }
            let text = match (reason, &boot.note) {
                (Some(reason), _) => String::from(reason),
                (None, Some(note)) => note.clone(),
                (None, None) => format!("the device runs from {runs}, not from {slot}"),
            };
            record.verdict = Verdict::Failed;
            record.failure = Some(Failure::new(Code::FirmwareRolledBack, text));
        }
    }
}

/// Every phase, on the attempt's own slot or on another one, committed or not.
fn read(update: &Update, boot: &BootSlot, is_start: bool) -> Reading {
    let is_there = update.target.as_ref() == Some(&boot.slot);
    let is_restarted = update.boot.as_ref() != Some(&boot.boot);
    match (update.phase, is_there, boot.committed) {
        (Phase::Preparing | Phase::Ready, _, true) => Reading::Unchanged,
        (Phase::Preparing | Phase::Ready, _, false) => Reading::Overtaken,
        (
            Phase::Installing
            | Phase::Installed
            | Phase::Returning
            | Phase::Discarding
            | Phase::Trial
            | Phase::Committing
            | Phase::Rejecting,
            true,
            true,
        ) => Reading::Done,
        (Phase::Installing | Phase::Installed | Phase::Returning, true, false) => Reading::OnTrial,
        (Phase::Discarding, true, false) => Reading::Unwanted,
        // Whatever led to the verdict has to be shown again.
        (Phase::Committing, true, false) if is_start => Reading::OnTrial,
        (Phase::Trial | Phase::Committing | Phase::Rejecting, true, false) => Reading::Unchanged,
        // It was cut off, and is ordered again.
        (Phase::Installing | Phase::Returning | Phase::Discarding, false, true) => {
            Reading::Unchanged
        }
        (Phase::Installed, false, true) if !is_restarted => Reading::Unchanged,
        (Phase::Installed | Phase::Trial | Phase::Committing | Phase::Rejecting, false, true) => {
            Reading::Left
        }
        (
            Phase::Installing
            | Phase::Installed
            | Phase::Returning
            | Phase::Discarding
            | Phase::Trial
            | Phase::Committing
            | Phase::Rejecting,
            false,
            false,
        ) => Reading::Left,
    }
}

/// What ends an attempt whose slot does not run. Before it was to be booted that can only be somebody else's doing.
const fn why(phase: Phase) -> Why {
    match phase {
        Phase::Preparing | Phase::Ready | Phase::Installing | Phase::Returning => Why::Failed,
        Phase::Discarding => Why::Discarded,
        Phase::Installed | Phase::Trial | Phase::Committing | Phase::Rejecting => Why::RolledBack,
    }
}

/// Why the attempt's slot does not run: the reason that survived.
fn why_left(update: &Update, boot: &BootSlot) -> Failure {
    let slot = update.target.as_ref().map_or("the new slot", SlotName::as_str);
    let text: String = match (&update.failure, &boot.note) {
        (Some(failure), _) => format!("{failure}"),
        (None, Some(note)) => note.clone(),
        (None, None) => {
            format!(
                "the boot loader left {slot}: its tries were used up, or it could not be booted"
            )
        }
    };
    Failure::new(Code::FirmwareRolledBack, text)
}
