//! The engine's own view: when things happened, by its clock, which is the host's.

use crate::Fault;
use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::AbortHandle;

/// Something the engine did.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    /// `container` or `network`.
    pub(crate) kind: String,
    /// `create`, `connect`, `start`, ….
    pub(crate) action: String,
    /// Labels and the like.
    pub(crate) attributes: HashMap<String, String>,
    /// Milliseconds since 1970.
    pub(crate) at_ms: f64,
}

/// Everything the engine did since somebody began to listen.
#[derive(Debug)]
pub(crate) struct Starts {
    happened: Arc<Mutex<Vec<Happened>>>,
    task: AbortHandle,
}

impl Starts {
    /// Listens from now on.
    pub(crate) fn listen(docker: &Docker) -> Self {
        let happened = Arc::<Mutex<Vec<Happened>>>::default();
        let (docker, kept) = (docker.clone(), Arc::clone(&happened));
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(docker.events(None::<EventsOptions>));
            while let Some(Ok(event)) = events.next().await {
                lock(&kept).extend(happened_of(event));
            }
        });
        Self { happened, task: task.abort_handle() }
    }

    /// Forgets what happened so far.
    pub(crate) fn clear(&self) {
        lock(&self.happened).clear();
    }

    /// What happened so far, in order.
    pub(crate) fn all(&self) -> Vec<Happened> {
        lock(&self.happened).clone()
    }

    /// When a container with this label started, in milliseconds since 1970; waits for it.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn started(&self, label: &str, value: &str) -> Result<f64, Fault> {
        let mut found = None;
        crate::scene::until(&format!("a container with {label}={value} to start"), async || {
            let all = lock(&self.happened);
            let start = all.iter().find(|one| {
                one.kind == "container"
                    && one.action == "start"
                    && one.attributes.get(label).is_some_and(|found| found == value)
            });
            found = start.map(|start| start.at_ms);
            Ok(found.is_some())
        })
        .await?;
        found.ok_or_else(|| "the start has no time".into())
    }

    /// Stops listening.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only ever appended to or cleared.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn happened_of(event: EventMessage) -> Option<Happened> {
    let actor = event.actor.unwrap_or_default();
    Some(Happened {
        kind: event.typ?.to_string(),
        action: event.action?,
        attributes: actor.attributes.unwrap_or_default(),
        at_ms: ms_of_ns(event.time_nano?),
    })
}

/// The host's clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

fn ms_of_ns(ns: i64) -> f64 {
    let ns = u64::try_from(ns).unwrap_or_default();
    std::time::Duration::from_nanos(ns).as_secs_f64() * 1e3
}
