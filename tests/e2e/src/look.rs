//! Waiting for what a test expects of its world.

use crate::containers::Container;
use crate::world::{World, tail};
use crate::{LogMark, PATIENCE, wait_for};
use margo_agent::local_api::{DeploymentStatus, Stage, Status};
use margo_lab::{DeploymentId, State, StatusReport};

impl World {
    /// Waits until the WFM has been told this of a deployment's present content.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn reported(&self, id: &DeploymentId, state: State) -> StatusReport {
        match self.lab.wait_status(id, state, PATIENCE).await {
            Ok(report) => report,
            Err(error) => panic!("{error}\nthe agent's log:\n{}", tail(&self.agent.log())),
        }
    }

    /// Waits until a deployment has exactly these containers, all running, and returns them.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn running(&self, id: &DeploymentId, places: &[&str]) -> Vec<Container> {
        wait_for(&format!("{places:?} of {id} to run"), || async {
            let found = self.engine.containers(id.as_str()).await;
            let seen: Vec<&str> = found.iter().map(|c| c.place.as_str()).collect();
            let right = seen == places && found.iter().all(|container| container.runs);
            if right { Ok(found.clone()) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    /// Waits until a deployment has exactly these containers, all running, each with its `MARKER`.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn running_at(&self, id: &DeploymentId, wanted: &[(&str, &str)]) -> Vec<Container> {
        wait_for(&format!("{wanted:?} of {id} to run"), || async {
            let found = self.engine.containers(id.as_str()).await;
            let mut seen = Vec::new();
            for container in &found {
                seen.push((container.place.clone(), self.engine.marker(&container.id).await));
            }
            let is_same = |(seen, wanted): (&(String, String), &(&str, &str))| {
                seen.0 == wanted.0 && seen.1 == wanted.1
            };
            let right = seen.len() == wanted.len()
                && seen.iter().zip(wanted).all(is_same)
                && found.iter().all(|container| container.runs);
            if right { Ok(found) } else { Err(format!("{seen:?} {found:?}")) }
        })
        .await
    }

    /// Waits until the agent's stage is `synced`.
    pub async fn synced(&self) {
        self.status("the agent to be synced", |status| {
            status.stage == Stage::Synced && status.wfm.last_error.is_none()
        })
        .await;
    }

    /// Waits until `margoctl status` is as wanted, and returns it.
    pub async fn status(&self, what: &str, is_wanted: impl Fn(&Status) -> bool) -> Status {
        wait_for(what, || async {
            let status = self.agent.status().await?;
            if is_wanted(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
        })
        .await
    }

    /// Waits until talking to the WFM fails with this code and a message that holds `text`; returns the message.
    pub async fn wfm_error(&self, code: &str, text: &str) -> String {
        let what = format!("the WFM's error {code} with {text:?}");
        let status = self
            .status(&what, |status| {
                let error = status.wfm.last_error.as_ref();
                error.is_some_and(|error| error.code == code && error.message.contains(text))
            })
            .await;
        status.wfm.last_error.map(|error| error.message).unwrap_or_default()
    }

    /// Waits until one deployment is as wanted in `margoctl deployments`, and returns it.
    pub async fn deployment(
        &self,
        id: &DeploymentId,
        what: &str,
        is_wanted: impl Fn(&DeploymentStatus) -> bool,
    ) -> DeploymentStatus {
        wait_for(what, || async {
            let all = self.agent.deployments().await?;
            let found = all.into_iter().find(|deployment| deployment.id == id.as_str());
            let found = found.ok_or_else(|| "no such deployment".to_owned())?;
            if is_wanted(&found) { Ok(found) } else { Err(format!("{found:#?}")) }
        })
        .await
    }

    /// Waits until the WFM has been told that a deployment's present content failed with this code.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn failed(&self, id: &DeploymentId, code: &str) -> StatusReport {
        wait_for(&format!("{id} to be reported failed with {code}"), || async {
            let reports = self.lab.reports_of(id);
            let target = self.target_version(id);
            let is_it = |report: &&StatusReport| {
                report.state == State::Failed
                    && report.adopted_version >= target
                    && report.error.as_ref().is_some_and(|error| error.code == code)
            };
            let seen: Vec<String> = reports.iter().map(ToString::to_string).collect();
            reports.iter().rev().find(is_it).cloned().ok_or_else(|| seen.join("\n"))
        })
        .await
    }

    /// Waits until the newest report about a deployment is in this state and about its present content.
    pub async fn latest(&self, id: &DeploymentId, state: State) -> StatusReport {
        wait_for(&format!("{id} to be last reported {state}"), || async {
            let last = self.lab.reports_of(id).pop().ok_or_else(|| "no report".to_owned())?;
            let is_it = last.state == state && last.adopted_version >= self.target_version(id);
            if is_it { Ok(last) } else { Err(last.to_string()) }
        })
        .await
    }

    /// The manifest version that brought a deployment's present content.
    pub fn target_version(&self, id: &DeploymentId) -> u64 {
        let client = self.lab.client();
        let known = client.and_then(|c| c.deployments.into_iter().find(|d| d.id == *id));
        known.map_or(0, |known| known.target_version)
    }

    /// The states reported of a deployment, in order.
    pub fn states(&self, id: &DeploymentId) -> Vec<State> {
        self.lab.reports_of(id).iter().map(|report| report.state).collect()
    }

    /// Waits until one line of the agent's output since `mark` holds all of `parts`.
    pub async fn logged(&self, mark: LogMark, parts: &[&str]) {
        wait_for(&format!("a log line with {parts:?}"), || async {
            let log = self.agent.log_since(mark);
            let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
            if log.lines().any(is_it) { Ok(()) } else { Err(tail(&log)) }
        })
        .await;
    }

    /// Waits until the agent, started anew since `mark`, has looked at a deployment's containers.
    pub async fn verified(&self, mark: LogMark, id: &DeploymentId) {
        self.logged(mark, &["applied", "adopted=", id.as_str()]).await;
    }
}
