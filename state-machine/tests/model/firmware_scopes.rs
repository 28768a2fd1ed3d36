//! The worlds of firmware: updates that work, that do not, that people and boot loaders meddle with.

use crate::boot::Nature;
use crate::checker::{Disturbance, Scope};
use crate::scopes::{policy, scope};
use crate::support::{app, firmware as fw, manifest};
use state_machine::effect::Effect;
use state_machine::failure::Code;
use state_machine::policy::{PartialFailure, Policy, Restore};

fn on_slots(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::PrepareFirmware { .. }
            | Effect::InstallFirmware { .. }
            | Effect::DiscardFirmware
            | Effect::CommitSlot
            | Effect::RejectSlot
            | Effect::ActivateOther
            | Effect::Reboot
    )
}

fn slot_failures(effect: &Effect) -> &'static [Code] {
    match effect {
        Effect::PrepareFirmware { .. } => &[Code::FirmwareFetchFailed, Code::FirmwareRejected],
        Effect::InstallFirmware { .. } => &[Code::FirmwareUnavailable, Code::FirmwareInstallFailed],
        Effect::DiscardFirmware
        | Effect::CommitSlot
        | Effect::RejectSlot
        | Effect::ActivateOther
        | Effect::CheckSystem
        | Effect::Reboot => &[Code::FirmwareUnavailable],
        _ => &[],
    }
}

/// One manifest changes firmware and a workload; everything fails and is cut off anywhere.
pub(crate) fn firmware_update() -> Scope {
    Scope {
        slow: |effect| {
            on_slots(effect)
                || matches!(effect, Effect::ApplyComponent { .. } | Effect::CheckSystem)
        },
        failures: slot_failures,
        trial: Some(false),
        settled: 1,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"]), fw("fw", 2)]),
            ],
        )
    }
}

/// New firmware that breaks a workload, then the system, then does not boot; in between one that works.
pub(crate) fn firmware_bad() -> Scope {
    Scope {
        slow: |effect| {
            matches!(
                effect,
                Effect::InstallFirmware { .. }
                    | Effect::RejectSlot
                    | Effect::CommitSlot
                    | Effect::Reboot
            )
        },
        failures: |effect| match effect {
            Effect::RejectSlot => &[Code::FirmwareUnavailable],
            _ => &[],
        },
        disturbances: &[Disturbance::Guard, Disturbance::AgentCrash],
        budget: 1,
        mishaps_max: Some(2),
        trial: Some(false),
        settled: 1,
        nature: |version| match version {
            2 => Nature::BreaksWorkloads,
            3 => Nature::BreaksSystem,
            4 => Nature::DoesNotBoot,
            _ => Nature::Sound,
        },
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 1, &["web"]), fw("fw", 2)]),
                manifest(3, "v3", vec![app("a", 1, &["web"]), fw("fw", 3)]),
                manifest(4, "v4", vec![app("a", 1, &["web"]), fw("fw", 4)]),
                manifest(5, "v5", vec![app("a", 1, &["web"]), fw("fw", 5)]),
            ],
        )
    }
}

/// An operator at the buttons.
pub(crate) fn firmware_by_hand() -> Scope {
    Scope {
        slow: on_slots,
        failures: |effect| match effect {
            Effect::ActivateOther | Effect::DiscardFirmware | Effect::Reboot => {
                &[Code::FirmwareUnavailable]
            }
            Effect::PrepareFirmware { .. } => &[Code::FirmwareFetchFailed],
            _ => &[],
        },
        disturbances: &[
            Disturbance::InstallByHand,
            Disturbance::RollBack,
            Disturbance::JudgeGood,
            Disturbance::JudgeBad,
            Disturbance::Retry,
            Disturbance::AgentCrash,
        ],
        budget: 3,
        mishaps_max: Some(1),
        trial: Some(false),
        settled: 1,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 1, &["web"]), fw("fw", 2)]),
            ],
        )
    }
}

/// Slots that others install, boot, commit, leave; and a device whose firmware is not managed any more.
pub(crate) fn firmware_foreign() -> Scope {
    Scope {
        slow: |effect| {
            on_slots(effect)
                || matches!(effect, Effect::PollManifest { .. } | Effect::FetchDeployments { .. })
        },
        disturbances: &[
            Disturbance::Commit,
            Disturbance::NewSlot,
            Disturbance::InstallUnbooted,
            Disturbance::BootCommitted,
            Disturbance::Guard,
            Disturbance::RollBack,
            Disturbance::Unmanaged,
        ],
        budget: 2,
        mishaps_max: Some(1),
        trial: Some(true),
        ..scope(policy(), vec![manifest(1, "v1", vec![app("a", 1, &["web"]), fw("fw", 2)])])
    }
}

/// Firmware that is listed, replaced, dropped and listed again, alone and beside other firmware.
pub(crate) fn firmware_listed() -> Scope {
    Scope {
        slow: on_slots,
        failures: |effect| match effect {
            Effect::PrepareFirmware { .. } => &[Code::FirmwareFetchFailed, Code::FirmwareRejected],
            _ => &[],
        },
        disturbances: &[Disturbance::NewIdentity, Disturbance::Retry],
        budget: 1,
        mishaps_max: Some(2),
        trial: Some(false),
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![fw("fw", 2)]),
                manifest(2, "v2", vec![fw("fw", 3), fw("fw-b", 1)]),
                manifest(3, "v3", vec![fw("fw-b", 1)]),
                manifest(4, "v4", vec![]),
                manifest(5, "v5", vec![fw("fw", 2)]),
            ],
        )
    }
}

/// Containers that die, and an engine that goes away, while a slot is written and judged.
pub(crate) fn firmware_disturbed() -> Scope {
    Scope {
        slow: |effect| {
            matches!(
                effect,
                Effect::ApplyComponent { .. } | Effect::CommitSlot | Effect::InstallFirmware { .. }
            )
        },
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            _ => &[],
        },
        disturbances: &[
            Disturbance::Kill,
            Disturbance::EngineGone,
            Disturbance::EngineBack,
            Disturbance::AgentCrash,
        ],
        budget: 1,
        mishaps_max: Some(1),
        trial: Some(false),
        settled: 1,
        ..scope(
            Policy { observe_interval_ms: 2_000, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"]), app("b", 1, &["db"]), fw("fw", 2)]),
            ],
        )
    }
}

/// A group that moves together, after firmware, on a device that restores nothing before the WFM has spoken.
pub(crate) fn firmware_group() -> Scope {
    Scope {
        slow: |effect| {
            on_slots(effect)
                || matches!(
                    effect,
                    Effect::PollManifest { .. }
                        | Effect::ApplyComponent { .. }
                        | Effect::PrepareDeployment { .. }
                )
        },
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            Effect::PollManifest { .. } => &[Code::WfmUnreachable],
            _ => &[],
        },
        mishaps_max: Some(2),
        trial: Some(false),
        settled: 1,
        ..scope(
            Policy {
                partial_failure: PartialFailure::AllOrNothing,
                restore: Restore::WaitForWfm,
                ..policy()
            },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"]), app("b", 1, &["db"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"]), app("b", 2, &["db"]), fw("fw", 2)]),
            ],
        )
    }
}
