//! What an operator asks for. Whoever stands before the device goes before what merely waits.

use super::live::Live;
use super::{Booted, Firmware, Origin, Phase};
use crate::failure::{Code, Failure};
use crate::step::Cx;
use crate::transition::Why;
use alloc::format;

impl Firmware {
    /// This bundle is to be installed.
    pub(crate) fn on_requested(&mut self, live: &mut Live, location: &str, cx: &mut Cx<'_>) {
        if !self.make_way(live, cx) {
            return;
        }
        let prev = self.as_str();
        self.begin(live, Origin::Operator { location: location.into() }, Phase::Preparing, cx);
        self.note(prev, Why::Requested, None, None, cx);
    }

    /// The other slot is to run.
    pub(crate) fn on_rollback_requested(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        match self.update.as_ref().map(|update| update.phase) {
            Some(Phase::Trial) => {
                let text = "an operator rolled it back";
                let failure = Failure::new(Code::FirmwareUnhealthy, text);
                self.reject(live, &failure, Why::RollbackRequested, cx);
            }
            // Taking back means that the other slot is no longer bootable: not if it was good before.
            Some(Phase::Installed) if !self.is_rollback() => {
                self.discard(live, "an operator took it back", cx);
            }
            None | Some(Phase::Preparing | Phase::Ready) => self.leave(live, cx),
            Some(
                Phase::Installing
                | Phase::Installed
                | Phase::Returning
                | Phase::Discarding
                | Phase::Committing
                | Phase::Rejecting,
            ) => self.refuse_now(live, cx),
        }
    }

    fn is_rollback(&self) -> bool {
        self.update.as_ref().is_some_and(|update| update.origin == Origin::Rollback)
    }

    /// Goes from a committed slot to the other one.
    fn leave(&mut self, live: &mut Live, cx: &mut Cx<'_>) {
        if !self.make_way(live, cx) {
            return;
        }
        let Some((slot, other)) =
            live.boot.as_ref().and_then(|boot| Some((boot.slot.clone(), boot.other.clone()?)))
        else {
            let text = "this device has no other slot";
            self.refuse(live, None, Failure::new(Code::FirmwareRejected, text), cx);
            return;
        };
        let prev = self.as_str();
        self.begin(live, Origin::Rollback, Phase::Returning, cx);
        if let Some(update) = &mut self.update {
            update.from = Some(slot);
            update.target = Some(other);
        }
        self.note(prev, Why::RollbackRequested, None, None, cx);
    }

    /// The trial is judged, in place of the gate.
    pub(crate) fn on_judged(&mut self, live: &mut Live, good: bool, cx: &mut Cx<'_>) {
        let is_trial = self.update.as_ref().is_some_and(|update| update.phase == Phase::Trial);
        match (is_trial, good) {
            (true, true) => self.go(live, Phase::Committing, Why::Judged, cx),
            (true, false) => {
                let failure = Failure::new(Code::FirmwareUnhealthy, "an operator judged it bad");
                self.reject(live, &failure, Why::Judged, cx);
            }
            (false, _) => self.refuse_now(live, cx),
        }
    }

    /// Ends what merely waits. Returns whether something else may begin.
    fn make_way(&mut self, live: &mut Live, cx: &mut Cx<'_>) -> bool {
        if self.booted == Booted::Unmanaged {
            let text = "the firmware of this device is not managed";
            self.refuse(live, None, Failure::new(Code::FirmwareRejected, text), cx);
            return false;
        }
        match self.update.as_ref().map(|update| update.phase.is_early()) {
            None => true,
            Some(true) => {
                self.abandon(live, Why::Unwanted, cx);
                true
            }
            Some(false) => {
                self.refuse_now(live, cx);
                false
            }
        }
    }

    fn refuse_now(&self, live: &mut Live, cx: &mut Cx<'_>) {
        let text = format!("not now: the firmware's state is {}", self.as_str());
        self.refuse(live, None, Failure::new(Code::FirmwareRejected, text), cx);
    }
}
