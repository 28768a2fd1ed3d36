//! Looking without touching: what differs from a unit, and what on the engine is ours.

use super::apply::specs;
use super::container_config::Spec;
use super::docker::Engine;
use super::error::{EngineError, status as http_status};
use super::job::by_service;
use super::live::{self, Difference, World, differences};
use super::naming::{
    LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_IMAGE, LABEL_REVISION, LABEL_SERVICE, Names,
    label_filter,
};
use super::networks::NetworkIds;
use super::unit::{ImageId, Unit};
use crate::compose::model::Condition;
use bollard::Docker;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use std::collections::BTreeMap;

/// Containers inspected at the same time.
const INSPECTS_AT_ONCE: usize = 8;

/// One difference between what runs and what should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The service.
    pub service: String,
    /// What is wrong with it.
    pub kind: MismatchKind,
}

/// What is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MismatchKind {
    /// It has no container.
    Missing,
    /// Its container does not run, or keeps being restarted.
    Stopped {
        /// The last exit code.
        exit_code: i64,
    },
    /// Its health check fails.
    Unhealthy,
    /// It was made from another configuration, or edited.
    Edited {
        /// What differs.
        what: String,
    },
    /// It was made from another image.
    WrongImage,
    /// It is paused.
    Paused,
    /// The project has no such service (any more), or the service has a second container.
    Surplus,
}

impl std::fmt::Display for MismatchKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("has no container"),
            Self::Stopped { exit_code } => write!(f, "does not run (last exit code {exit_code})"),
            Self::Unhealthy => f.write_str("is unhealthy"),
            Self::Edited { what } => write!(f, "was edited: {what}"),
            Self::WrongImage => f.write_str("runs another image"),
            Self::Paused => f.write_str("is paused"),
            Self::Surplus => f.write_str("should have no (second) container"),
        }
    }
}

/// A container with our labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedContainer {
    /// The engine's id.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The component.
    pub component: ComponentName,
    /// The service.
    pub service: String,
    /// The revision that made it: older than the current one when it was adopted since.
    pub revision: Digest,
    /// The engine's word for its state, for example `running`.
    pub state: String,
    /// The health check's verdict; `None` without one or before the first.
    pub is_healthy: Option<bool>,
    /// The image's content id.
    pub image: ImageId,
    /// The image reference its author wrote.
    pub image_reference: String,
    /// When it was started, by the engine's clock (RFC 3339).
    pub started_at: Option<String>,
    /// Its last exit code, when it has ended.
    pub exit_code: Option<i64>,
}

impl Engine {
    /// Compares what runs with a unit, in one list and one look at each container.
    ///
    /// # Errors
    /// `Unavailable`; and those of a unit that cannot be translated.
    pub async fn observe(&self, unit: &Unit) -> Result<Vec<Mismatch>, EngineError> {
        let docker = self.api().await?;
        let specs = specs(unit).await?;
        let names = Names::new(&unit.deployment, &unit.component);
        let (list, networks) =
            tokio::try_join!(self.list_ours(&docker, names.filter()), self.list_networks())?;
        let networks: NetworkIds =
            networks.into_iter().filter_map(|net| Some((net.name?, net.id?))).collect();
        let mut lives = self.inspect_by_service(&docker, by_service(list)).await?;
        let ids = lives
            .iter()
            .filter_map(|(service, lives)| Some((service.clone(), lives.first()?.id.clone()?)));
        let ids: BTreeMap<String, String> = ids.collect();
        let world = World { networks: &networks, containers: &ids };
        let mut found = Vec::new();
        for (service, spec) in &specs {
            let mine = lives.remove(service).unwrap_or_default();
            let mut kinds = Vec::new();
            match mine.first() {
                None => kinds.push(MismatchKind::Missing),
                Some(live) => {
                    kinds.extend(differences(spec, live, world).into_iter().map(kind));
                    kinds.extend(self.state_mismatch(&docker, unit, spec, live).await?);
                }
            }
            kinds.extend(mine.iter().skip(1).map(|_| MismatchKind::Surplus));
            found.extend(kinds.into_iter().map(|kind| Mismatch { service: service.clone(), kind }));
        }
        let surplus = lives.into_keys();
        found.extend(surplus.map(|service| Mismatch { service, kind: MismatchKind::Surplus }));
        Ok(found)
    }

    async fn inspect_by_service(
        &self,
        docker: &Docker,
        services: BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, Vec<ContainerInspectResponse>>, EngineError> {
        let all = services.into_iter().flat_map(|(service, ids)| {
            ids.into_iter().map(move |id| (service.clone(), id)).collect::<Vec<_>>()
        });
        let mut found: BTreeMap<String, Vec<ContainerInspectResponse>> = BTreeMap::new();
        let mut looks = stream::iter(all)
            .map(async |(service, id)| match docker.inspect_container(&id, None).await {
                Err(error) if http_status(&error) == Some(404) => Ok(None),
                live => {
                    Ok::<_, EngineError>(Some((service, self.seen("inspect a container", live)?)))
                }
            })
            .buffered(INSPECTS_AT_ONCE);
        while let Some(look) = looks.try_next().await? {
            let Some((service, live)) = look else { continue };
            found.entry(service).or_default().push(live);
        }
        for lives in found.values_mut() {
            // The one that apply would keep comes first.
            lives.sort_by_key(|live| live::status(live) != Status::RUNNING);
        }
        Ok(found)
    }

    async fn state_mismatch(
        &self,
        docker: &Docker,
        unit: &Unit,
        spec: &Spec,
        live: &ContainerInspectResponse,
    ) -> Result<Option<MismatchKind>, EngineError> {
        let exit_code = live::exit_code(live);
        Ok(match live::status(live) {
            Status::RUNNING | Status::STOPPING => {
                self.witness(live.id.as_deref().unwrap_or_default());
                (live::health(live) == Some(HealthStatusEnum::UNHEALTHY))
                    .then_some(MismatchKind::Unhealthy)
            }
            Status::PAUSED => Some(MismatchKind::Paused),
            Status::REMOVING | Status::DEAD => Some(MismatchKind::Missing),
            Status::CREATED | Status::RESTARTING | Status::EMPTY => {
                Some(MismatchKind::Stopped { exit_code })
            }
            Status::EXITED => {
                let awaited = Condition::CompletedSuccessfully;
                let is_awaited = unit.project.services.values().any(|service| {
                    service.depends_on.get(&spec.service).is_some_and(|d| d.condition == awaited)
                });
                let is_complete = self.is_complete(docker, spec, live, is_awaited).await?;
                (!is_complete).then_some(MismatchKind::Stopped { exit_code })
            }
        })
    }

    /// Every container with our label, for status.
    ///
    /// # Errors
    /// `Unavailable`, `Api`.
    pub async fn owned(&self) -> Result<Vec<OwnedContainer>, EngineError> {
        let docker = self.api().await?;
        let list = self.list_ours(&docker, label_filter(None, None)).await?;
        let found = self.inspect_by_service(&docker, by_service(list)).await?;
        let mut owned: Vec<OwnedContainer> =
            found.values().flatten().filter_map(owned_container).collect();
        owned.sort_by(|a, b| {
            (&a.deployment, &a.component, &a.service).cmp(&(
                &b.deployment,
                &b.component,
                &b.service,
            ))
        });
        Ok(owned)
    }
}

fn kind(difference: Difference) -> MismatchKind {
    match difference {
        Difference::Image => MismatchKind::WrongImage,
        Difference::Configuration => MismatchKind::Edited { what: "configuration".to_owned() },
        Difference::Name => MismatchKind::Edited { what: "name".to_owned() },
        Difference::Edited(what) => MismatchKind::Edited { what },
        Difference::Pin(service) => {
            MismatchKind::Edited { what: format!("bound to a former container of `{service}`") }
        }
    }
}

fn owned_container(live: &ContainerInspectResponse) -> Option<OwnedContainer> {
    let label = |key: &str| live::label(live, key).unwrap_or_default();
    let status = live::status(live);
    let state = live.state.as_ref()?;
    Some(OwnedContainer {
        id: live.id.clone()?,
        name: live::live_name(live).to_owned(),
        deployment: DeploymentId::new(label(LABEL_DEPLOYMENT)),
        component: ComponentName::new(label(LABEL_COMPONENT)),
        service: label(LABEL_SERVICE).to_owned(),
        revision: Digest::new(label(LABEL_REVISION)),
        state: status.to_string(),
        is_healthy: match live::health(live) {
            Some(HealthStatusEnum::HEALTHY) => Some(true),
            Some(HealthStatusEnum::UNHEALTHY) => Some(false),
            _ => None,
        },
        image: ImageId::new(live.image.clone().unwrap_or_default()),
        image_reference: label(LABEL_IMAGE).to_owned(),
        // The engine says "year 1" for "never".
        started_at: state.started_at.clone().filter(|at| !at.starts_with("0001-")),
        exit_code: live::has_ended(live).then(|| live::exit_code(live)),
    })
}
