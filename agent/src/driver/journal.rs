//! What the driver says: one line for each transition, by its kind, and the same for `margoctl events`.

use crate::local_api::{ApiError, ApiErrorKind, EventLog, NewEvent};
use crate::log_message;
use crate::logging::catalog;
use state_machine::failure::Code;
use state_machine::transition::{MachineName, Transition, Why};
use tracing::Level;

/// Whether anybody needs to know. Polls that found nothing are the steady state (I10).
const fn is_routine(why: Why) -> bool {
    matches!(why, Why::PollDue | Why::Unchanged | Why::Stale | Why::Ignored)
}

/// Logs a transition under its message id.
pub(super) fn log(transition: &Transition) {
    let Transition { machine, subject, component, prev, next, why, failure } = transition;
    let subject = subject.as_ref().map(tracing::field::display);
    let component = component.as_ref().map(tracing::field::display);
    let code = failure.as_ref().map(|failure| failure.code.as_str());
    if is_routine(*why) {
        tracing::debug!(
            machine = machine.as_str(),
            subject,
            prev,
            next,
            why = why.as_str(),
            "step"
        );
        return;
    }
    let message = message_of(transition);
    // A call site's level is part of it, so there is one for each.
    macro_rules! log_at {
        ($level:expr) => {
            tracing::event!(
                $level,
                message_id = message.id,
                machine = machine.as_str(),
                deployment = subject,
                component,
                prev,
                next,
                why = why.as_str(),
                code,
                "{transition}"
            )
        };
    }
    match message.level {
        Level::ERROR => log_at!(Level::ERROR),
        Level::WARN => log_at!(Level::WARN),
        _ => log_at!(Level::INFO),
    }
}

/// The catalog's message for a transition.
fn message_of(transition: &Transition) -> catalog::Message {
    let code = transition.failure.as_ref().map(|failure| failure.code);
    match (transition.machine, transition.why, code) {
        (_, Why::StateLost, _) => catalog::STATE_LOST,
        (_, Why::StateHealed, _) => catalog::STATE_HEALED,
        (_, Why::Requested, _) => catalog::OPERATOR_REQUEST,
        (_, _, Some(Code::NoSpace)) => catalog::STORAGE_FULL,
        (_, _, Some(Code::ClockBehind)) => catalog::CLOCK_BEHIND,
        (MachineName::Onboarding, Why::CapabilitiesAccepted, _) => catalog::CAPABILITIES_REPORTED,
        (MachineName::Sync, Why::Accepted | Why::Preloaded, _) => catalog::MANIFEST_ACCEPTED,
        (MachineName::Report, Why::ReportRejected, _) => catalog::REPORT_REJECTED,
        (MachineName::Engine, Why::EngineReady, _) => catalog::ENGINE_BACK,
        (MachineName::Engine, _, _) => catalog::ENGINE_UNAVAILABLE,
        (MachineName::Workload, Why::MismatchFound, _) => catalog::MISMATCH_FOUND,
        (MachineName::Workload, Why::Removed, _) => catalog::DEPLOYMENT_REMOVED,
        (MachineName::Workload, _, Some(_)) => catalog::DEPLOYMENT_FAILED,
        (MachineName::Workload | MachineName::Report, _, _) => catalog::DEPLOYMENT_CHANGED,
        (MachineName::Onboarding | MachineName::Sync, _, Some(code)) => wfm_message(code),
        (MachineName::Onboarding | MachineName::Sync | MachineName::Firmware, _, _) => {
            catalog::STAGE_CHANGED
        }
    }
}

fn wfm_message(code: Code) -> catalog::Message {
    match code {
        Code::IdentityInvalid => catalog::IDENTITY_INVALID,
        Code::WfmUntrusted => catalog::WFM_UNTRUSTED,
        Code::WfmDenied => catalog::WFM_DENIED,
        Code::ManifestInvalid
        | Code::ManifestOlder
        | Code::ArtifactDigestMismatch
        | Code::WfmProtocol => catalog::MANIFEST_REJECTED,
        _ => catalog::WFM_UNREACHABLE,
    }
}

/// Keeps a transition for `margoctl events`.
pub(super) fn remember(transition: &Transition, history: &EventLog, wall_unix_ms: Option<u64>) {
    if is_routine(transition.why) {
        return;
    }
    let subject = match (&transition.subject, &transition.component) {
        (Some(deployment), Some(component)) => format!("{deployment}/{component}"),
        (Some(deployment), None) => deployment.to_string(),
        (None, _) => String::new(),
    };
    history.push(NewEvent {
        time_unix_ms: wall_unix_ms,
        machine: transition.machine.as_str().to_owned(),
        subject,
        prev: transition.prev.to_owned(),
        next: transition.next.to_owned(),
        why: transition.why.as_str().to_owned(),
        detail: transition.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
    });
}

/// Logs that the state could not be saved.
pub(super) fn save_failed(failure: &str, retry_ms: u64) {
    log_message!(
        catalog::STATE_SAVE_FAILED,
        "cannot save the state, nothing new is started, retrying in {retry_ms} ms: {failure}"
    );
}

/// What somebody is told who gives an order while the state cannot be saved.
pub(super) fn cannot_save(failure: &Option<String>) -> ApiError {
    let failure = failure.as_deref().unwrap_or("not saved yet");
    ApiError::new(ApiErrorKind::Refused, format!("the state cannot be saved: {failure}"))
}
