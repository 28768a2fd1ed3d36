//! The engine's events, turned into facts for the machine.

use super::{Shared, lock};
use crate::engine::{Engine, EngineEventKind};
use crate::logging::ErrorChain;
use futures_util::StreamExt;
use state_machine::effect::Outcome;
use state_machine::event::Event;
use state_machine::failure::Failure;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The task that watches, if one does.
#[derive(Debug, Default)]
pub(super) struct EngineWatch(Option<AbortHandle>);

impl Drop for EngineWatch {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Shared {
    pub(super) async fn connect_engine(&self) -> Result<Outcome, Failure> {
        let version = self.engine.ping().await.map_err(|error| error.to_failure())?;
        let task = tokio::spawn(watch(self.engine.clone(), self.events.clone()));
        // The old watch, if there is one, ends with the assignment.
        *lock(&self.watch) = EngineWatch(Some(task.abort_handle()));
        tracing::info!(release = version.release, api = version.api, "container engine answers");
        Ok(Outcome::EngineReady)
    }
}

async fn watch(engine: Engine, events: mpsc::Sender<Event>) {
    let mut stream = std::pin::pin!(engine.watch());
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) if is_news(&event.kind) => {
                tracing::debug!(
                    deployment = %event.deployment,
                    component = %event.component,
                    service = event.service,
                    kind = ?event.kind,
                    "engine event"
                );
                Event::WorkloadChanged { deployment: event.deployment }
            }
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "engine events ended");
                break;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
    // With the driver gone nobody needs to know.
    let _ = events.send(Event::EngineDisconnected).await;
}

/// What may mean that something no longer runs as it should. Starts are news to nobody.
const fn is_news(kind: &EngineEventKind) -> bool {
    match kind {
        EngineEventKind::Created
        | EngineEventKind::Started
        | EngineEventKind::Unpaused
        | EngineEventKind::HealthChanged { healthy: true } => false,
        EngineEventKind::Died { .. }
        | EngineEventKind::Stopped
        | EngineEventKind::Destroyed
        | EngineEventKind::HealthChanged { healthy: false }
        | EngineEventKind::Oom
        | EngineEventKind::Renamed
        | EngineEventKind::Updated
        | EngineEventKind::Paused
        | EngineEventKind::NetworkDisconnected { .. } => true,
    }
}
