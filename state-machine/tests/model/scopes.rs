//! The worlds. Each is small enough to be explored to its last state, and together they reach everything.

use crate::boot::Nature;
use crate::checker::{Disturbance, Scope};
use crate::coverage::Seen;
pub(crate) use crate::firmware_scopes::*;
use crate::normal::FAR_MS;
use crate::support::{MACHINES, app, manifest};
use state_machine::desired::DesiredState;
use state_machine::effect::Effect;
use state_machine::failure::Code;
use state_machine::policy::{
    FirmwarePolicy, FirstBoot, MismatchPolicy, PartialFailure, Policy, Restore, RetryPolicy,
};
use state_machine::transition::{Edge, MachineName};
use stateright::{Checker, Model};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Instant;

/// Every wait is equally long, so that counters do not matter.
pub(crate) fn policy() -> Policy {
    Policy {
        retry: RetryPolicy { initial_ms: 1_000, max_ms: 1_000, jitter_percent: 0 },
        poll_interval_ms: FAR_MS,
        observe_interval_ms: FAR_MS,
        stable_ms: 1_000,
        mismatch_retries_max: 1,
        engine_grace_ms: 1_000,
        engine_retry_max_ms: 1_000,
        firmware: FirmwarePolicy {
            trial_timeout_ms: 4_000,
            healthy_window_ms: 1_000,
            check_interval_ms: 2_000,
            ..FirmwarePolicy::default()
        },
        ..Policy::default()
    }
}

pub(crate) fn scope(policy: Policy, manifests: Vec<DesiredState>) -> Scope {
    Scope {
        policy,
        manifests,
        preload: None,
        slow: |_| false,
        failures: |_| &[],
        disturbances: &[],
        budget: 0,
        power_cuts: true,
        mishaps_max: None,
        nature: |_| Nature::Sound,
        trial: None,
        settled: 0,
        fault: None,
        seen: Default::default(),
        calm: Default::default(),
        restored: Default::default(),
    }
}

fn on_runtime(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::PrepareDeployment { .. }
            | Effect::ApplyComponent { .. }
            | Effect::PruneDeployment { .. }
            | Effect::RemoveDeployment { .. }
    )
}

fn runtime_failures(effect: &Effect) -> &'static [Code] {
    match effect {
        Effect::PrepareDeployment { .. } => &[Code::ArtifactPullFailed],
        Effect::ApplyComponent { .. } => &[Code::StartFailed],
        Effect::PruneDeployment { .. } | Effect::RemoveDeployment { .. } => &[Code::RemoveFailed],
        _ => &[],
    }
}

fn network_failures(effect: &Effect) -> &'static [Code] {
    match effect {
        Effect::LoadIdentity => &[Code::IdentityInvalid],
        Effect::LoadTrust => &[Code::WfmUnreachable],
        Effect::PutCapabilities { .. } => &[Code::WfmUntrusted],
        Effect::PollManifest { .. } => &[Code::WfmDenied, Code::WfmBusy],
        Effect::FetchDeployments { .. } => &[Code::ArtifactDigestMismatch, Code::WfmUnreachable],
        _ => &[],
    }
}

/// From first power-on to being known, with the identity and the capabilities changing on the way.
pub(crate) fn onboarding() -> Scope {
    Scope {
        slow: |e| {
            matches!(
                e,
                Effect::LoadIdentity
                    | Effect::LoadTrust
                    | Effect::PutCapabilities { .. }
                    | Effect::PollManifest { .. }
            )
        },
        failures: network_failures,
        disturbances: &[
            Disturbance::IdentityTouched,
            Disturbance::NewIdentity,
            Disturbance::Capabilities,
            Disturbance::SyncRequested,
            Disturbance::HealStore,
            Disturbance::LoseStore,
        ],
        budget: 2,
        ..scope(policy(), vec![manifest(1, "v1", vec![app("a", 1, &["web"])])])
    }
}

/// Manifests that are newer, older, equal; add, change, drop and add again; fetches that fail.
pub(crate) fn sync() -> Scope {
    let a = |revision| app("a", revision, &["web"]);
    let b = || app("b", 1, &["db"]);
    Scope {
        slow: |e| matches!(e, Effect::PollManifest { .. } | Effect::FetchDeployments { .. }),
        failures: network_failures,
        disturbances: &[
            Disturbance::SyncRequested,
            Disturbance::NewIdentity,
            Disturbance::HealStore,
        ],
        budget: 2,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![a(1), b()]),
                manifest(2, "v2", vec![a(2)]),
                manifest(2, "v2-other", vec![b()]),
                manifest(1, "v1-again", vec![]),
                manifest(3, "v3", vec![a(1), b()]),
            ],
        )
    }
}

/// One deployment of two components, through two updates and its removal.
fn workload(partial_failure: PartialFailure) -> Scope {
    Scope {
        slow: on_runtime,
        failures: runtime_failures,
        ..scope(
            Policy { partial_failure, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web", "db"])]),
                manifest(2, "v2", vec![app("a", 2, &["db", "api"])]),
            ],
        )
    }
}

/// Dropped, and wanted again before it is gone.
pub(crate) fn wanted_again() -> Scope {
    Scope {
        slow: on_runtime,
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            Effect::PruneDeployment { .. } | Effect::RemoveDeployment { .. } => {
                &[Code::RemoveFailed]
            }
            _ => &[],
        },
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web", "db"])]),
                manifest(2, "v2", vec![]),
                manifest(3, "v3", vec![app("a", 1, &["web", "db"])]),
                manifest(4, "v4", vec![app("a", 2, &["db"])]),
                manifest(5, "v5", vec![]),
            ],
        )
    }
}

/// Revisions that this device will never run, in between those it will.
pub(crate) fn refused() -> Scope {
    Scope {
        slow: on_runtime,
        failures: |effect| match effect {
            Effect::PrepareDeployment { .. } | Effect::ApplyComponent { .. } => {
                &[Code::ComposeUnsupported]
            }
            _ => &[],
        },
        settled: 1,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 2, &["web", "api"])]),
                manifest(3, "v3", vec![app("a", 3, &["web"])]),
            ],
        )
    }
}

pub(crate) fn workload_keep() -> Scope {
    workload(PartialFailure::Keep)
}

pub(crate) fn workload_rollback() -> Scope {
    workload(PartialFailure::Rollback)
}

/// The same, with the engine going away, containers dying and an operator at the buttons.
pub(crate) fn workload_disturbed() -> Scope {
    Scope {
        slow: on_runtime,
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            _ => &[],
        },
        disturbances: &[
            Disturbance::Kill,
            Disturbance::EngineGone,
            Disturbance::EngineBack,
            Disturbance::Retry,
        ],
        budget: 1,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web", "db"])]),
                manifest(2, "v2", vec![app("a", 2, &["db"])]),
                manifest(3, "v3", vec![]),
            ],
        )
    }
}

/// Two deployments that have nothing to do with each other.
pub(crate) fn independent() -> Scope {
    two(PartialFailure::Keep)
}

/// Two deployments that move together or not at all.
pub(crate) fn group() -> Scope {
    two(PartialFailure::AllOrNothing)
}

fn two(partial_failure: PartialFailure) -> Scope {
    Scope {
        slow: on_runtime,
        failures: |effect| match effect {
            Effect::PrepareDeployment { .. } => &[Code::ArtifactPullFailed],
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            Effect::PruneDeployment { .. } => &[Code::RemoveFailed],
            _ => &[],
        },
        mishaps_max: Some(3),
        settled: 1,
        ..scope(
            Policy { partial_failure, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"]), app("b", 1, &["db"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"]), app("b", 2, &["api"])]),
                manifest(3, "v3", vec![app("b", 2, &["api"])]),
            ],
        )
    }
}

/// A group of which members are changed while they wait for each other, and wanted again while they wait to go.
pub(crate) fn group_changes() -> Scope {
    Scope {
        slow: on_runtime,
        failures: |effect| match effect {
            Effect::PrepareDeployment { .. } => &[Code::ArtifactPullFailed],
            _ => &[],
        },
        disturbances: &[Disturbance::Retry],
        budget: 1,
        mishaps_max: Some(1),
        settled: 1,
        ..scope(
            Policy { partial_failure: PartialFailure::AllOrNothing, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"]), app("b", 1, &["db"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"])]),
                manifest(3, "v3", vec![app("a", 3, &["web"]), app("b", 2, &["db"])]),
                manifest(4, "v4", vec![app("a", 3, &["web"]), app("b", 3, &["db"])]),
            ],
        )
    }
}

fn mismatch(mismatch: MismatchPolicy) -> Scope {
    Scope {
        slow: |e| {
            matches!(
                e,
                Effect::ApplyComponent { .. }
                    | Effect::ObserveDeployment { .. }
                    | Effect::PrepareDeployment { .. }
            )
        },
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed],
            Effect::PrepareDeployment { .. } => &[Code::ArtifactPullFailed],
            _ => &[],
        },
        disturbances: &[
            Disturbance::Kill,
            Disturbance::KillUnseen,
            Disturbance::LoseArtifacts,
            Disturbance::Retry,
        ],
        budget: 2,
        settled: 1,
        ..scope(
            Policy { mismatch, observe_interval_ms: 2_000, ..policy() },
            vec![manifest(1, "v1", vec![app("a", 1, &["web", "db"])])],
        )
    }
}

/// The engine goes away and comes back, also in the middle of everything.
pub(crate) fn engine() -> Scope {
    Scope {
        slow: |e| {
            matches!(
                e,
                Effect::ApplyComponent { .. }
                    | Effect::ObserveDeployment { .. }
                    | Effect::PrepareDeployment { .. }
                    | Effect::ConnectEngine
            )
        },
        failures: |effect| match effect {
            Effect::ApplyComponent { .. } => &[Code::StartFailed, Code::EngineUnavailable],
            Effect::ObserveDeployment { .. } => &[Code::Internal],
            Effect::PrepareDeployment { .. } => &[Code::EngineUnavailable],
            _ => &[],
        },
        disturbances: &[Disturbance::EngineGone, Disturbance::EngineBack, Disturbance::Kill],
        budget: 2,
        settled: 1,
        ..scope(
            Policy { observe_interval_ms: 2_000, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"])]),
            ],
        )
    }
}

/// What runs changes behind the agent's back, and is brought back.
pub(crate) fn mismatch_reconcile() -> Scope {
    mismatch(MismatchPolicy::Reconcile)
}

/// The same, and is only reported.
pub(crate) fn mismatch_report() -> Scope {
    mismatch(MismatchPolicy::Report)
}

/// Reports that are refused, rejected, taken without an answer, and overtaken.
pub(crate) fn outbox() -> Scope {
    Scope {
        slow: |e| matches!(e, Effect::SendReport { .. }),
        failures: |effect| match effect {
            Effect::SendReport { .. } => &[Code::WfmUnreachable, Code::ReportRejected],
            _ => &[],
        },
        disturbances: &[Disturbance::NewIdentity, Disturbance::SyncRequested],
        budget: 1,
        settled: 1,
        ..scope(
            Policy { reports_per_deployment_max: 2, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"])]),
                manifest(2, "v2", vec![app("a", 2, &["web"]), app("b", 1, &["db"])]),
                manifest(3, "v3", vec![app("b", 1, &["db"])]),
            ],
        )
    }
}

/// Nothing is restored before the WFM has spoken, except on trial.
pub(crate) fn wait_for_wfm() -> Scope {
    Scope {
        slow: |e| matches!(e, Effect::PollManifest { .. } | Effect::ApplyComponent { .. }),
        failures: |e| match e {
            Effect::PollManifest { .. } => &[Code::WfmUntrusted],
            _ => &[],
        },
        disturbances: &[Disturbance::Commit, Disturbance::NewSlot],
        budget: 2,
        trial: Some(false),
        settled: 1,
        ..scope(
            Policy { restore: Restore::WaitForWfm, poll_interval_ms: 2_000, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web", "db"])]),
                manifest(2, "v2", vec![app("a", 2, &["web", "db"])]),
            ],
        )
    }
}

/// A desired state that ships in the image, until the WFM gives its first manifest.
pub(crate) fn preload() -> Scope {
    Scope {
        slow: |e| matches!(e, Effect::PollManifest { .. } | Effect::ApplyComponent { .. }),
        failures: |e| match e {
            Effect::PollManifest { .. } => &[Code::WfmUnreachable],
            _ => &[],
        },
        disturbances: &[Disturbance::NewIdentity, Disturbance::LoseStore],
        budget: 2,
        preload: Some(manifest(0, "image", vec![app("a", 1, &["web"]), app("c", 1, &["log"])])),
        ..scope(
            Policy { first_boot: FirstBoot::Preload, ..policy() },
            vec![
                manifest(1, "v1", vec![app("a", 1, &["web"]), app("b", 1, &["db"])]),
                manifest(2, "v2", vec![app("b", 1, &["db"])]),
            ],
        )
    }
}

/// A deployment without components is nothing to run, and still has a life.
pub(crate) fn nothing_to_run() -> Scope {
    Scope {
        slow: on_runtime,
        failures: runtime_failures,
        ..scope(
            policy(),
            vec![
                manifest(1, "v1", vec![app("a", 1, &[])]),
                manifest(2, "v2", vec![app("a", 2, &["web"])]),
                manifest(3, "v3", vec![app("a", 3, &[])]),
                manifest(4, "v4", vec![]),
            ],
        )
    }
}

/// Explores a world to its end and fails with the shortest story of what went wrong.
fn explore(name: &str, scope: Scope) -> Seen {
    let begun = Instant::now();
    let checker = scope.checker().threads(1).spawn_bfs().join();
    let (unique, all) = (checker.unique_state_count(), checker.state_count());
    println!("{name}: {unique} states, {all} steps, {} ms", begun.elapsed().as_millis());
    let failures: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(property, _)| *property != "it_settles")
        .map(|(property, path)| {
            let last = path.clone().into_states().pop();
            let story: Vec<_> = path.into_actions().iter().map(|a| format!("{a:?}")).collect();
            let then = last.map(|last| crate::calm::story(checker.model(), &last));
            let (story, then) = (story.join("\n  "), then.unwrap_or_default());
            format!("{name}: {property} broken by:\n  {story}\n{then}")
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checker.discovery("it_settles").is_some(), "{name} never settles");
    checker.model().seen.lock().unwrap().clone()
}

macro_rules! explored {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                seen::$name();
            }
        )*

        mod seen {
            use super::*;
            $(
                pub(super) fn $name() -> &'static Seen {
                    static SEEN: OnceLock<Seen> = OnceLock::new();
                    SEEN.get_or_init(|| explore(stringify!($name), crate::scopes::$name()))
                }
            )*
            pub(super) fn all() -> Vec<&'static Seen> {
                vec![$($name()),*]
            }
        }
    };
}

mod explored {
    use super::*;
    explored!(
        onboarding,
        sync,
        workload_keep,
        workload_rollback,
        workload_disturbed,
        wanted_again,
        refused,
        independent,
        group,
        group_changes,
        engine,
        mismatch_reconcile,
        mismatch_report,
        outbox,
        firmware_update,
        firmware_bad,
        firmware_by_hand,
        firmware_foreign,
        firmware_listed,
        firmware_disturbed,
        firmware_group,
        wait_for_wfm,
        preload,
        nothing_to_run
    );

    /// What the tables promise can happen, happens: no line of a diagram is fiction.
    #[test]
    fn every_edge_is_seen() {
        let seen: BTreeSet<(MachineName, Edge)> =
            seen::all().into_iter().flat_map(|seen| seen.edges.iter().copied()).collect();
        let promised = MACHINES
            .iter()
            .flat_map(|(machine, edges)| edges.iter().map(move |edge| (*machine, *edge)));
        let missing: Vec<_> = promised.filter(|edge| !seen.contains(edge)).collect();
        assert!(missing.is_empty(), "never seen: {missing:#?}");
    }
}
