//! Making status reports (section 6 of the interface): severity, one entry per component, error sources.

use super::device_id::DeviceId;
use super::wire::{ComponentStatus, DeploymentStatusManifest, State, StatusEntry, StatusError};
use state_machine::failure::Failure;
use state_machine::ids::{DeploymentId, ManifestVersion};

impl State {
    /// Higher is more severe; the deployment's state is the most severe of its components' (R182).
    pub fn severity(self) -> u8 {
        match self {
            Self::Failed => 5,
            Self::Removing => 4,
            Self::Installing => 3,
            Self::Pending => 2,
            Self::Removed => 1,
            Self::Installed => 0,
        }
    }

    /// The most severe of several states; `None` if there are none.
    pub fn most_severe(states: impl IntoIterator<Item = Self>) -> Option<Self> {
        states.into_iter().max_by_key(|state| state.severity())
    }
}

impl StatusError {
    /// A failure as it is reported: its code, whose fault it is (R185), its message.
    pub fn new(failure: &Failure, source: &str) -> Self {
        Self {
            code: failure.code.as_str().to_owned(),
            source: source.to_owned(),
            message: failure.message.clone(),
        }
    }
}

impl ComponentStatus {
    /// A component's entry; a failure makes its source the component (R185).
    pub fn new(name: &str, state: State, failure: Option<&Failure>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            error: failure.map(|failure| StatusError::new(failure, name)),
        }
    }
}

/// What a report says about the deployment as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overall {
    /// Used when there are no components to take the most severe state from.
    pub state: State,
    /// The deployment's `metadata.name`, the source of its error (R185).
    pub deployment_name: String,
    /// What is wrong, if anything.
    pub failure: Option<Failure>,
}

impl DeploymentStatusManifest {
    /// A report. The overall state is the most severe component's, but never less severe than `overall.state`: a
    /// deployment can fail although none of its components did (R182). `child` only when reporting for a child
    /// device (R184).
    pub fn new(
        deployment: &DeploymentId,
        child: Option<&DeviceId>,
        adopted: ManifestVersion,
        overall: &Overall,
        components: Vec<ComponentStatus>,
    ) -> Self {
        let states = components.iter().map(|component| component.state);
        let state = if overall.failure.is_some() {
            State::most_severe(states.chain([overall.state]))
        } else {
            State::most_severe(states)
        };
        Self {
            deployment_id: deployment.as_str().to_owned(),
            device_id: child.map(|device| device.as_str().to_owned()),
            adopted_manifest_version: adopted.0,
            status: StatusEntry {
                state: state.unwrap_or(overall.state),
                error: overall
                    .failure
                    .as_ref()
                    .map(|failure| StatusError::new(failure, &overall.deployment_name)),
            },
            components,
        }
    }
}
