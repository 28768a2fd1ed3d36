//! What the end of an operation means for the attempt.

use super::live::{JobKind, Live, SYSTEM_FAILURES_MAX};
use super::{Booted, Firmware, Origin, Phase, Verdict, version};
use crate::effect::{Bundle, Outcome};
use crate::failure::{Code, Failure, FailureClass};
use crate::ids::EffectId;
use crate::step::Cx;
use crate::transition::Why;
use alloc::format;
use alloc::vec;

/// Attempts to mark a slot bad before it is left all the same: the boot loader counts its tries.
const REJECTS_MAX: u32 = 3;

impl Firmware {
    /// Whether somebody here waits for this effect.
    pub(crate) fn waits_for(live: &Live, id: EffectId) -> bool {
        live.check == Some(id) || live.job.is_some_and(|job| job.id == id)
    }

    /// An effect ended. `unexpected` makes a failure of an outcome that is not its own.
    pub(crate) fn on_finished(
        &mut self,
        live: &mut Live,
        id: EffectId,
        outcome: &Outcome,
        unexpected: impl Fn(&Outcome) -> Failure,
        cx: &mut Cx<'_>,
    ) {
        if live.check == Some(id) {
            live.check = None;
            live.check_at_ms = Some(cx.now.after(cx.policy.firmware.check_interval_ms.max(1)));
            live.system = Some(match outcome {
                Outcome::SystemChecked { failures } => {
                    failures.iter().take(SYSTEM_FAILURES_MAX).cloned().collect()
                }
                other => vec![unexpected(other)],
            });
            return;
        }
        let Some(job) = live.job.take() else { return };
        match (job.kind, outcome) {
            (JobKind::Prepare, Outcome::FirmwarePrepared { bundle }) => {
                self.on_prepared(live, bundle, cx);
            }
            (JobKind::Install, Outcome::FirmwareInstalled) => {
                self.on_activated(live, Why::Installed, cx);
            }
            (JobKind::Activate, Outcome::SlotMarked) => {
                self.on_activated(live, Why::SlotActivated, cx);
            }
            (JobKind::Discard, Outcome::SlotMarked) => {
                let why = self.update.as_ref().and_then(|update| update.failure.clone());
                let why =
                    why.unwrap_or_else(|| Failure::new(Code::FirmwareRolledBack, "discarded"));
                self.fail(live, why, Why::Discarded, cx);
            }
            (JobKind::Commit, Outcome::SlotMarked) => self.succeed(live, cx),
            (JobKind::Reject, Outcome::SlotMarked) => {
                live.marked = true;
                live.retry_at_ms = None;
            }
            (kind, other) => self.on_failed(live, kind, &unexpected(other), cx),
        }
    }

    /// The next boot is the other slot's.
    fn on_activated(&mut self, live: &mut Live, why: Why, cx: &mut Cx<'_>) {
        let boot = live.boot.as_ref().map(|boot| boot.boot.clone());
        if let Some(update) = &mut self.update {
            update.boot = boot;
        }
        self.go(live, Phase::Installed, why, cx);
    }

    /// The bundle is there, and its version is known.
    fn on_prepared(&mut self, live: &mut Live, bundle: &Bundle, cx: &mut Cx<'_>) {
        let Some(update) = &mut self.update else { return };
        let running = live.boot.as_ref().and_then(|boot| boot.version.as_deref());
        let is_older =
            running.is_some_and(|running| version::compare(&bundle.version, running).is_lt());
        let is_asked = matches!(update.origin, Origin::Operator { .. });
        update.bundle = Some(bundle.clone());
        if live.boot.as_ref().is_none_or(|boot| boot.other.is_none()) {
            let text = "this device has no other slot to install to";
            self.fail(live, Failure::new(Code::FirmwareInstallFailed, text), Why::Failed, cx);
            return;
        }
        if running == Some(bundle.version.as_str()) {
            self.on_already_running(live, bundle, cx);
            return;
        }
        if is_older && !is_asked && !cx.policy.firmware.downgrade {
            let running = running.unwrap_or_default();
            let text = format!("version {} is older than {running}, which runs", bundle.version);
            self.fail(live, Failure::new(Code::FirmwareRejected, text), Why::Failed, cx);
            return;
        }
        update.failure = None;
        self.go(live, Phase::Ready, Why::Prepared, cx);
    }

    /// Nothing to do: the device runs this very version from a committed slot.
    fn on_already_running(&mut self, live: &mut Live, bundle: &Bundle, cx: &mut Cx<'_>) {
        let origin = self.update.as_ref().map(|update| update.origin.clone());
        self.abandon(live, Why::Unchanged, cx);
        if let Some(Origin::Deployment { id, revision }) = origin
            && let Booted::Committed { slot } = &self.booted
            && let Some(record) = self.deployments.get_mut(&id)
            && record.desired.revision == revision
        {
            record.adopted = Some(record.desired.version);
            record.failure = None;
            record.verdict =
                Verdict::Installed { slot: slot.clone(), version: bundle.version.clone() };
        }
    }

    fn on_failed(&mut self, live: &mut Live, kind: JobKind, failure: &Failure, cx: &mut Cx<'_>) {
        let is_final = failure.class == FailureClass::Refused;
        let is_asked = self
            .update
            .as_ref()
            .is_some_and(|update| matches!(update.origin, Origin::Operator { .. }));
        match kind {
            // Somebody stands there, and may ask again.
            JobKind::Prepare | JobKind::Install if is_final || is_asked => {
                self.fail(live, failure.clone(), Why::Failed, cx);
            }
            JobKind::Prepare | JobKind::Install => self.prepare_again(live, failure, cx),
            JobKind::Activate => self.fail(live, failure.clone(), Why::Failed, cx),
            JobKind::Reject => {
                live.retry_later(failure, true, cx);
                if live.attempt >= REJECTS_MAX {
                    live.marked = true;
                }
                self.note(self.as_str(), Why::Failed, self.subject(), Some(failure), cx);
            }
            JobKind::Discard | JobKind::Commit | JobKind::Reboot => {
                live.retry_later(failure, true, cx);
                self.note(self.as_str(), Why::Failed, self.subject(), Some(failure), cx);
            }
        }
    }

    /// It may work later: from the beginning, for ever, and holding up nobody (I6).
    fn prepare_again(&mut self, live: &mut Live, failure: &Failure, cx: &mut Cx<'_>) {
        let prev = self.as_str();
        live.retry_later(failure, false, cx);
        let Some(update) = &mut self.update else { return };
        update.phase = Phase::Preparing;
        // A repetition of the same failure changes nothing durable (I10).
        if update.failure.as_ref().is_none_or(|old| old.code != failure.code) {
            update.failure = Some(Failure { retry_after_ms: None, ..failure.clone() });
        }
        if let Origin::Deployment { id, .. } = &update.origin
            && let Some(record) = self.deployments.get_mut(id)
        {
            record.adopted = Some(record.desired.version);
        }
        self.note(prev, Why::Failed, self.subject(), Some(failure), cx);
    }

    fn subject(&self) -> Option<crate::ids::DeploymentId> {
        self.update.as_ref().and_then(super::transitions::subject)
    }
}
