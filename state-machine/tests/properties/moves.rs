//! What may happen in a generated life: answers to what was ordered, mostly fitting, and anything else at any time.

use crate::support::{app, firmware, manifest, version_of};
use proptest::prelude::*;
use proptest::sample::select;
use state_machine::desired::{Deployment, DesiredState};
use state_machine::effect::{Bundle, Effect, FirmwareSource, ManifestHead, Outcome};
use state_machine::event::{BootSlot, Event, Observation, StoreCondition};
use state_machine::failure::{Code, Failure, FailureClass};
use state_machine::ids::{
    BootId, ComponentName, DeploymentId, Digest, EffectId, IdentityKey, ManifestVersion, SlotName,
};
use state_machine::policy::{
    DaySpan, FirstBoot, MismatchPolicy, PartialFailure, Policy, Restore, RetryPolicy,
};
use state_machine::state::State;
use std::collections::BTreeMap;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    /// The nth effect under way succeeds; what it brings is this.
    Succeed(usize, DesiredState, Vec<Failure>),
    /// It fails.
    Fail(usize, Failure),
    /// It ends in a way that is not its own.
    Confuse(usize, Outcome),
    /// An id that means nothing.
    Stale(u64, Outcome),
    Restart {
        lost: bool,
        observation: Observation,
    },
    /// Clocks show this from now on, and an alarm goes off.
    Time(u64, Option<u64>),
    Other(Event),
}

/// The state after a power cut.
pub(crate) fn restarted(state: &State, lost: bool) -> State {
    let text = serde_json::to_string(&state.durable).unwrap();
    let text = if lost { "{}" } else { &text };
    State::with_durable(serde_json::from_str(text).unwrap())
}

/// The event of a move, where these effects are under way.
pub(crate) fn event_of(happening: &Move, under_way: &BTreeMap<EffectId, Effect>) -> Event {
    let pick = |n: &usize| under_way.iter().nth(n % under_way.len().max(1));
    let end = |n: &usize, outcome: &dyn Fn(&Effect) -> Outcome| match pick(n) {
        Some((id, effect)) => Event::EffectFinished { id: *id, outcome: outcome(effect) },
        None => Event::TimerElapsed,
    };
    match happening {
        Move::Succeed(n, desired, mismatches) => end(n, &|e| success(e, desired, mismatches)),
        Move::Fail(n, failure) => end(n, &|_| Outcome::Failed { failure: failure.clone() }),
        Move::Confuse(n, outcome) => end(n, &|_| outcome.clone()),
        Move::Stale(id, outcome) => {
            Event::EffectFinished { id: EffectId(*id), outcome: outcome.clone() }
        }
        Move::Restart { observation, .. } => Event::Started { observation: observation.clone() },
        Move::Time(..) => Event::TimerElapsed,
        Move::Other(event) => event.clone(),
    }
}

fn success(effect: &Effect, desired: &DesiredState, mismatches: &[Failure]) -> Outcome {
    match effect {
        Effect::LoadIdentity => {
            let name = if mismatches.len() > 1 { "wfm-2" } else { "wfm-1" };
            Outcome::IdentityLoaded { identity: IdentityKey::from(name) }
        }
        Effect::LoadTrust => Outcome::TrustLoaded,
        Effect::PutCapabilities { .. } => Outcome::CapabilitiesAccepted,
        Effect::ConnectEngine => Outcome::EngineReady,
        Effect::PollManifest { .. } => {
            let manifest = Digest::new(serde_json::to_string(desired).unwrap());
            Outcome::ManifestReceived { head: ManifestHead { version: desired.version, manifest } }
        }
        // What was offered is what is fetched, as in life.
        Effect::FetchDeployments { manifest } => Outcome::DeploymentsFetched {
            desired: serde_json::from_str(manifest.as_str()).unwrap_or_else(|_| desired.clone()),
        },
        Effect::PrepareDeployment { .. } => Outcome::DeploymentPrepared,
        Effect::ApplyComponent { .. } => Outcome::ComponentApplied,
        Effect::ObserveDeployment { .. } => {
            Outcome::DeploymentObserved { mismatches: mismatches.to_vec() }
        }
        Effect::PruneDeployment { .. } => Outcome::DeploymentPruned,
        Effect::RemoveDeployment { .. } => Outcome::DeploymentRemoved,
        Effect::SendReport { .. } => Outcome::ReportAccepted,
        Effect::CollectGarbage => Outcome::GarbageCollected,
        Effect::PrepareFirmware { source } => {
            let version = match source {
                FirmwareSource::Deployment { revision, .. } => version_of(revision),
                FirmwareSource::Location { .. } => desired.version.0.to_string(),
            };
            Outcome::FirmwarePrepared { bundle: Bundle { version, manifest: None } }
        }
        Effect::InstallFirmware { .. } => Outcome::FirmwareInstalled,
        Effect::DiscardFirmware
        | Effect::CommitSlot
        | Effect::RejectSlot
        | Effect::ActivateOther => Outcome::SlotMarked,
        Effect::CheckSystem => Outcome::SystemChecked { failures: mismatches.to_vec() },
        // It does not come back but as a failure.
        Effect::Reboot => {
            Outcome::Failed { failure: Failure::new(Code::FirmwareUnavailable, "busy") }
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..2_000_000_u64, 1 => any::<u64>(), 1 => select(vec![0, u64::MAX, u64::MAX - 1])]
}

fn component() -> impl Strategy<Value = ComponentName> {
    select(vec!["web", "db", "cache", "nobody"]).prop_map(ComponentName::from)
}

fn failure() -> impl Strategy<Value = Failure> {
    use FailureClass::{Permanent, Refused, Retryable};
    let class = prop::option::of(select(vec![Retryable, Permanent, Refused]));
    (
        select(Code::ALL),
        class,
        prop::option::of(component()),
        prop::option::of(number()),
        "[a-z]{0,3}",
    )
        .prop_map(|(code, class, component, retry_after_ms, message)| Failure {
            class: class.unwrap_or_else(|| code.class()),
            component,
            ..Failure::new(code, message).retry_after(retry_after_ms)
        })
}

fn deployment() -> impl Strategy<Value = Deployment> {
    let names = prop::collection::vec(select(vec!["web", "db", "cache"]), 0..4);
    let compose = (select(vec!["a", "b", "c"]), 1..4_u32, names)
        .prop_map(|(id, revision, names)| app(id, revision, &names));
    // An id may change its kind, which no honest WFM does to it.
    let firmware = (select(vec!["fw", "fw-2", "c"]), 1..4_u32)
        .prop_map(|(id, revision)| firmware(id, revision));
    prop_oneof![4 => compose, 1 => firmware]
}

fn desired() -> impl Strategy<Value = DesiredState> {
    let version = prop_oneof![8 => 1..40_u64, 1 => select(vec![0, u64::MAX])];
    (version, prop::collection::vec(deployment(), 0..4))
        .prop_map(|(version, deployments)| manifest(version, &format!("v{version}"), deployments))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::TrustLoaded),
        Just(Outcome::CapabilitiesAccepted),
        Just(Outcome::EngineReady),
        Just(Outcome::ManifestUnchanged),
        Just(Outcome::DeploymentPrepared),
        Just(Outcome::ComponentApplied),
        Just(Outcome::DeploymentPruned),
        Just(Outcome::DeploymentRemoved),
        Just(Outcome::ReportAccepted),
        Just(Outcome::GarbageCollected),
        Just(Outcome::FirmwareInstalled),
        Just(Outcome::SlotMarked),
        Just(Outcome::IdentityLoaded { identity: IdentityKey::from("wfm-3") }),
        desired().prop_map(|desired| Outcome::DeploymentsFetched { desired }),
        desired().prop_map(|desired| Outcome::ManifestReceived {
            head: ManifestHead {
                version: ManifestVersion(desired.version.0),
                manifest: Digest::from("other"),
            },
        }),
        prop::collection::vec(failure(), 0..3)
            .prop_map(|mismatches| Outcome::DeploymentObserved { mismatches }),
        failure().prop_map(|failure| Outcome::Failed { failure }),
    ]
}

fn boot() -> impl Strategy<Value = Option<BootSlot>> {
    let slots = select(vec![("rootfs.0", "rootfs.1"), ("rootfs.1", "rootfs.0")]);
    let known = prop::bool::weighted(0.9);
    let words = (select(vec!["boot-1", "boot-2"]), prop::option::of(select(vec!["1", "7"])));
    let slot = (slots, prop::bool::weighted(0.8), known, words, any::<bool>()).prop_map(
        |((slot, other), committed, known, (boot, version), noted)| BootSlot {
            slot: SlotName::from(slot),
            other: known.then(|| SlotName::from(other)),
            committed,
            boot: BootId::from(boot),
            version: version.map(str::to_owned),
            note: noted.then(|| "the guard left it".to_owned()),
        },
    );
    prop::option::weighted(0.7, slot)
}

fn restart() -> impl Strategy<Value = Move> {
    let store = select(vec![StoreCondition::Intact, StoreCondition::Healed, StoreCondition::Fresh]);
    let capabilities = select(vec!["c1", "c2"]).prop_map(Digest::from);
    (store, prop::bool::weighted(0.1), capabilities, prop::option::of(desired()), boot()).prop_map(
        |(store, lost, capabilities, preload, boot)| {
            let preload = preload.map(|preload| {
                let own = |d: &std::sync::Arc<Deployment>| (**d).clone();
                DesiredState {
                    etag: None,
                    ..manifest(0, "", preload.deployments.iter().map(own).collect())
                }
            });
            let store = if lost { StoreCondition::Lost } else { store };
            Move::Restart { lost, observation: Observation { store, capabilities, preload, boot } }
        },
    )
}

fn other() -> impl Strategy<Value = Event> {
    let id = || select(vec!["a", "b", "c", "fw", "stranger"]).prop_map(DeploymentId::from);
    prop_oneof![
        Just(Event::EngineDisconnected),
        id().prop_map(|deployment| Event::WorkloadChanged { deployment }),
        Just(Event::IdentityChanged),
        select(vec!["c1", "c2"])
            .prop_map(|c| Event::CapabilitiesChanged { capabilities: Digest::from(c) }),
        boot().prop_map(|boot| Event::BootObserved { boot }),
        Just(Event::SyncRequested),
        id().prop_map(|deployment| Event::RetryRequested { deployment }),
        Just(Event::FirmwareRequested { location: "/run/usb/a.raucb".to_owned() }),
        Just(Event::FirmwareRollbackRequested),
        any::<bool>().prop_map(|good| Event::FirmwareJudged { good }),
    ]
}

fn happening() -> impl Strategy<Value = Move> {
    let mismatches =
        || prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(failure(), 0..3)];
    prop_oneof![
        30 => (0..8_usize, desired(), mismatches()).prop_map(|(n, d, m)| Move::Succeed(n, d, m)),
        6 => (0..8_usize, failure()).prop_map(|(n, f)| Move::Fail(n, f)),
        2 => (0..8_usize, outcome()).prop_map(|(n, o)| Move::Confuse(n, o)),
        1 => (number(), outcome()).prop_map(|(id, o)| Move::Stale(id, o)),
        1 => restart(),
        10 => (number(), prop::option::of(number())).prop_map(|(m, w)| Move::Time(m, w)),
        4 => other().prop_map(Move::Other),
    ]
}

/// A life, from the first start.
pub(crate) fn life() -> impl Strategy<Value = Vec<Move>> {
    (restart(), prop::collection::vec(happening(), 0..120)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

fn span() -> impl Strategy<Value = Vec<DaySpan>> {
    let span = |(from_minute, to_minute)| DaySpan { from_minute, to_minute };
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(any::<(u16, u16)>().prop_map(span), 1..3)]
}

/// A policy, sensible or not.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let choices = (
        select(vec![FirstBoot::Await, FirstBoot::Preload]),
        select(vec![Restore::Auto, Restore::Auto, Restore::WaitForWfm]),
        select(vec![PartialFailure::Keep, PartialFailure::Rollback, PartialFailure::AllOrNothing]),
        select(vec![MismatchPolicy::Reconcile, MismatchPolicy::Report]),
    );
    let spans = (span(), span());
    let limits = (0..4_usize, 0..3_usize, 0..6_usize, 0..4_u32, any::<u8>(), any::<u64>());
    let times =
        prop_oneof![2 => Just(None), 1 => prop::collection::vec(number(), 7).prop_map(Some)];
    (choices, spans, limits, times).prop_map(|(choices, spans, limits, times)| {
        let usual = Policy::default();
        let policy = Policy {
            first_boot: choices.0,
            restore: choices.1,
            partial_failure: choices.2,
            mismatch: choices.3,
            poll_hours: spans.0,
            downtime: spans.1,
            jobs_max: limits.0,
            prepares_max: limits.1,
            reports_per_deployment_max: limits.2,
            mismatch_retries_max: limits.3,
            retry: RetryPolicy { jitter_percent: limits.4, ..usual.retry },
            jitter_seed: limits.5,
            ..usual
        };
        let Some(times) = times else { return policy };
        Policy {
            retry: RetryPolicy { initial_ms: times[0], max_ms: times[1], ..policy.retry },
            poll_interval_ms: times[2],
            observe_interval_ms: times[3],
            stable_ms: times[4],
            engine_grace_ms: times[5],
            engine_retry_max_ms: times[6],
            ..policy
        }
    })
}
