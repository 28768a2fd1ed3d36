//! Answers to `margoctl`: the machine's state, in people's words.

mod firmware;

use crate::config::Settings;
use crate::driver::{Answer, View};
use crate::engine::{LogOptions, OwnedContainer};
use crate::executor::Executor;
use crate::local_api::{
    Accepted, ApiError, ApiErrorKind, ClockStatus, ComponentStatus, ContainerStatus,
    DeploymentStatus, FailureStatus, IdentityStatus, LogLine, LogLines, LogStream, LogsRequest,
    Query, Reply, Stage, Status, StoreStatus, WfmStatus, WorkloadsSummary, select_deployment,
};
use crate::provision::{self, Places};
use crate::{clock, logging};
use futures_util::StreamExt;
use state_machine::event::Event;
use state_machine::ids::DeploymentId;
use state_machine::report::{DeploymentState, project};
use state_machine::workload::{Live, Workload};
use std::sync::Arc;

/// Containers whose output one request may follow.
const LOG_SOURCES_MAX: usize = 64;

/// Answers from the machine's state, the executor and the engine.
#[derive(Debug)]
pub struct Answers {
    /// The executor.
    pub executor: Arc<Executor>,
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// How the durable state was found.
    pub store: StoreStatus,
    /// Where provisioning puts things.
    pub places: Places,
    /// The time before which the clock is not believed, in milliseconds since 1970.
    pub clock_floor_unix_ms: u64,
}

impl Answer for Answers {
    fn answer(&mut self, query: Query, view: View<'_>) -> Option<Event> {
        match query {
            Query::Status { reply } => {
                // Whoever asked may have gone; so for every reply below.
                let _ = reply.send(Ok(self.status(&view)));
                None
            }
            Query::Deployments { reply } => {
                self.with_containers(deployments(&view), move |all| drop(reply.send(Ok(all))));
                None
            }
            Query::Deployment { deployment, reply } => {
                match select_deployment(&deployments(&view), &deployment).cloned() {
                    Ok(one) => self.with_containers(vec![one], move |found| {
                        let gone = || ApiError::new(ApiErrorKind::NotFound, "it is gone");
                        let _ = reply.send(found.into_iter().next().ok_or_else(gone));
                    }),
                    Err(error) => drop(reply.send(Err(error))),
                }
                None
            }
            Query::Logs { request, lines, reply } => {
                self.logs(&view, request, lines, reply);
                None
            }
            Query::SyncNow { reply } => {
                let message = "asking the fleet manager now".to_owned();
                let _ = reply.send(Ok(Accepted { message }));
                Some(Event::SyncRequested)
            }
            Query::Retry { deployment, reply } => {
                match select_deployment(&deployments(&view), &deployment) {
                    Ok(found) => {
                        let message = format!("trying {} again now", found.name);
                        let _ = reply.send(Ok(Accepted { message }));
                        Some(Event::RetryRequested { deployment: DeploymentId::new(&*found.id) })
                    }
                    Err(error) => {
                        let _ = reply.send(Err(error));
                        None
                    }
                }
            }
            Query::Firmware { reply } => {
                let status = firmware::status(&self.executor, &view);
                firmware::with_slots(&self.executor, status, reply);
                None
            }
            Query::FirmwareOrder { order, reply } => {
                let admitted = firmware::admit(&order, &view);
                let event = admitted.is_ok().then(|| firmware::event(order));
                let _ = reply.send(admitted);
                event
            }
        }
    }
}

impl Answers {
    fn status(&self, view: &View<'_>) -> Status {
        let live = &view.state.live;
        let connection = self.executor.connection();
        let stage_failure = live.onboarding.last_failure.as_ref();
        let failure = stage_failure.or(live.sync.last_failure.as_ref());
        let stage = stage(view);
        let svid = connection.svid.as_deref();
        let wall_unix_ms = clock::wall_unix_ms();
        Status {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            stage,
            lacking: view
                .storage_failure
                .map(|failure| format!("the state cannot be saved: {failure}"))
                .or_else(|| lacking(stage, &self.places, failure)),
            provisioning: self.places.last_attempt(),
            device_id: self.settings.device.id.clone(),
            identity: IdentityStatus {
                spiffe_id: svid.map(|svid| svid.id().to_string()),
                not_after_unix_ms: svid.and_then(|svid| {
                    u64::try_from(svid.not_after_unix_secs()).ok()?.checked_mul(1_000)
                }),
                error: connection.identity_error.clone(),
            },
            wfm: WfmStatus {
                url: self.settings.wfm.url.clone(),
                last_contact_unix_ms: connection.last_contact_unix_ms,
                last_error: failure.map(FailureStatus::from),
            },
            manifest_version: view.state.durable.sync.accepted.as_ref().map(|a| a.version.0),
            store: self.store.clone(),
            workloads: summary(view),
            firmware: self
                .executor
                .updater()
                .map(|_| Box::new(firmware::status(&self.executor, view))),
            outbox_len: u64::try_from(view.state.durable.outbox.waiting()).unwrap_or(u64::MAX),
            next_wake_ms: view.wake_at_ms.map(|at| at.saturating_sub(view.now.monotonic_ms)),
            clock: ClockStatus {
                is_trusted: wall_unix_ms >= self.clock_floor_unix_ms,
                wall_unix_ms,
            },
        }
    }

    /// Adds what the engine says, off the loop, then hands the deployments on.
    fn with_containers(
        &self,
        mut deployments: Vec<DeploymentStatus>,
        done: impl FnOnce(Vec<DeploymentStatus>) + Send + 'static,
    ) {
        let engine = self.executor.engine().clone();
        tokio::spawn(async move {
            // Without the engine the rest is still worth showing.
            for container in engine.owned().await.unwrap_or_default() {
                add_container(&mut deployments, &container);
            }
            done(deployments);
        });
    }

    fn logs(&self, view: &View<'_>, request: LogsRequest, lines: LogLines, reply: Reply<()>) {
        let found = select_deployment(&deployments(view), &request.deployment).cloned();
        let engine = self.executor.engine().clone();
        tokio::spawn(async move {
            let sources = match found {
                Ok(deployment) => log_sources(&engine, &deployment, &request).await,
                Err(error) => Err(error),
            };
            match sources {
                Ok(sources) => {
                    let _ = reply.send(Ok(()));
                    send_logs(&engine, sources, &request, &lines).await;
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        });
    }
}

async fn log_sources(
    engine: &crate::engine::Engine,
    deployment: &DeploymentStatus,
    request: &LogsRequest,
) -> Result<Vec<OwnedContainer>, ApiError> {
    let owned = engine.owned().await.map_err(|error| {
        ApiError::new(ApiErrorKind::Unavailable, logging::ErrorChain(&error).to_string())
    })?;
    let is_wanted = |container: &OwnedContainer| {
        let component = request.component.as_deref();
        let service = request.service.as_deref();
        container.deployment.as_str() == deployment.id
            && component.is_none_or(|wanted| container.component.as_str() == wanted)
            && service.is_none_or(|wanted| container.service == wanted)
    };
    let sources: Vec<_> = owned.into_iter().filter(is_wanted).take(LOG_SOURCES_MAX).collect();
    if sources.is_empty() {
        let message = format!("{} has no such container", deployment.name);
        return Err(ApiError::new(ApiErrorKind::NotFound, message));
    }
    Ok(sources)
}

async fn send_logs(
    engine: &crate::engine::Engine,
    sources: Vec<OwnedContainer>,
    request: &LogsRequest,
    lines: &LogLines,
) {
    let options = LogOptions { follow: request.follow, tail: request.tail, since_secs: None };
    let streams = sources.into_iter().map(|source| {
        let stream = engine.logs(&source.id, &options);
        Box::pin(
            stream.map(move |line| (source.component.to_string(), source.service.clone(), line)),
        )
    });
    let mut merged = futures_util::stream::select_all(streams);
    while let Some((component, service, line)) = merged.next().await {
        let line = match line {
            Ok(line) => Ok(LogLine {
                component,
                service,
                stream: if line.stderr { LogStream::Stderr } else { LogStream::Stdout },
                time: String::new(),
                text: String::from_utf8_lossy(&line.bytes)
                    .trim_end_matches(['\r', '\n'])
                    .to_owned(),
            }),
            Err(error) => Err(ApiError::new(
                ApiErrorKind::Unavailable,
                logging::ErrorChain(&error).to_string(),
            )),
        };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

fn stage(view: &View<'_>) -> Stage {
    let name = view.state.stage();
    Stage::ALL.into_iter().find(|stage| stage.as_str() == name).unwrap_or(Stage::Unprovisioned)
}

fn lacking(
    stage: Stage,
    places: &Places,
    failure: Option<&state_machine::failure::Failure>,
) -> Option<String> {
    let what = match stage {
        Stage::Unprovisioned => {
            let missing = places.lacking();
            if !missing.is_empty() {
                return Some(format!("{}; {}", missing.join(", "), provision::WAYS));
            }
            "a usable identity (svid.pem, svid.key) and `wfm.url`"
        }
        Stage::Provisioned => "a trust bundle (bundle.json)",
        Stage::Trusted => "the fleet manager's acceptance of this device's capabilities",
        Stage::Registered => "the fleet manager's desired state",
        Stage::Synced => return failure.map(ToString::to_string),
    };
    Some(match failure {
        Some(failure) => format!("{what}: {failure}"),
        None => what.to_owned(),
    })
}

fn summary(view: &View<'_>) -> WorkloadsSummary {
    let mut summary = WorkloadsSummary::default();
    for workload in view.state.durable.workloads.values() {
        let is_desired = workload.dropped_by.is_none();
        summary.desired = summary.desired.saturating_add(u32::from(is_desired));
        let counter = match state_of(workload) {
            DeploymentState::Installed => &mut summary.installed,
            DeploymentState::Failed => &mut summary.failed,
            DeploymentState::Pending
            | DeploymentState::Installing
            | DeploymentState::Removing
            | DeploymentState::Removed => &mut summary.changing,
        };
        *counter = counter.saturating_add(1);
    }
    summary
}

/// The state as it is reported; a preloaded deployment is never reported, but has one all the same.
fn state_of(workload: &Workload) -> DeploymentState {
    project(workload).state
}

fn deployments(view: &View<'_>) -> Vec<DeploymentStatus> {
    let workloads = &view.state.durable.workloads;
    workloads.iter().map(|(id, workload)| deployment(id, workload, view)).collect()
}

fn deployment(id: &DeploymentId, workload: &Workload, view: &View<'_>) -> DeploymentStatus {
    let live = view.state.live.workloads.get(id).cloned().unwrap_or_default();
    let report = project(workload);
    let held = workload.held.values().next().map(|held| held.revision.to_string());
    DeploymentStatus {
        id: id.to_string(),
        name: workload.desired.name.clone(),
        desired: workload.dropped_by.is_none().then(|| workload.desired.revision.to_string()),
        held,
        state: report.state.as_str().to_owned(),
        phase: workload.phase.as_str().to_owned(),
        components: report
            .components
            .iter()
            .map(|component| ComponentStatus {
                name: component.name.to_string(),
                state: component.state.as_str().to_owned(),
                error: component.failure.as_ref().map(FailureStatus::from),
                containers: Vec::new(),
            })
            .collect(),
        error: workload.failure.as_ref().map(|failure| {
            // The durable one is the first of its kind; the latest says more.
            let latest = live.last_failure.as_ref().filter(|latest| latest.code == failure.code);
            FailureStatus::from(latest.unwrap_or(failure))
        }),
        attempts: live.attempt.max(live.recoveries),
        next_retry_ms: next_retry_ms(&live, view),
    }
}

fn next_retry_ms(live: &Live, view: &View<'_>) -> Option<u64> {
    let at = if live.blocked { None } else { live.retry_at_ms };
    at.or(live.hold_at_ms).map(|at| at.saturating_sub(view.now.monotonic_ms))
}

fn add_container(deployments: &mut [DeploymentStatus], container: &OwnedContainer) {
    let Some(deployment) = deployments.iter_mut().find(|d| d.id == container.deployment.as_str())
    else {
        return;
    };
    let name = container.component.as_str();
    let Some(component) = deployment.components.iter_mut().find(|c| c.name == name) else { return };
    component.containers.push(ContainerStatus {
        name: container.name.clone(),
        service: container.service.clone(),
        image: container.image_reference.clone(),
        state: container.state.clone(),
        health: container
            .is_healthy
            .map(|healthy| if healthy { "healthy" } else { "unhealthy" }.to_owned()),
        exit_code: container.exit_code,
        restarts: 0,
    });
}
