//! Status reports as the WFM received them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, DeploymentId};
use crate::naming::named;

named! {
    /// A deployment's or component's state (R181). The order is the severity order of R182, mildest first.
    State, "state" {
        /// Applied.
        Installed = "installed",
        /// Has been uninstalled.
        Removed = "removed",
        /// Received, not yet applied.
        Pending = "pending",
        /// Being applied.
        Installing = "installing",
        /// Being uninstalled.
        Removing = "removing",
        /// Went wrong.
        Failed = "failed",
    }
}

/// An error inside a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportError {
    /// The device's code.
    #[serde(default)]
    pub code: String,
    /// The deployment's or component's name (R185).
    #[serde(default)]
    pub source: String,
    /// For humans.
    #[serde(default)]
    pub message: String,
}

/// One component inside a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReportError>,
}

/// One accepted status report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Counts the reports of one client from 1, in the order of arrival.
    pub index: u64,
    /// When it arrived, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Who sent it.
    pub client: ClientId,
    /// About which deployment.
    pub deployment: DeploymentId,
    /// The child device, when it is about one.
    #[serde(default)]
    pub device: Option<String>,
    /// `adoptedManifestVersion` (R187).
    pub adopted_version: u64,
    /// The overall state.
    pub state: State,
    /// The overall error.
    #[serde(default)]
    pub error: Option<ReportError>,
    /// The components in the order sent.
    pub components: Vec<ComponentReport>,
    /// What the specification leaves open or only implies, and this report does in an unexpected way.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The body exactly as received.
    pub raw: String,
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.client, self.deployment, self.state)?;
        write!(f, " (adopted {})", self.adopted_version)?;
        if let Some(error) = &self.error {
            write!(f, " [{}: {}]", error.code, error.message)?;
        }
        for component in &self.components {
            write!(f, " {}={}", component.name, component.state)?;
            if let Some(error) = &component.error {
                write!(f, "[{}: {}]", error.code, error.message)?;
            }
        }
        for warning in &self.warnings {
            write!(f, " WARNING: {warning}")?;
        }
        Ok(())
    }
}
