//! What happens to our containers, as the engine tells it.

use super::docker::Engine;
use super::error::EngineError;
use super::live;
use super::naming::{
    LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_OWNER, LABEL_SERVICE, OWNER, is_ours,
};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerStateStatusEnum as Status, EventMessage};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt, future, stream};
use state_machine::ids::{ComponentName, DeploymentId};
use std::collections::HashMap;

/// Something happened to one of our containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The component.
    pub component: ComponentName,
    /// The service.
    pub service: String,
    /// The container's id.
    pub container: String,
    /// What happened.
    pub kind: EngineEventKind,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEventKind {
    /// Made, not started yet.
    Created,
    /// Started, or started again by its restart policy.
    Started,
    /// Its main process ended.
    Died {
        /// Its exit code; 128 + n after signal n.
        exit_code: i64,
    },
    /// Somebody asked the engine to stop it, and it has stopped.
    Stopped,
    /// Removed.
    Destroyed,
    /// The health check changed its mind.
    HealthChanged {
        /// The new verdict.
        healthy: bool,
    },
    /// A process in it was killed for want of memory.
    Oom,
    /// Given another name.
    Renamed,
    /// Its limits or restart policy were edited.
    Updated,
    /// Paused.
    Paused,
    /// Unpaused.
    Unpaused,
    /// Taken off a network while it runs.
    NetworkDisconnected {
        /// The network's name.
        network: String,
    },
}

const CONTAINER_EVENTS: [&str; 11] = [
    "create",
    "start",
    "die",
    "stop",
    "destroy",
    "health_status",
    "oom",
    "rename",
    "update",
    "pause",
    "unpause",
];

impl Engine {
    /// The events of our containers from now on. The engine filters them by our label; its network events
    /// know no labels, so those cost a look at the container. The stream ends when the engine goes away:
    /// then look at everything anew and watch again.
    ///
    /// # Errors
    /// Items: `Unavailable`, `Api`; the stream ends after one.
    pub fn watch(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + use<> {
        let engine = self.clone();
        stream::once(async move {
            match engine.api().await {
                Ok(docker) => events(engine, docker).boxed(),
                Err(error) => stream::once(future::ready(Err(error))).boxed(),
            }
        })
        .flatten()
    }
}

fn events(engine: Engine, docker: Docker) -> impl Stream<Item = Result<EngineEvent, EngineError>> {
    let ours = subscribe(
        &docker,
        &[
            ("type", &["container"]),
            ("label", &[&format!("{LABEL_OWNER}={OWNER}")]),
            ("event", &CONTAINER_EVENTS),
        ],
    );
    let networks = subscribe(&docker, &[("type", &["network"]), ("event", &["disconnect"])]);
    let of_containers = ours.map(|event| event.map(|event| container_event(&event))).boxed();
    let of_networks = networks
        .then(move |event| {
            let docker = docker.clone();
            async move {
                match event {
                    Ok(event) => Ok(network_event(&docker, &event).await),
                    Err(error) => Err(error),
                }
            }
        })
        .boxed();
    // Both streams are one daemon's: the end of either is the end of both.
    let ended = || stream::once(future::ready(None));
    let merged = stream::select(
        of_containers.map(Some).chain(ended()),
        of_networks.map(Some).chain(ended()),
    );
    let ending = engine.clone();
    merged
        .take_while(move |item| {
            if !matches!(item, Some(Ok(_))) {
                // Whatever ends now, ends because the daemon did.
                ending.daemon_lost();
            }
            future::ready(item.is_some())
        })
        .filter_map(move |item| {
            let event = match item {
                Some(Ok(event)) => event.map(Ok),
                Some(Err(error)) => Some(engine.seen("watch events", Err(error))),
                None => None,
            };
            future::ready(event)
        })
}

fn subscribe(
    docker: &Docker,
    filters: &[(&str, &[&str])],
) -> impl Stream<Item = Result<EventMessage, DockerError>> + use<> {
    let filters: HashMap<String, Vec<String>> = filters
        .iter()
        .map(|(key, values)| ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
        .collect();
    docker.events(Some(EventsOptionsBuilder::default().filters(&filters).build()))
}

fn container_event(event: &EventMessage) -> Option<EngineEvent> {
    let actor = event.actor.as_ref()?;
    let attributes = actor.attributes.as_ref()?;
    let exit_code = || attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1);
    let kind = match event.action.as_deref()? {
        "create" => EngineEventKind::Created,
        "start" => EngineEventKind::Started,
        "die" => EngineEventKind::Died { exit_code: exit_code() },
        "stop" => EngineEventKind::Stopped,
        "destroy" => EngineEventKind::Destroyed,
        "health_status: healthy" => EngineEventKind::HealthChanged { healthy: true },
        "health_status: unhealthy" => EngineEventKind::HealthChanged { healthy: false },
        "oom" => EngineEventKind::Oom,
        "rename" => EngineEventKind::Renamed,
        "update" => EngineEventKind::Updated,
        "pause" => EngineEventKind::Paused,
        "unpause" => EngineEventKind::Unpaused,
        _ => return None,
    };
    named(attributes, actor.id.as_ref()?, kind)
}

async fn network_event(docker: &Docker, event: &EventMessage) -> Option<EngineEvent> {
    let attributes = event.actor.as_ref()?.attributes.as_ref()?;
    let id = attributes.get("container")?;
    let network = attributes.get("name").cloned().unwrap_or_default();
    let found = docker.inspect_container(id, None).await.ok()?;
    // A container that stops leaves its networks too; its own events tell that better.
    if live::status(&found) != Status::RUNNING {
        return None;
    }
    let labels = live::labels(&found).filter(|labels| is_ours(Some(labels)))?;
    named(labels, id, EngineEventKind::NetworkDisconnected { network })
}

fn named(
    labels: &HashMap<String, String>,
    container: &str,
    kind: EngineEventKind,
) -> Option<EngineEvent> {
    Some(EngineEvent {
        deployment: DeploymentId::new(labels.get(LABEL_DEPLOYMENT)?),
        component: ComponentName::new(labels.get(LABEL_COMPONENT)?),
        service: labels.get(LABEL_SERVICE)?.clone(),
        container: container.to_owned(),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn message(action: &str, labels: &[(&str, &str)]) -> EventMessage {
        let attributes =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some("c1".to_owned()), attributes: Some(attributes) }),
            ..EventMessage::default()
        }
    }

    const LABELS: [(&str, &str); 4] = [
        (LABEL_DEPLOYMENT, "d"),
        (LABEL_COMPONENT, "c"),
        (LABEL_SERVICE, "web"),
        ("exitCode", "137"),
    ];

    #[test]
    fn actions_become_kinds() {
        let kind =
            |action: &str| container_event(&message(action, &LABELS)).map(|event| event.kind);
        assert_eq!(kind("die"), Some(EngineEventKind::Died { exit_code: 137 }));
        assert_eq!(
            kind("health_status: unhealthy"),
            Some(EngineEventKind::HealthChanged { healthy: false })
        );
        assert_eq!(kind("rename"), Some(EngineEventKind::Renamed));
        assert_eq!(kind("exec_start: true"), None);
    }

    #[test]
    fn an_event_without_our_labels_is_no_event() {
        assert_eq!(container_event(&message("die", &LABELS[..2])), None);
    }
}
