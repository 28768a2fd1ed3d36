//! Which operation to start now: derived from the state alone, so that nothing can be forgotten.

use super::live::{Job, JobKind, Live};
use super::{Booted, Firmware, Phase, Update};
use crate::effect::Effect;
use crate::step::Cx;
use crate::time::earliest;

impl Firmware {
    /// Starts the operation that is due, if any. `may_prepare`: artifacts may be obtained now.
    pub(crate) fn schedule(&self, live: &mut Live, may_prepare: bool, cx: &mut Cx<'_>) {
        if self.booted == Booted::Unmanaged {
            return;
        }
        let Some(update) = &self.update else { return };
        if update.phase == Phase::Trial {
            if live.check.is_none() && cx.now.reached(live.check_at_ms) {
                live.check = Some(cx.start(Effect::CheckSystem));
            }
            return;
        }
        if live.job.is_some() || !cx.now.reached(live.retry_at_ms) {
            return;
        }
        if let Some((kind, effect)) = next_job(update, live, may_prepare) {
            live.job = Some(Job { id: cx.start(effect), kind });
        }
    }

    /// When this machine needs to be looked at again, if nothing else happens.
    pub(crate) fn wake_at(&self, live: &Live, cx: &Cx<'_>) -> Option<u64> {
        let update = self.update.as_ref()?;
        let retry = if live.job.is_none() { live.retry_at_ms } else { None };
        let check = if live.check.is_none() { live.check_at_ms } else { None };
        let is_waiting = update.phase.is_early() && !cx.policy.may_install(cx.now);
        let hours = is_waiting.then(|| cx.policy.window_check_ms(cx.now));
        let judge = self.judge_at(live, cx.policy);
        earliest(earliest(retry, check), earliest(hours, judge))
    }
}

fn next_job(update: &Update, live: &Live, may_prepare: bool) -> Option<(JobKind, Effect)> {
    match update.phase {
        Phase::Preparing => {
            let source = update.source().filter(|_| may_prepare)?;
            Some((JobKind::Prepare, Effect::PrepareFirmware { source }))
        }
        Phase::Ready | Phase::Trial => None,
        Phase::Installing => Some((
            JobKind::Install,
            Effect::InstallFirmware {
                transaction: update.transaction.clone(),
                source: update.source()?,
                bundle: update.bundle.clone()?,
                target: update.target.clone()?,
            },
        )),
        Phase::Installed => Some((JobKind::Reboot, Effect::Reboot)),
        Phase::Returning => Some((JobKind::Activate, Effect::ActivateOther)),
        Phase::Discarding => Some((JobKind::Discard, Effect::DiscardFirmware)),
        Phase::Committing => Some((JobKind::Commit, Effect::CommitSlot)),
        Phase::Rejecting if live.marked => Some((JobKind::Reboot, Effect::Reboot)),
        Phase::Rejecting => Some((JobKind::Reject, Effect::RejectSlot)),
    }
}
