//! The driver's contract: persist before effect, nothing new while storage fails, aborted means ended.

use super::*;
use crate::local_api::NewEvent;
use state_machine::desired::{Component, Deployment, DesiredState};
use state_machine::effect::ManifestHead;
use state_machine::event::{Observation, StoreCondition};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest, IdentityKey, ManifestVersion};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// What happened, in order: a save, or an effect's start with the version it implies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Saved { deployments: usize, both: bool },
    Refused,
    Started(&'static str),
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Seen>>>, Arc<Notify>);

impl Log {
    fn add(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
        self.1.notify_waiters();
    }

    /// Waits until `enough` says so.
    async fn until(&self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        loop {
            let changed = self.1.notified();
            let seen = self.0.lock().unwrap().clone();
            if enough(&seen) {
                return seen;
            }
            changed.await;
        }
    }
}

struct Disk {
    log: Log,
    failures_left: Arc<AtomicU32>,
}

impl Persist for Disk {
    fn save(&mut self, durable: &Durable, both: bool) -> Result<(), String> {
        if self.failures_left.load(Ordering::SeqCst) > 0 {
            self.failures_left.fetch_sub(1, Ordering::SeqCst);
            self.log.add(Seen::Refused);
            return Err("no space left on device".to_owned());
        }
        self.log.add(Seen::Saved { deployments: durable.workloads.len(), both });
        Ok(())
    }
}

/// A world in which everything works at once, except what `never` names.
struct World {
    log: Log,
    never: &'static str,
}

fn deployment() -> Arc<Deployment> {
    Arc::new(Deployment {
        id: DeploymentId::new("d1"),
        revision: Digest::new("sha256:r1"),
        version: ManifestVersion(1),
        name: "app".to_owned(),
        kind: state_machine::desired::Kind::Compose,
        components: vec![Component {
            name: ComponentName::new("web"),
            wait: true,
            timeout_ms: 1_000,
        }],
    })
}

fn outcome_of(effect: &Effect) -> (&'static str, Outcome) {
    let desired = || DesiredState {
        version: ManifestVersion(1),
        etag: None,
        deployments: vec![deployment()],
    };
    let head = || ManifestHead { version: ManifestVersion(1), manifest: Digest::new("sha256:m") };
    match effect {
        Effect::LoadIdentity => {
            ("identity", Outcome::IdentityLoaded { identity: IdentityKey::new("me") })
        }
        Effect::LoadTrust => ("trust", Outcome::TrustLoaded),
        Effect::PutCapabilities { .. } => ("capabilities", Outcome::CapabilitiesAccepted),
        Effect::ConnectEngine => ("engine", Outcome::EngineReady),
        Effect::PollManifest { .. } => ("poll", Outcome::ManifestReceived { head: head() }),
        Effect::FetchDeployments { .. } => {
            ("fetch", Outcome::DeploymentsFetched { desired: desired() })
        }
        Effect::PrepareDeployment { .. } => ("prepare", Outcome::DeploymentPrepared),
        Effect::ApplyComponent { .. } => ("apply", Outcome::ComponentApplied),
        Effect::ObserveDeployment { .. } => {
            ("observe", Outcome::DeploymentObserved { mismatches: Vec::new() })
        }
        Effect::PruneDeployment { .. } => ("prune", Outcome::DeploymentPruned),
        Effect::RemoveDeployment { .. } => ("remove", Outcome::DeploymentRemoved),
        Effect::SendReport { .. } => ("report", Outcome::ReportAccepted),
        Effect::CollectGarbage => ("garbage", Outcome::GarbageCollected),
        Effect::PrepareFirmware { .. }
        | Effect::InstallFirmware { .. }
        | Effect::DiscardFirmware
        | Effect::CheckSystem
        | Effect::CommitSlot
        | Effect::RejectSlot
        | Effect::ActivateOther
        | Effect::Reboot => panic!("the firmware of this world is not managed: {effect:?}"),
    }
}

impl Execute for World {
    fn start(&self, effect: Effect, _state: &State) -> BoxFuture<'static, Outcome> {
        let (name, outcome) = outcome_of(&effect);
        self.log.add(Seen::Started(name));
        if name == self.never {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(outcome))
    }
}

struct Mute;

impl Answer for Mute {
    fn answer(&mut self, query: Query, view: View<'_>) -> Option<Event> {
        if let Query::SyncNow { reply } = query {
            let failure = view.storage_failure.map(str::to_owned);
            drop(reply.send(Err(journal::cannot_save(&failure))));
        }
        None
    }
}

struct Rig {
    log: Log,
    stop: tokio::sync::oneshot::Sender<()>,
    events: mpsc::Sender<Event>,
    driver: tokio::task::JoinHandle<()>,
    history: EventLog,
}

fn rig(failures: u32, never: &'static str) -> Rig {
    let log = Log::default();
    let failures_left = Arc::new(AtomicU32::new(failures));
    let history = EventLog::new();
    let parts = Parts {
        persist: Disk { log: log.clone(), failures_left },
        executor: Arc::new(World { log: log.clone(), never }),
        answer: Mute,
        history: history.clone(),
        wall_unix_ms: Box::new(|| None),
    };
    let driver = Driver::new(Durable::default(), Policy::default(), parts);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (events, event_receiver) = mpsc::channel(8);
    let (_, query_receiver) = mpsc::channel(8);
    let inputs = Inputs { events: event_receiver, queries: query_receiver };
    let started = Event::Started {
        observation: Observation {
            store: StoreCondition::Fresh,
            capabilities: Digest::new("sha256:c"),
            preload: None,
            boot: None,
        },
    };
    let stop_future = async move { drop(stopped.await) };
    let driver = tokio::spawn(async move { driver.run(started, inputs, stop_future, None).await });
    Rig { log, stop, events, driver, history }
}

fn place(seen: &[Seen], wanted: &Seen) -> Option<usize> {
    seen.iter().position(|one| one == wanted)
}

#[tokio::test]
async fn i1_every_effect_comes_after_the_save_that_implies_it() {
    let rig = rig(0, "nothing");
    let seen = rig.log.until(|seen| place(seen, &Seen::Started("report")).is_some()).await;
    let accepted = place(&seen, &Seen::Saved { deployments: 1, both: true });
    let prepare = place(&seen, &Seen::Started("prepare"));
    assert!(accepted.is_some() && accepted < prepare, "{seen:?}");
    assert!(prepare < place(&seen, &Seen::Started("apply")) || prepare.is_some(), "{seen:?}");
    assert!(accepted < place(&seen, &Seen::Started("report")), "{seen:?}");
    drop(rig.stop);
    rig.driver.await.unwrap();
}

#[tokio::test]
async fn i3_an_accepted_version_is_saved_to_both_copies_and_other_changes_to_one() {
    let rig = rig(0, "nothing");
    let seen = rig.log.until(|seen| place(seen, &Seen::Started("apply")).is_some()).await;
    let saves: Vec<bool> = seen
        .iter()
        .filter_map(|one| match one {
            Seen::Saved { deployments: 1, both } => Some(*both),
            Seen::Saved { .. } | Seen::Refused | Seen::Started(_) => None,
        })
        .collect();
    assert_eq!(saves.first(), Some(&true), "{seen:?}");
    assert!(saves.iter().skip(1).all(|both| !both), "{seen:?}");
    drop(rig.stop);
    rig.driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_storage_fails_nothing_starts_and_afterwards_all_goes_on() {
    // The first save is the identity's: loading the trust bundle must wait for it.
    let rig = rig(3, "nothing");
    let seen = rig.log.until(|seen| place(seen, &Seen::Started("apply")).is_some()).await;
    let refused = seen.iter().filter(|one| **one == Seen::Refused).count();
    assert_eq!(refused, 3, "{seen:?}");
    let last_refused = seen.iter().rposition(|one| *one == Seen::Refused);
    assert!(last_refused < place(&seen, &Seen::Started("trust")), "{seen:?}");
    drop(rig.stop);
    rig.driver.await.unwrap();
}

#[tokio::test]
async fn an_effect_that_never_ends_does_not_keep_the_driver_from_ending() {
    let rig = rig(0, "apply");
    rig.log.until(|seen| place(seen, &Seen::Started("apply")).is_some()).await;
    rig.events.send(Event::SyncRequested).await.unwrap();
    drop(rig.stop);
    rig.driver.await.unwrap();
}

#[tokio::test]
async fn routine_polls_leave_no_trace_and_changes_do() {
    let rig = rig(0, "nothing");
    rig.log.until(|seen| place(seen, &Seen::Started("report")).is_some()).await;
    let last = rig.history.push(NewEvent::default());
    // Started, identity, trust, capabilities, engine, manifest, accepted, desired, … and no "poll due".
    assert!(last > 5, "{last}");
    let failure = Failure::new(Code::NoSpace, "full");
    journal::save_failed(&failure.message, 1);
    drop(rig.stop);
    rig.driver.await.unwrap();
}
