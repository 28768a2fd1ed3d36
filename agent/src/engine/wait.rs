//! Waiting for one container: its end, its health, or its staying up. Driven by the engine's own wait call
//! and events; looks by itself only now and then, in case an event was lost.

use super::container_config::Spec;
use super::docker::Engine;
use super::error::EngineError;
use super::live;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, EventMessage, HealthStatusEnum,
};
use bollard::query_parameters::{EventsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use futures_util::future::pending;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

/// A container without health check that has run this long has not failed its start (R154). Shorter than
/// the half second after which docker compose looks for the first time.
const SETTLE: Duration = Duration::from_millis(300);
/// First and longest pause between looks at a container whose events may have been lost.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LONGEST: Duration = Duration::from_secs(2);
/// Characters of a health check's output that go into a message.
const DETAIL_CHARS: usize = 200;

/// How waiting for health ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Healthy,
    /// The container ended instead.
    Exited(i64),
}

/// The container as it is now.
pub(crate) async fn inspect(
    engine: &Engine,
    docker: &Docker,
    id: &str,
) -> Result<ContainerInspectResponse, EngineError> {
    engine.seen("inspect a container", docker.inspect_container(id, None).await)
}

/// Waits for the container's end and returns its exit code.
pub(crate) async fn end(engine: &Engine, docker: &Docker, id: &str) -> Result<i64, EngineError> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let answer = docker.wait_container(id, Some(options)).next().await;
    match answer {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => engine.seen("wait for a container", Err(error)),
        // The engine stopped in the middle of the wait.
        None => engine.seen("wait for a container", Err(DockerError::RequestTimeoutError)),
    }
}

/// Waits until the container has stayed up for a moment: `None`; or its exit code if it ended for good or
/// with an error.
pub(crate) async fn settled(
    engine: &Engine,
    docker: &Docker,
    spec: &Spec,
    id: &str,
) -> Result<Option<i64>, EngineError> {
    loop {
        let code = match timeout(SETTLE, end(engine, docker, id)).await {
            Ok(code) => code?,
            Err(_) if !spec.may_restart => return Ok(None),
            // Its end may have fallen between the start and our wait, and its restart into the wait.
            Err(_) => match engine.restarted_after(docker, id).await? {
                None => return Ok(None),
                Some(code) => code,
            },
        };
        if code != 0 || spec.may_complete {
            return Ok(Some(code));
        }
        // It ends with 0 and is restarted by its policy, again and again: not up, until the time is over.
        sleep(SETTLE).await;
    }
}

/// Waits for the first verdict of the health check.
pub(crate) async fn healthy(
    engine: &Engine,
    docker: &Docker,
    spec: &Spec,
    first: ContainerInspectResponse,
) -> Result<Ended, EngineError> {
    let id = first.id.clone().unwrap_or_default();
    let filters = HashMap::from([
        ("container", vec![id.clone()]),
        ("event", vec!["health_status".to_owned(), "die".to_owned()]),
    ]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let mut events = Box::pin(docker.events(Some(options)).fuse());
    let mut pause = LOOK_FIRST;
    let mut live = first;
    loop {
        if let Some(ended) = verdict(spec, &live)? {
            return Ok(ended);
        }
        let event = async {
            if events.next().await.is_none() {
                // The stream is over; only the pauses are left.
                pending::<()>().await;
            }
        };
        // An event or the end of the pause: both only mean "look again".
        let _ = timeout(pause, event).await;
        pause = pause.saturating_mul(2).min(LOOK_LONGEST);
        live = inspect(engine, docker, &id).await?;
    }
}

fn verdict(spec: &Spec, live: &ContainerInspectResponse) -> Result<Option<Ended>, EngineError> {
    let code = live::exit_code(live);
    match live::status(live) {
        Status::EXITED | Status::DEAD if code != 0 || spec.may_complete => {
            return Ok(Some(Ended::Exited(code)));
        }
        Status::RESTARTING if code != 0 => return Ok(Some(Ended::Exited(code))),
        Status::RUNNING => {}
        _ => return Ok(None),
    }
    match live::health(live) {
        Some(HealthStatusEnum::HEALTHY) => Ok(Some(Ended::Healthy)),
        Some(HealthStatusEnum::UNHEALTHY) => {
            Err(EngineError::Unhealthy { service: spec.service.clone(), detail: last_check(live) })
        }
        _ => Ok(None),
    }
}

fn last_check(live: &ContainerInspectResponse) -> String {
    let health = live.state.as_ref().and_then(|state| state.health.as_ref());
    let last = health.and_then(|health| health.log.as_ref()?.last());
    let output = last.and_then(|check| check.output.as_deref()).unwrap_or("no output").trim();
    output.chars().take(DETAIL_CHARS).collect()
}

impl Engine {
    /// True when an ended container has done its work and must not run again.
    ///
    /// `is_awaited`: another service waits for its completion, so its end with 0 is final. Else an end
    /// with 0 may as well be the answer to a stop signal, and only what was seen can tell the two apart.
    pub(crate) async fn is_complete(
        &self,
        docker: &Docker,
        spec: &Spec,
        live: &ContainerInspectResponse,
        is_awaited: bool,
    ) -> Result<bool, EngineError> {
        if !live::has_ended(live) || live::exit_code(live) != 0 || !spec.may_complete {
            return Ok(false);
        }
        let id = live.id.as_deref().unwrap_or_default();
        if is_awaited {
            return Ok(true);
        }
        Ok(self.has_witnessed(id) && !self.was_stopped(docker, id).await?)
    }

    /// True when the engine remembers that somebody stopped the container since its last start.
    async fn was_stopped(&self, docker: &Docker, id: &str) -> Result<bool, EngineError> {
        let last = self.last_event(docker, id, &["start", "kill", "stop"]).await?;
        Ok(last.is_some_and(|event| event.action.as_deref() != Some("start")))
    }

    /// The exit code after which the engine restarted a container since it was last told to start it.
    async fn restarted_after(&self, docker: &Docker, id: &str) -> Result<Option<i64>, EngineError> {
        let live = inspect(self, docker, id).await?;
        if live.restart_count.unwrap_or(0) == 0 && live::status(&live) != Status::RESTARTING {
            return Ok(None);
        }
        let last = self.last_event(docker, id, &["die"]).await?;
        let attributes = last.and_then(|event| event.actor?.attributes).unwrap_or_default();
        Ok(attributes.get("exitCode").and_then(|code| code.parse().ok()))
    }

    /// The last event of these kinds that the engine remembers of a container.
    async fn last_event(
        &self,
        docker: &Docker,
        id: &str,
        kinds: &[&str],
    ) -> Result<Option<EventMessage>, EngineError> {
        let filters = HashMap::from([
            ("container", vec![id.to_owned()]),
            ("event", kinds.iter().map(|kind| (*kind).to_owned()).collect()),
        ]);
        // "Until now" makes the engine answer with what it remembers and close the stream.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let options = EventsOptionsBuilder::default()
            .since("0")
            .until(&format!("{}.{:09}", now.as_secs(), now.subsec_nanos()))
            .filters(&filters)
            .build();
        let mut events = Box::pin(docker.events(Some(options)));
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(self.seen("read past events", event)?);
        }
        Ok(last)
    }

    /// Stops and starts a container, with its own stop time.
    pub(crate) async fn restart(&self, docker: &Docker, id: &str) -> Result<(), DockerError> {
        let patient = docker.clone().with_timeout(super::remove::STOP_LONGEST);
        patient.restart_container(id, None).await
    }
}
