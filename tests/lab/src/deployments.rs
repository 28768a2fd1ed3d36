//! ApplicationDeployment documents (rc.3 envelope) from a small description.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::DeploymentId;
use crate::naming::named;

named! {
    /// `spec.deploymentProfile.type`
    ProfileType, "profile type" {
        /// Compose archives.
        Compose = "compose",
        /// Helm charts.
        Helm = "helm",
        /// Agreed between suppliers, such as firmware.
        Custom = "custom",
    }
}

/// One component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// Lowercase letters, digits, dashes.
    pub name: String,
    /// `oci://host:port/path`
    pub repository: String,
    /// SemVer without `v`; the tag.
    pub revision: String,
    /// Whether the next component waits for this one.
    #[serde(default)]
    pub wait: Option<bool>,
    /// `##m##s`
    #[serde(default)]
    pub timeout: Option<String>,
}

impl ComponentSpec {
    /// A component with default `wait` and `timeout`.
    pub fn new(
        name: impl Into<String>,
        repository: impl Into<String>,
        revision: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            repository: repository.into(),
            revision: revision.into(),
            wait: None,
            timeout: None,
        }
    }
}

/// One target of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterTarget {
    /// For Compose the name of an environment variable.
    pub pointer: String,
    /// Component names.
    pub components: Vec<String>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterSpec {
    /// Any JSON value.
    pub value: Value,
    /// Where it goes.
    pub targets: Vec<ParameterTarget>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// Its UUID; a random one when absent.
    pub id: Option<DeploymentId>,
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.deviceId`; the client's only reported device, else the lab's configured one, when absent.
    pub device_id: Option<String>,
    /// `spec.applicationId`; the name when absent.
    pub application_id: Option<String>,
    /// `spec.deploymentProfile.type`
    pub profile: ProfileType,
    /// In installation order.
    pub components: Vec<ComponentSpec>,
    /// By name.
    #[serde(default)]
    pub parameters: BTreeMap<String, ParameterSpec>,
    /// `spec.deploymentProfile.deviceConstraints` as it is to appear.
    #[serde(default)]
    pub constraints: Option<Value>,
}

impl DeploymentSpec {
    /// A Compose deployment of these components.
    pub fn compose(name: impl Into<String>, components: Vec<ComponentSpec>) -> Self {
        Self {
            id: None,
            name: name.into(),
            namespace: "lab".to_owned(),
            device_id: None,
            application_id: None,
            profile: ProfileType::Compose,
            components,
            parameters: BTreeMap::new(),
            constraints: None,
        }
    }

    /// A deployment of a custom profile, such as firmware.
    pub fn custom(name: impl Into<String>, components: Vec<ComponentSpec>) -> Self {
        Self { profile: ProfileType::Custom, ..Self::compose(name, components) }
    }

    /// Under this UUID.
    #[must_use]
    pub fn id(mut self, id: DeploymentId) -> Self {
        self.id = Some(id);
        self
    }

    /// For this device.
    #[must_use]
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device_id = Some(device.into());
        self
    }

    /// With a parameter that sets the environment variable of its own name for every component.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        let components = self.components.iter().map(|c| c.name.clone()).collect();
        let targets = vec![ParameterTarget { pointer: name.clone(), components }];
        self.parameters.insert(name, ParameterSpec { value: value.into(), targets });
        self
    }

    /// With constraints as they are to appear in the document.
    #[must_use]
    pub fn constraints(mut self, constraints: Value) -> Self {
        self.constraints = Some(constraints);
        self
    }

    /// The document. Scalars are written as JSON, which YAML contains, so that no text is taken for another type.
    pub(crate) fn yaml(&self, id: &DeploymentId, device_id: &str) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let application = self.application_id.as_ref().unwrap_or(&self.name);
        let mut yaml = String::new();
        let mut line = |indent: usize, key: &str, value: &str| {
            let gap = if value.is_empty() { "" } else { " " };
            // Writing to a String does not fail.
            let _written = writeln!(yaml, "{:indent$}{key}:{gap}{value}", "");
        };
        line(0, "id", &text(id.as_str()));
        line(0, "metadata", "");
        line(2, "name", &text(&self.name));
        line(2, "namespace", &text(&self.namespace));
        line(2, "deviceId", &text(device_id));
        line(0, "spec", "");
        line(2, "applicationId", &text(application));
        line(2, "deploymentProfile", "");
        line(4, "type", self.profile.name());
        line(4, "components", if self.components.is_empty() { "[]" } else { "" });
        for component in &self.components {
            line(6, "- name", &text(&component.name));
            line(8, "properties", "");
            line(10, "repository", &text(&component.repository));
            line(10, "revision", &text(&component.revision));
            if let Some(wait) = component.wait {
                line(10, "wait", &wait.to_string());
            }
            if let Some(timeout) = &component.timeout {
                line(10, "timeout", &text(timeout));
            }
        }
        if let Some(constraints) = &self.constraints {
            line(4, "deviceConstraints", &constraints.to_string());
        }
        if !self.parameters.is_empty() {
            line(2, "parameters", "");
        }
        for (name, parameter) in &self.parameters {
            line(4, &text(name), "");
            line(6, "value", &parameter.value.to_string());
            line(6, "targets", if parameter.targets.is_empty() { "[]" } else { "" });
            for target in &parameter.targets {
                line(8, "- pointer", &text(&target.pointer));
                line(10, "components", &Value::from(target.components.clone()).to_string());
            }
        }
        yaml
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_document_reads_back_as_what_was_described() {
        let mut component = ComponentSpec::new("web", "oci://127.0.0.1:5000/lab/web", "1.0.0");
        component.wait = Some(true);
        component.timeout = Some("2m30s".to_owned());
        let spec = DeploymentSpec::compose("shop", vec![component])
            .parameter("PORT", 8080)
            .parameter("WORDS", "yes: no #1 \"q\"")
            .constraints(json!({"capacityRequirements": {"memory": "64Mi"}}));
        let yaml =
            spec.yaml(&DeploymentId::from("a3e2f5dc-912e-494f-8395-52cf3769bc06"), "edge-01");
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            read,
            json!({
                "id": "a3e2f5dc-912e-494f-8395-52cf3769bc06",
                "metadata": {"name": "shop", "namespace": "lab", "deviceId": "edge-01"},
                "spec": {
                    "applicationId": "shop",
                    "deploymentProfile": {
                        "type": "compose",
                        "components": [{
                            "name": "web",
                            "properties": {
                                "repository": "oci://127.0.0.1:5000/lab/web",
                                "revision": "1.0.0",
                                "wait": true,
                                "timeout": "2m30s",
                            },
                        }],
                        "deviceConstraints": {"capacityRequirements": {"memory": "64Mi"}},
                    },
                    "parameters": {
                        "PORT": {
                            "value": 8080,
                            "targets": [{"pointer": "PORT", "components": ["web"]}],
                        },
                        "WORDS": {
                            "value": "yes: no #1 \"q\"",
                            "targets": [{"pointer": "WORDS", "components": ["web"]}],
                        },
                    },
                },
            })
        );
    }
}
