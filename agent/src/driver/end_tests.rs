//! The driver alone, with storage and effects made up.

use super::{Answer, Driver, Execute, Inputs, Parts, Persist, View};
use crate::local_api::{EventLog, Query};
use futures_util::future::BoxFuture;
use state_machine::effect::{Effect, Outcome};
use state_machine::event::{Event, Observation, StoreCondition};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{Digest, IdentityKey};
use state_machine::policy::Policy;
use state_machine::state::{Durable, State};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use tokio::sync::mpsc;

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
    let first = Event::Started {
        observation: Observation {
            store: StoreCondition::Fresh,
            capabilities: Digest::new("sha256:00"),
            preload: None,
            boot: None,
        },
    };
    let (_events, events) = mpsc::channel(1);
    let (_queries, queries) = mpsc::channel(1);
    let driver = Driver::new(Durable::default(), Policy::default(), parts);
    // Told to stop while it saves; only then may the save go on.
    let stop = async {
        has_begun.recv().await;
        std::thread::spawn(move || let_go.send(()));
    };
    driver.run(first, Inputs { events, queries }, stop, None).await;
    assert!(!is_open.load(Ordering::SeqCst), "the storage is still open");
}
