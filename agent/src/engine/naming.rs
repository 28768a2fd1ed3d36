//! Names and labels of everything the agent makes on the engine, and how they are read back.
//!
//! A project is `<component>_<deployment uuid without dashes>`. The whole UUID, because a cut to eight
//! characters collides once a site has some ten thousand deployments, and a collision would merge two
//! applications. Names below it follow docker compose, so that its users find what they expect.

use state_machine::ids::{ComponentName, DeploymentId};
use std::collections::{BTreeMap, HashMap};

/// Marks containers, networks and volumes as ours. The value is [`OWNER`].
pub const LABEL_OWNER: &str = "org.margo.owner";
/// The deployment's UUID.
pub const LABEL_DEPLOYMENT: &str = "org.margo.deployment";
/// The component's name.
pub const LABEL_COMPONENT: &str = "org.margo.component";
/// The service's name in the compose file.
pub const LABEL_SERVICE: &str = "org.margo.service";
/// The revision that created the container. Not part of the config hash: a later revision that leaves
/// the service as it was adopts the container, and the label keeps naming the revision that made it.
pub const LABEL_REVISION: &str = "org.margo.revision";
/// SHA-256 over everything the container (or network) was created from, the image's content id included.
pub const LABEL_CONFIG_HASH: &str = "org.margo.config-hash";
/// The image reference as the author wrote it; the container itself is created from the content id.
pub const LABEL_IMAGE: &str = "org.margo.image";
/// Prefix of labels that pin a container to the id of another one it depends on.
pub(crate) const LABEL_PIN_PREFIX: &str = "org.margo.pin.";
/// Value of [`LABEL_OWNER`].
pub const OWNER: &str = "margo-agent";

/// Labels that `docker compose ls`, `ps` and `logs` look for.
pub(crate) mod compose_labels {
    pub(crate) const PROJECT: &str = "com.docker.compose.project";
    pub(crate) const SERVICE: &str = "com.docker.compose.service";
    pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
    pub(crate) const ONEOFF: &str = "com.docker.compose.oneoff";
    pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
    /// `docker compose ps` shows no container without it.
    pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
    pub(crate) const NETWORK: &str = "com.docker.compose.network";
    pub(crate) const VOLUME: &str = "com.docker.compose.volume";
}

/// The names of one component of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    deployment: DeploymentId,
    component: ComponentName,
    project: String,
}

impl Names {
    /// Names for a component of a deployment.
    pub fn new(deployment: &DeploymentId, component: &ComponentName) -> Self {
        let uuid: String = deployment.as_str().chars().filter(|c| *c != '-').collect();
        Self {
            deployment: deployment.clone(),
            component: component.clone(),
            project: format!("{component}_{}", uuid.to_ascii_lowercase()),
        }
    }

    /// The compose project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The container of a service that names none itself.
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.project)
    }

    /// A network or volume that names none itself, by its key in the file.
    pub fn keyed(&self, key: &str) -> String {
        format!("{}_{key}", self.project)
    }

    /// Labels every object of this component carries.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (LABEL_OWNER.to_owned(), OWNER.to_owned()),
            (LABEL_DEPLOYMENT.to_owned(), self.deployment.to_string()),
            (LABEL_COMPONENT.to_owned(), self.component.to_string()),
            (compose_labels::PROJECT.to_owned(), self.project.clone()),
        ])
    }

    /// True when the labels say that the object belongs to this component of this deployment.
    pub(crate) fn own(&self, labels: Option<&HashMap<String, String>>) -> bool {
        labels.is_some_and(|labels| {
            is(labels, LABEL_OWNER, OWNER)
                && is(labels, LABEL_DEPLOYMENT, self.deployment.as_str())
                && is(labels, LABEL_COMPONENT, self.component.as_str())
        })
    }

    /// The engine's list filter for this component.
    pub(crate) fn filter(&self) -> HashMap<String, Vec<String>> {
        label_filter(Some(&self.deployment), Some(&self.component))
    }
}

/// The engine's list filter for our objects, narrowed to a deployment and a component.
pub(crate) fn label_filter(
    deployment: Option<&DeploymentId>,
    component: Option<&ComponentName>,
) -> HashMap<String, Vec<String>> {
    let mut labels = vec![format!("{LABEL_OWNER}={OWNER}")];
    labels.extend(deployment.map(|id| format!("{LABEL_DEPLOYMENT}={id}")));
    labels.extend(component.map(|name| format!("{LABEL_COMPONENT}={name}")));
    HashMap::from([("label".to_owned(), labels)])
}

/// True when the object carries our owner label.
pub(crate) fn is_ours(labels: Option<&HashMap<String, String>>) -> bool {
    labels.is_some_and(|labels| is(labels, LABEL_OWNER, OWNER))
}

fn is(labels: &HashMap<String, String>, key: &str, value: &str) -> bool {
    labels.get(key).is_some_and(|found| found == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_whole_deployment_id() {
        let one = Names::new(&"0aA1b2c3-0000-4000-8000-000000000001".into(), &"web".into());
        let two = Names::new(&"0aA1b2c3-0000-4000-8000-000000000002".into(), &"web".into());
        assert_eq!(one.project(), "web_0aa1b2c3000040008000000000000001");
        assert_ne!(one.project(), two.project());
        assert_eq!(one.container("db"), "web_0aa1b2c3000040008000000000000001-db-1");
        assert_eq!(one.keyed("data"), "web_0aa1b2c3000040008000000000000001_data");
    }

    #[test]
    fn labels_tell_components_apart() {
        let web = Names::new(&"d1".into(), &"web".into());
        let db = Names::new(&"d1".into(), &"db".into());
        let labels: HashMap<_, _> = web.labels().into_iter().collect();
        assert!(web.own(Some(&labels)));
        assert!(!db.own(Some(&labels)));
        assert!(!web.own(None));
        assert!(is_ours(Some(&labels)));
    }
}
