//! Starting: order, the three conditions of `depends_on`, and what counts as "up".

use super::container_config::Spec;
use super::error::{EngineError, status as http_status};
use super::job::{Job, READY, Ready, WAITING_FOR_DEPENDENCY, Way};
use super::live;
use super::wait::{self, Ended};
use crate::compose::model::Condition;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What happened to one service, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// Made and started.
    Created,
    /// Left alone.
    Adopted,
    /// Replaced.
    Recreated,
    /// Right, but started again.
    Restarted,
}

/// How far a service has come; later ones include earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Waiting,
    Started,
    Healthy,
    Completed,
    /// It failed, and everything that waits for it can do without.
    Skipped,
}

/// What a service has to reach before its part of the call is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Nobody waits.
    Started,
    /// Running for good, and healthy if it has a health check.
    Up,
    /// Healthy; a health check must exist.
    Healthy,
    /// Ended with 0.
    Completed,
}

type Stages = BTreeMap<String, watch::Sender<Stage>>;

/// Starts all services. Independent ones start side by side; the first failure ends the call (R154).
pub(crate) async fn start_all(
    job: &Job<'_>,
    mut ready: BTreeMap<String, Ready>,
    wait: bool,
) -> Result<Vec<Started>, EngineError> {
    let stages: Stages =
        job.specs.keys().map(|name| (name.clone(), watch::Sender::new(Stage::Waiting))).collect();
    let runs = job.specs.values().filter_map(|spec| {
        let one = Run { job, spec, stages: &stages, wait };
        let ready = ready.remove(&spec.service)?;
        Some(async move { Box::pin(one.run(ready)).await })
    });
    try_join_all(runs).await
}

/// One service on its way up.
struct Run<'a, 'j> {
    job: &'a Job<'j>,
    spec: &'a Spec,
    stages: &'a Stages,
    wait: bool,
}

impl Run<'_, '_> {
    async fn run(&self, ready: Ready) -> Result<Started, EngineError> {
        self.job.state(&self.spec.service, WAITING_FOR_DEPENDENCY);
        self.wait_for_dependencies().await?;
        self.job.state(&self.spec.service, "being started");
        let began = self.begin(&ready).await?;
        self.reach(Stage::Started);
        match Box::pin(self.pursue(&ready, began)).await {
            Ok(stage) => self.reach(stage),
            Err(error) if self.is_dispensable() => {
                let service = &self.spec.service;
                tracing::warn!(
                    service,
                    error = error.chain(),
                    "optional dependency failed, ignoring"
                );
                self.reach(Stage::Skipped);
            }
            Err(error) => return Err(error),
        }
        self.job.state(&self.spec.service, READY);
        Ok(match (ready.way, began) {
            (Way::Created, _) => Started::Created,
            (Way::Recreated, _) => Started::Recreated,
            (Way::Kept, Began::Now) => Started::Restarted,
            (Way::Kept, Began::Before | Began::Complete) => Started::Adopted,
        })
    }

    fn reach(&self, stage: Stage) {
        if let Some(sender) = self.stages.get(&self.spec.service) {
            sender.send_if_modified(|at| {
                let is_later = stage > *at;
                *at = stage.max(*at);
                is_later
            });
        }
    }

    async fn wait_for_dependencies(&self) -> Result<(), EngineError> {
        let Some(service) = self.job.unit.project.services.get(&self.spec.service) else {
            return Ok(());
        };
        for (name, dependency) in &service.depends_on {
            let Some(sender) = self.stages.get(name) else {
                if dependency.required {
                    return Err(self.invalid(format!("its dependency `{name}` does not exist")));
                }
                continue;
            };
            let enough = match dependency.condition {
                Condition::Started => Stage::Started,
                Condition::Healthy => Stage::Healthy,
                Condition::CompletedSuccessfully => Stage::Completed,
            };
            // The sender outlives this call, so waiting cannot fail.
            let _ = sender.subscribe().wait_for(|stage| *stage >= enough).await;
        }
        for name in &self.spec.shares {
            let Some(sender) = self.stages.get(name) else {
                return Err(self
                    .invalid(format!("it shares a namespace of `{name}`, which does not exist")));
            };
            let _ = sender.subscribe().wait_for(|stage| *stage >= Stage::Started).await;
        }
        Ok(())
    }

    fn invalid(&self, reason: String) -> EngineError {
        EngineError::Project { service: self.spec.service.clone(), reason }
    }

    /// Conditions under which others wait for this service, and whether they must.
    fn demands(&self) -> impl Iterator<Item = (Condition, bool)> + '_ {
        self.job
            .unit
            .project
            .services
            .values()
            .filter_map(|service| service.depends_on.get(&self.spec.service))
            .filter(|dependency| dependency.condition != Condition::Started)
            .map(|dependency| (dependency.condition, dependency.required))
    }

    /// True when a failure after the start hurts nobody who did not say `required: false`.
    fn is_dispensable(&self) -> bool {
        !self.wait && self.demands().all(|(_, required)| !required)
    }

    fn goal(&self) -> Goal {
        let asks = |condition| self.demands().any(|(asked, _)| asked == condition);
        if asks(Condition::CompletedSuccessfully) {
            Goal::Completed
        } else if asks(Condition::Healthy) {
            Goal::Healthy
        } else if self.wait {
            Goal::Up
        } else {
            Goal::Started
        }
    }

    /// Starts, restarts or unpauses the container if it needs that.
    async fn begin(&self, ready: &Ready) -> Result<Began, EngineError> {
        let (docker, id) = (&self.job.docker, ready.id.as_str());
        let status = ready.live.as_ref().map_or(Status::CREATED, live::status);
        match status {
            Status::RUNNING | Status::RESTARTING | Status::STOPPING => {
                self.job.engine.witness(id);
                let is_unhealthy =
                    ready.live.as_ref().and_then(live::health) == Some(HealthStatusEnum::UNHEALTHY);
                // A namespace that was joined dies with its owner, even if the owner comes back.
                let is_cut_off = self.spec.shares.iter().any(|name| self.job.has_started(name));
                if !is_unhealthy && !is_cut_off {
                    return Ok(Began::Before);
                }
                self.job.engine.restart(docker, id).await.map_err(|error| self.failed(error))?;
            }
            Status::PAUSED => {
                docker.unpause_container(id).await.map_err(|error| self.failed(error))?;
            }
            Status::EXITED if self.is_complete(ready.live.as_ref()).await? => {
                return Ok(Began::Complete);
            }
            Status::CREATED | Status::EXITED | Status::EMPTY | Status::DEAD | Status::REMOVING => {
                self.start(id).await?;
            }
        }
        self.job.note_started(&self.spec.service, id);
        Ok(Began::Now)
    }

    async fn start(&self, id: &str) -> Result<(), EngineError> {
        let docker = &self.job.docker;
        let Err(first) = docker.start_container(id, None).await else { return Ok(()) };
        // A service that left the project may still hold a port or an address that this one takes over.
        if http_status(&first).is_none() || self.job.orphans().next().is_none() {
            return Err(self.failed(first));
        }
        self.job.remove_orphans().await?;
        docker.start_container(id, None).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: bollard::errors::Error) -> EngineError {
        self.job.engine.note(&error);
        EngineError::start(format!("container of service `{}`", self.spec.service), error)
    }

    async fn is_complete(
        &self,
        live: Option<&ContainerInspectResponse>,
    ) -> Result<bool, EngineError> {
        let Some(live) = live else { return Ok(false) };
        let is_awaited =
            self.demands().any(|(condition, _)| condition == Condition::CompletedSuccessfully);
        self.job.engine.is_complete(&self.job.docker, self.spec, live, is_awaited).await
    }

    /// Waits until the container is as far as it has to be.
    async fn pursue(&self, ready: &Ready, began: Began) -> Result<Stage, EngineError> {
        let (job, id) = (self.job, ready.id.as_str());
        let goal = self.goal();
        match (goal, began) {
            (Goal::Started, Began::Now | Began::Before) => return Ok(Stage::Started),
            (_, Began::Complete) => return Ok(Stage::Completed),
            (Goal::Completed, _) => {
                job.state(&self.spec.service, "running to completion");
                let code = wait::end(job.engine, &job.docker, id).await?;
                return self.ended(id, code).await;
            }
            (Goal::Up | Goal::Healthy, _) => {}
        }
        let live = match began {
            // Adopted: what was seen a moment ago is good enough.
            Began::Before => ready.live.clone(),
            Began::Now | Began::Complete => None,
        };
        let live = match live {
            Some(live) => live,
            None => wait::inspect(job.engine, &job.docker, id).await?,
        };
        if live::health(&live).is_some() {
            job.state(&self.spec.service, "waiting for its health check");
            return match wait::healthy(job.engine, &job.docker, self.spec, live).await? {
                Ended::Healthy => Ok(Stage::Healthy),
                Ended::Exited(0) if goal == Goal::Healthy => Err(EngineError::Unhealthy {
                    service: self.spec.service.clone(),
                    detail: "it ended before it was healthy".to_owned(),
                }),
                Ended::Exited(code) => self.ended(id, code).await,
            };
        }
        if goal == Goal::Healthy {
            return Err(self.invalid(
                "another service waits for its health, but it has no health check".to_owned(),
            ));
        }
        if began == Began::Before && live::status(&live) == Status::RUNNING {
            return Ok(Stage::Started);
        }
        job.state(&self.spec.service, "waiting to stay up");
        match wait::settled(job.engine, &job.docker, self.spec, id).await? {
            None => Ok(Stage::Started),
            Some(code) => self.ended(id, code).await,
        }
    }

    async fn ended(&self, id: &str, exit_code: i64) -> Result<Stage, EngineError> {
        if exit_code == 0 {
            return Ok(Stage::Completed);
        }
        let log = self.job.engine.last_lines(&self.job.docker, id).await;
        Err(EngineError::Exited { service: self.spec.service.clone(), exit_code, log })
    }
}

/// What `begin` found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    /// It ran already.
    Before,
    /// It was started, restarted or unpaused by this call.
    Now,
    /// It has done its work; it must not run again.
    Complete,
}
