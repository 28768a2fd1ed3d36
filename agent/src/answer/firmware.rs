//! Answers about the firmware, and which orders of a person it takes now.

use crate::driver::View;
use crate::executor::Executor;
use crate::local_api::{
    Accepted, ApiError, ApiErrorKind, FailureStatus, FirmwareAttempt, FirmwareOrder,
    FirmwareProgress, FirmwareSlot, FirmwareStatus, FirmwareUpdate, Reply,
};
use crate::updater::{Slots, Updater};
use state_machine::event::Event;
use state_machine::firmware::{Origin, Phase, UpdateView};
use std::time::Duration;

/// How long RAUC may take to tell its slots before the answer goes without them.
const SLOTS_TIMEOUT: Duration = Duration::from_secs(5);

/// All that is known without asking RAUC.
pub(super) fn status(executor: &Executor, view: &View<'_>) -> FirmwareStatus {
    let state = view.state;
    let firmware = state.firmware(view.policy);
    let updater = executor.updater();
    let facts = updater.map(Updater::facts);
    let text = |text: &dyn ToString| text.to_string();
    FirmwareStatus {
        is_managed: updater.is_some(),
        state: firmware.state.to_owned(),
        slot: firmware.slot.map(|slot| text(slot)),
        other: firmware.other.map(|slot| text(slot)),
        is_committed: firmware.committed,
        version: firmware
            .version
            .map(str::to_owned)
            .or_else(|| facts.and_then(|facts| facts.version.clone())),
        compatible: facts.and_then(|facts| facts.compatible.clone()),
        update: firmware.update.as_ref().map(|update| update_status(update, updater, view)),
        last_failure: firmware.last_failure.map(FailureStatus::from),
        history: firmware
            .history
            .iter()
            .map(|attempt| FirmwareAttempt {
                transaction: attempt.transaction.to_string(),
                version: attempt.version.clone(),
                failure: FailureStatus::from(&attempt.failure),
            })
            .collect(),
        slots: Vec::new(),
    }
}

fn update_status(
    update: &UpdateView<'_>,
    updater: Option<&Updater>,
    view: &View<'_>,
) -> FirmwareUpdate {
    let now_ms = view.now.monotonic_ms;
    let progress = updater.and_then(|updater| updater.progress().borrow().clone());
    let is_trial = update.deadline_ms.is_some();
    FirmwareUpdate {
        transaction: update.transaction.to_string(),
        origin: match update.origin {
            Origin::Deployment { id, .. } => format!("deployment {id}"),
            Origin::Operator { location } => format!("an operator, from {location}"),
            Origin::Rollback => "an operator, as a rollback".to_owned(),
            Origin::Foreign => "nobody this agent knows of".to_owned(),
        },
        phase: update.phase.as_str().to_owned(),
        version: update.version.map(str::to_owned),
        target: update.target.map(ToString::to_string),
        progress: progress
            .filter(|_| update.phase == Phase::Installing)
            .map(|one| FirmwareProgress { percent: one.percent, message: one.message }),
        failure: update.failure.or(update.unhealthy.as_ref()).map(FailureStatus::from),
        deadline_in_ms: update.deadline_ms.map(|at| at.saturating_sub(now_ms)),
        healthy_for_ms: update
            .healthy_since_ms
            .filter(|_| is_trial)
            .map(|since| now_ms.saturating_sub(since)),
        retry_in_ms: update.retry_at_ms.map(|at| at.saturating_sub(now_ms)),
    }
}

/// Adds the slots, off the loop, and sends the answer.
pub(super) fn with_slots(
    executor: &Executor,
    mut status: FirmwareStatus,
    reply: Reply<FirmwareStatus>,
) {
    let updater = executor.updater().cloned();
    tokio::spawn(async move {
        if let Some(updater) = updater
            && let Ok(Ok(slots)) = tokio::time::timeout(SLOTS_TIMEOUT, updater.slots()).await
        {
            status.slots = slot_statuses(&slots);
        }
        // Whoever asked may have gone.
        let _ = reply.send(Ok(status));
    });
}

fn slot_statuses(slots: &Slots) -> Vec<FirmwareSlot> {
    let status = |slot: &crate::updater::Slot| FirmwareSlot {
        name: slot.name.clone(),
        bootname: slot.bootname.clone(),
        is_booted: slot.is_booted,
        is_primary: slots.is_primary(&slot.name),
        is_good: slot.is_good,
        status: slot.status.clone(),
        version: slot.version.clone(),
    };
    slots.all.iter().map(status).collect()
}

/// Whether the order makes sense now. The machine decides in the end; this is for a person's sake.
pub(super) fn admit(order: &FirmwareOrder, view: &View<'_>) -> Result<Accepted, ApiError> {
    let firmware = &view.state.durable.firmware;
    let refused = |message: String| Err(ApiError::new(ApiErrorKind::Refused, message));
    let accepted = |message: String| Ok(Accepted { message });
    let state = firmware.as_str();
    if state == "unmanaged" {
        return refused(
            "the firmware of this device is not managed by the agent, or RAUC has not answered yet; \
             see `margoctl firmware status` and `firmware.mode` in the configuration"
                .to_owned(),
        );
    }
    let phase = firmware.update.as_ref().map(|update| update.phase);
    match (order, phase) {
        (FirmwareOrder::Install { location }, None | Some(Phase::Preparing | Phase::Ready)) => {
            accepted(format!("installing {location}; the device restarts when it is done"))
        }
        (FirmwareOrder::Rollback, None | Some(Phase::Preparing | Phase::Ready)) => {
            accepted("going to the other slot; the device restarts".to_owned())
        }
        (FirmwareOrder::Rollback, Some(Phase::Trial)) => {
            accepted("leaving the trial; the device restarts into the other slot".to_owned())
        }
        (FirmwareOrder::Rollback, Some(Phase::Installed)) => {
            accepted("taking the installation back".to_owned())
        }
        (FirmwareOrder::Mark { good: true }, Some(Phase::Trial)) => {
            accepted("committing the trial".to_owned())
        }
        (FirmwareOrder::Mark { good: false }, Some(Phase::Trial)) => {
            accepted("leaving the trial; the device restarts into the other slot".to_owned())
        }
        (FirmwareOrder::Mark { .. }, _) => {
            refused(format!("there is no trial to judge: the firmware is {state}"))
        }
        (FirmwareOrder::Install { .. } | FirmwareOrder::Rollback, Some(_)) => {
            refused(format!("not now: the firmware is {state}; see `margoctl firmware status`"))
        }
    }
}

/// The order as the machine hears it.
pub(super) fn event(order: FirmwareOrder) -> Event {
    match order {
        FirmwareOrder::Install { location } => Event::FirmwareRequested { location },
        FirmwareOrder::Rollback => Event::FirmwareRollbackRequested,
        FirmwareOrder::Mark { good } => Event::FirmwareJudged { good },
    }
}
