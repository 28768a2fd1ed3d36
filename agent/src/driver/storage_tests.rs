//! The driver alone, with storage that is slow or full and effects made up.

use super::{Answer, Driver, Execute, Inputs, Parts, Persist, View};
use crate::local_api::{EventLog, Query};
use futures_util::future::BoxFuture;
use state_machine::desired::{Component, Deployment, DesiredState};
use state_machine::effect::{Effect, ManifestHead, Outcome};
use state_machine::event::{Event, Observation, StoreCondition};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest, IdentityKey, ManifestVersion};
use state_machine::policy::Policy;
use state_machine::state::{Durable, State};
use state_machine::sync::Accepted;
use state_machine::workload::{Held, Phase, Workload};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use tokio::sync::{mpsc, watch};

/// Storage whose save takes as long as the test wants.
struct Slow {
    begun: mpsc::UnboundedSender<()>,
    go_on: std_mpsc::Receiver<()>,
    is_open: Arc<AtomicBool>,
}

impl Persist for Slow {
    fn save(&mut self, _: &Durable, _: bool) -> Result<(), String> {
        self.begun.send(()).map_err(|error| error.to_string())?;
        self.go_on.recv().map_err(|error| error.to_string())
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.is_open.store(false, Ordering::SeqCst);
    }
}

/// Has an identity, which is worth saving, and nothing else.
struct Identity;

impl Execute for Identity {
    fn start(&self, effect: Effect, _: &State) -> BoxFuture<'static, Outcome> {
        let outcome = match effect {
            Effect::LoadIdentity => {
                Outcome::IdentityLoaded { identity: IdentityKey::new("spiffe://one at a place") }
            }
            _ => Outcome::Failed { failure: Failure::new(Code::Internal, "there is nothing") },
        };
        Box::pin(async move { outcome })
    }
}

/// Says nothing.
struct Silent;

impl Answer for Silent {
    fn answer(&mut self, _: Query, _: View<'_>) -> Option<Event> {
        None
    }
}

#[tokio::test]
async fn when_a_run_has_ended_its_storage_is_closed_even_in_the_middle_of_a_save() {
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let (let_go, go_on) = std_mpsc::channel();
    let is_open = Arc::new(AtomicBool::new(true));
    let parts = Parts {
        persist: Slow { begun, go_on, is_open: Arc::clone(&is_open) },
        executor: Arc::new(Identity),
        answer: Silent,
        history: EventLog::new(),
        wall_unix_ms: Box::new(|| None),
    };
    let (_events, events) = mpsc::channel(1);
    let (_queries, queries) = mpsc::channel(1);
    let driver = Driver::new(Durable::default(), Policy::default(), parts);
    // Told to stop while it saves; only then may the save go on.
    let stop = async {
        has_begun.recv().await;
        std::thread::spawn(move || let_go.send(()));
    };
    driver.run(started(), Inputs { events, queries }, stop, None).await;
    assert!(!is_open.load(Ordering::SeqCst), "the storage is still open");
}

fn started() -> Event {
    Event::Started {
        observation: Observation {
            store: StoreCondition::Intact,
            capabilities: Digest::new("sha256:00"),
            preload: None,
            boot: None,
        },
    }
}

/// Storage that is full until it is freed.
struct Full {
    is_full: Arc<AtomicBool>,
    refused: watch::Sender<bool>,
}

impl Persist for Full {
    fn save(&mut self, _: &Durable, _: bool) -> Result<(), String> {
        if self.is_full.load(Ordering::SeqCst) {
            self.refused.send_replace(true);
            return Err("no space left".to_owned());
        }
        Ok(())
    }
}

/// A WFM whose next manifest is empty, and an engine that is slower than it.
struct Emptied {
    refused: watch::Receiver<bool>,
    started: mpsc::UnboundedSender<&'static str>,
}

impl Execute for Emptied {
    fn start(&self, effect: Effect, _: &State) -> BoxFuture<'static, Outcome> {
        let version = ManifestVersion(2);
        let (name, outcome) = match effect {
            Effect::LoadIdentity => {
                ("identity", Outcome::IdentityLoaded { identity: IdentityKey::new("me") })
            }
            Effect::LoadTrust => ("trust", Outcome::TrustLoaded),
            Effect::PollManifest { .. } => {
                let head = ManifestHead { version, manifest: Digest::new("sha256:02") };
                ("poll", Outcome::ManifestReceived { head })
            }
            Effect::FetchDeployments { .. } => {
                let desired = DesiredState { version, etag: None, deployments: Vec::new() };
                ("fetch", Outcome::DeploymentsFetched { desired })
            }
            Effect::ConnectEngine => {
                let mut refused = self.refused.clone();
                return Box::pin(async move {
                    let _ = refused.wait_for(|refused| *refused).await;
                    Outcome::EngineReady
                });
            }
            Effect::ApplyComponent { .. } => ("apply", Outcome::ComponentApplied),
            Effect::RemoveDeployment { .. } => ("remove", Outcome::DeploymentRemoved),
            _ => ("other", Outcome::Failed { failure: Failure::new(Code::Internal, "not here") }),
        };
        // Nobody looks any more at the end.
        let _ = self.started.send(name);
        Box::pin(async move { outcome })
    }
}

/// One deployment, installed and accepted.
fn one_installed() -> Durable {
    let (id, name) = (DeploymentId::new("d1"), ComponentName::new("web"));
    let component = Component { name: name.clone(), wait: false, timeout_ms: 1_000 };
    let desired = Arc::new(Deployment {
        id: id.clone(),
        revision: Digest::new("sha256:01"),
        version: ManifestVersion(1),
        name: "app".to_owned(),
        kind: state_machine::desired::Kind::Compose,
        components: vec![component.clone()],
    });
    let held = Held { revision: desired.revision.clone(), order: 0, component };
    let workload = Workload {
        desired: Arc::clone(&desired),
        dropped_by: None,
        adopted: Some(ManifestVersion(1)),
        good: Some(desired),
        held: BTreeMap::from([(name, held)]),
        phase: Phase::Running,
        failure: None,
        untidy: false,
    };
    let mut durable = Durable::default();
    durable.onboarding.identity = Some(IdentityKey::new("me"));
    durable.onboarding.capabilities = Some(Digest::new("sha256:00"));
    durable.sync.accepted = Some(Accepted { version: ManifestVersion(1), etag: None });
    // What was reported last is part of the state; without it the first step would have something to save.
    let report = Arc::new(state_machine::report::project(&workload));
    let queue = state_machine::report::Queue { latest: Some(report), ..Default::default() };
    durable.outbox.deployments.insert(id.clone(), queue);
    durable.workloads.insert(id, workload);
    durable
}

#[tokio::test]
async fn i1_i4_full_storage_keeps_a_removal_from_beginning_and_not_a_restoration() {
    let is_full = Arc::new(AtomicBool::new(true));
    let (refuse, refused) = watch::channel(false);
    let (start, mut has_started) = mpsc::unbounded_channel();
    let parts = Parts {
        persist: Full { is_full: Arc::clone(&is_full), refused: refuse },
        executor: Arc::new(Emptied { refused, started: start }),
        answer: Silent,
        history: EventLog::new(),
        wall_unix_ms: Box::new(|| None),
    };
    let (_events, events) = mpsc::channel(1);
    let (_queries, queries) = mpsc::channel(1);
    let driver = Driver::new(one_installed(), Policy::default(), parts);
    let stop = async {
        let mut seen = Vec::new();
        while seen.last() != Some(&"apply") {
            seen.push(has_started.recv().await.unwrap());
        }
        assert!(seen.contains(&"fetch") && !seen.contains(&"remove"), "{seen:?}");
        is_full.store(false, Ordering::SeqCst);
        while has_started.recv().await.unwrap() != "remove" {}
    };
    driver.run(started(), Inputs { events, queries }, stop, None).await;
}

/// A deployment whose update was interrupted, beside one that runs: the first step has something to save.
fn one_interrupted() -> Durable {
    let mut durable = one_installed();
    let Some(workload) = durable.workloads.values().next().cloned() else { return durable };
    let mut other = workload.clone();
    let id = DeploymentId::new("d2");
    Arc::make_mut(&mut other.desired).id = id.clone();
    let two = Component { name: ComponentName::new("db"), wait: false, timeout_ms: 1_000 };
    Arc::make_mut(&mut other.desired).components.push(two.clone());
    other.phase = Phase::Applying { component: two.name };
    durable.workloads.insert(id, other);
    durable
}

#[tokio::test]
async fn i4_full_storage_keeps_no_workload_down_after_a_crash_in_the_middle_of_an_update() {
    let is_full = Arc::new(AtomicBool::new(true));
    let (refuse, refused) = watch::channel(false);
    let (start, mut has_started) = mpsc::unbounded_channel();
    let durable = one_interrupted();
    let step = state_machine::step(
        &State::with_durable(durable.clone()),
        &started(),
        &state_machine::time::Now::monotonic(1),
        &Policy::default(),
    );
    assert!(
        step.persist,
        "the first step of this state must need a save, or this test shows nothing"
    );
    let parts = Parts {
        persist: Full { is_full: Arc::clone(&is_full), refused: refuse },
        executor: Arc::new(Emptied { refused, started: start }),
        answer: Silent,
        history: EventLog::new(),
        wall_unix_ms: Box::new(|| None),
    };
    let (_events, events) = mpsc::channel(1);
    let (_queries, queries) = mpsc::channel(1);
    let driver = Driver::new(durable, Policy::default(), parts);
    // Both the one that ran and the one that was being updated, while not a byte can be written.
    let stop = async {
        let mut applied = 0;
        while applied < 2 {
            applied += usize::from(has_started.recv().await.unwrap() == "apply");
        }
    };
    driver.run(started(), Inputs { events, queries }, stop, None).await;
    assert!(is_full.load(Ordering::SeqCst));
}
