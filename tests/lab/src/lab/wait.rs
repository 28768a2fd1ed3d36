//! Waiting for devices: on the bell that rings with every change, never by polling.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Lab, LabError};
use crate::ids::{ClientId, DeploymentId};
use crate::report::{State, StatusReport};

/// Reports shown in a timeout's message.
const SHOWN_MAX: usize = 10;

impl Lab {
    /// Rings with every change.
    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.journal.bell()
    }

    /// Waits until `look` finds something. It is asked once now and again after every change in the lab.
    ///
    /// # Errors
    /// When it finds nothing in time.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, LabError> {
        let mut bell = self.journal.bell();
        let deadline = Instant::now() + timeout;
        loop {
            bell.borrow_and_update();
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if !matches!(timeout_at(deadline, bell.changed()).await, Ok(Ok(()))) {
                let requests = self.requests();
                let seen = requests.iter().rev().take(SHOWN_MAX).map(ToString::to_string);
                return Err(LabError::Timeout {
                    what: what.to_owned(),
                    timeout_ms: timeout.as_millis(),
                    seen: list(seen.collect()),
                });
            }
        }
    }

    /// As [`Lab::wait_status`], for another client and any of several states; the newest such report is returned.
    ///
    /// # Errors
    /// When it does not happen in time.
    pub async fn wait_status_for(
        &self,
        client: &ClientId,
        deployment: &DeploymentId,
        states: &[State],
        timeout: Duration,
    ) -> Result<StatusReport, LabError> {
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        let what = format!("{} of {deployment}", names.join(" or "));
        let look = |lab: &Self| lab.adopted_reports(client, deployment, states).pop();
        let found = self.wait_for(&what, timeout, look).await;
        found.map_err(|error| match error {
            LabError::Timeout { what, timeout_ms, .. } => {
                let mut reports = self.reports_for(client);
                reports.retain(|report| report.deployment == *deployment);
                let seen = reports.iter().rev().take(SHOWN_MAX).map(ToString::to_string);
                LabError::Timeout { what, timeout_ms, seen: list(seen.collect()) }
            }
            other => other,
        })
    }

    /// Waits until the configured client has fetched the current manifest.
    ///
    /// # Errors
    /// When it does not happen in time.
    pub async fn wait_served(&self, timeout: Duration) -> Result<u64, LabError> {
        let fetched = |lab: &Self| {
            let view = lab.client()?;
            (view.served_version == Some(view.version)).then_some(view.version)
        };
        self.wait_for("a fetch of the current manifest", timeout, fetched).await
    }

    /// Reports in one of the states that adopt the deployment's present content.
    fn adopted_reports(
        &self,
        client: &ClientId,
        deployment: &DeploymentId,
        states: &[State],
    ) -> Vec<StatusReport> {
        let views = self.clients();
        let view = views.iter().find(|view| view.client == *client);
        let known = view.and_then(|view| view.deployments.iter().find(|d| d.id == *deployment));
        let target_version = known.map_or(0, |known| known.target_version);
        let mut reports = self.reports_for(client);
        reports.retain(|report| {
            report.deployment == *deployment
                && states.contains(&report.state)
                && report.adopted_version >= target_version
        });
        reports
    }
}

fn list(mut lines: Vec<String>) -> String {
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    lines.reverse();
    lines.join(" | ")
}
