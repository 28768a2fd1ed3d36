//! One call of `apply`: what it works on, and the containers it makes right before anything starts.
//!
//! Every step can be the last one before a power cut, so each leaves something the next call recognises:
//! a replacement is made complete under a temporary name, then the old container goes, then the new one
//! gets its name. Anonymous volumes move to the replacement, as with docker compose.

use super::container_config::Spec;
use super::docker::{Engine, creates_with_all_networks};
use super::error::{EngineError, status as http_status};
use super::inline::write_inline;
use super::live::{self, Difference, World, differences};
use super::naming::{LABEL_DEPLOYMENT, LABEL_SERVICE, Names, is_ours};
use super::networks::NetworkIds;
use super::unit::Unit;
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum as Status,
    ContainerSummary, Mount, MountType, NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, RenameContainerOptions,
};
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rounds of looking again after somebody else's change; more means a fight that we should report.
const ROUNDS_MAX: u32 = 5;
/// Characters of an id that people use.
const SHORT_ID_CHARS: usize = 12;

/// The state of one `apply` call.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) docker: Docker,
    pub(crate) unit: &'a Unit,
    pub(crate) names: Names,
    pub(crate) specs: BTreeMap<String, Spec>,
    pub(crate) networks: NetworkIds,
    /// Our containers by service, as found at the start.
    pub(crate) found: BTreeMap<String, Vec<String>>,
    shared: Mutex<Shared>,
}

/// What the services' futures tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// The container of each service that is made right.
    ids: BTreeMap<String, String>,
    /// What each service is doing, for the message of a time-out.
    states: BTreeMap<String, &'static str>,
    /// Services whose containers this call has started or restarted.
    started: BTreeSet<String>,
}

/// How a service's container came to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Made now, or half-made earlier and never started.
    Created,
    /// It was right already.
    Kept,
    /// Made in place of a wrong one.
    Recreated,
}

/// A container that is as it should be, but for running.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) id: String,
    pub(crate) way: Way,
    /// As inspected; `None` when made now.
    pub(crate) live: Option<ContainerInspectResponse>,
}

/// Why a name could not be taken.
enum Conflict {
    /// Our own container of the same service holds it: look at it again.
    Candidate(String),
    /// The holder has gone meanwhile: try again.
    Gone,
}

impl<'a> Job<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        docker: Docker,
        unit: &'a Unit,
        specs: BTreeMap<String, Spec>,
    ) -> Self {
        Self {
            engine,
            docker,
            unit,
            names: Names::new(&unit.deployment, &unit.component),
            specs,
            networks: NetworkIds::new(),
            found: BTreeMap::new(),
            shared: Mutex::default(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Single assignments only: nothing can be half-changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self, service: &str, state: &'static str) {
        self.shared().states.insert(service.to_owned(), state);
    }

    /// The first service that is not ready, and what it is doing.
    pub(crate) fn slowest(&self) -> (String, String) {
        let shared = self.shared();
        let mut states = shared.states.iter().filter(|(_, state)| **state != READY);
        let found = states.find(|(_, state)| **state != WAITING_FOR_DEPENDENCY);
        let first = found.or_else(|| shared.states.iter().find(|(_, state)| **state != READY));
        first.map_or_else(
            || (self.unit.component.to_string(), "preparing".to_owned()),
            |(service, state)| (service.clone(), (*state).to_owned()),
        )
    }

    pub(crate) fn has_started(&self, service: &str) -> bool {
        self.shared().started.contains(service)
    }

    pub(crate) fn note_started(&self, service: &str, id: &str) {
        self.engine.witness(id);
        self.shared().started.insert(service.to_owned());
    }

    /// Makes one service's container right. It may still be stopped.
    ///
    /// # Errors
    /// `NameTaken`, `ImageMissing`, `Start`, `Unavailable`, `NoSpace`.
    pub(crate) async fn converge(&self, spec: &Spec) -> Result<Ready, EngineError> {
        self.state(&spec.service, "being created");
        let mut candidates = self.found.get(&spec.service).cloned().unwrap_or_default();
        for _ in 0..ROUNDS_MAX {
            let lives = self.inspect_all(&candidates).await?;
            let (right, wrong) = self.sort(spec, lives);
            let done = match right {
                Some(keep) => self.keep(spec, keep, wrong).await?,
                None => self.replace(spec, wrong).await?,
            };
            match done {
                Ok(ready) => {
                    self.shared().ids.insert(spec.service.clone(), ready.id.clone());
                    return Ok(ready);
                }
                Err(Conflict::Candidate(id)) if !candidates.contains(&id) => candidates.push(id),
                Err(Conflict::Candidate(_) | Conflict::Gone) => {}
            }
        }
        Err(EngineError::NameTaken {
            kind: "container",
            name: spec.name.clone(),
            holder: "containers that keep changing".to_owned(),
        })
    }

    async fn inspect_all(
        &self,
        ids: &[String],
    ) -> Result<Vec<ContainerInspectResponse>, EngineError> {
        let lives =
            ids.iter().map(async |id| match self.docker.inspect_container(id, None).await {
                Err(error) if http_status(&error) == Some(404) => Ok(None),
                live => self.engine.seen("inspect a container", live).map(Some),
            });
        Ok(try_join_all(lives).await?.into_iter().flatten().collect())
    }

    /// The container to keep, if one is right, and all others.
    fn sort(
        &self,
        spec: &Spec,
        lives: Vec<ContainerInspectResponse>,
    ) -> (Option<ContainerInspectResponse>, Vec<ContainerInspectResponse>) {
        let ids = self.shared().ids.clone();
        let world = World { networks: &self.networks, containers: &ids };
        let (mut right, mut wrong): (Vec<_>, Vec<_>) = lives.into_iter().partition(|live| {
            !matches!(live::status(live), Status::DEAD | Status::REMOVING)
                && differences(spec, live, world).iter().all(|found| *found == Difference::Name)
        });
        // Rather the one that runs; rather the one that has its name.
        right.sort_by_key(|live| {
            (live::status(live) == Status::RUNNING, live::live_name(live) == spec.name)
        });
        let keep = right.pop();
        wrong.extend(right);
        (keep, wrong)
    }

    async fn keep(
        &self,
        spec: &Spec,
        live: ContainerInspectResponse,
        others: Vec<ContainerInspectResponse>,
    ) -> Result<Result<Ready, Conflict>, EngineError> {
        let id = live.id.clone().unwrap_or_default();
        for other in others {
            self.engine.discard(&self.docker, &other.id.unwrap_or_default(), false).await?;
        }
        if live::live_name(&live) != spec.name
            && let Err(conflict) = self.rename(spec, &id).await?
        {
            return Ok(Err(conflict));
        }
        let is_new = live::status(&live) == Status::CREATED;
        if is_new {
            let written = write_inline(&self.docker, &id, &spec.inline).await;
            written.map_err(|error| self.create_error(spec, error))?;
        }
        let way = if is_new { Way::Created } else { Way::Kept };
        Ok(Ok(Ready { id, way, live: Some(live) }))
    }

    async fn replace(
        &self,
        spec: &Spec,
        wrong: Vec<ContainerInspectResponse>,
    ) -> Result<Result<Ready, Conflict>, EngineError> {
        // What never ran holds nothing worth keeping.
        let (unused, used): (Vec<_>, Vec<_>) =
            wrong.into_iter().partition(|live| live::status(live) == Status::CREATED);
        for live in unused {
            self.engine.discard(&self.docker, &live.id.unwrap_or_default(), false).await?;
        }
        let Some(base) = used.iter().max_by_key(|live| live.created.clone()) else {
            return Ok(self.create(spec, &spec.name, None).await?.map(|id| Ready {
                id,
                way: Way::Created,
                live: None,
            }));
        };
        let short: String =
            base.id.as_deref().unwrap_or_default().chars().take(SHORT_ID_CHARS).collect();
        let temporary = format!("{short}_{}", spec.name);
        let id = match self.create(spec, &temporary, Some(base)).await? {
            Ok(id) => id,
            Err(conflict) => return Ok(Err(conflict)),
        };
        self.state(&spec.service, "being replaced");
        for live in &used {
            self.engine
                .discard(&self.docker, live.id.as_deref().unwrap_or_default(), false)
                .await?;
        }
        let renamed = self.rename(spec, &id).await?;
        Ok(renamed.map(|()| Ready { id, way: Way::Recreated, live: None }))
    }

    async fn create(
        &self,
        spec: &Spec,
        name: &str,
        base: Option<&ContainerInspectResponse>,
    ) -> Result<Result<String, Conflict>, EngineError> {
        let ids = self.shared().ids.clone();
        let mut body = spec.body_now(self.unit, &ids);
        if let Some(base) = base {
            inherit(&mut body, base, &self.image_volumes(&spec.service).await?);
        }
        let at_once =
            if creates_with_all_networks(&self.docker) { spec.endpoints.len() } else { 1 };
        let (first, later) = spec.endpoints.split_at(at_once.min(spec.endpoints.len()));
        body.networking_config = (!first.is_empty())
            .then(|| NetworkingConfig { endpoints_config: Some(first.iter().cloned().collect()) });
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: spec.platform.clone().unwrap_or_default(),
        };
        let id = match self.docker.create_container(Some(options), body).await {
            Ok(made) => made.id,
            Err(error) if http_status(&error) == Some(409) => {
                return self.conflict(spec, name).await.map(Err);
            }
            Err(error) => return Err(self.create_error(spec, error)),
        };
        for (network, settings) in later {
            let request = NetworkConnectRequest {
                container: id.clone(),
                endpoint_config: Some(settings.clone()),
            };
            let network = self.networks.get(network).unwrap_or(network);
            self.docker
                .connect_network(network, request)
                .await
                .map_err(|error| self.create_error(spec, error))?;
        }
        let written = write_inline(&self.docker, &id, &spec.inline).await;
        written.map_err(|error| self.create_error(spec, error))?;
        Ok(Ok(id))
    }

    fn create_error(&self, spec: &Spec, error: bollard::errors::Error) -> EngineError {
        self.engine.note(&error);
        let image = spec.body.image.clone().unwrap_or_default();
        let text = super::error::message(&error).to_ascii_lowercase();
        if http_status(&error) == Some(404) && text.contains("no such image") {
            return EngineError::ImageMissing { service: spec.service.clone(), image };
        }
        EngineError::start(format!("container of service `{}`", spec.service), error)
    }

    async fn rename(&self, spec: &Spec, id: &str) -> Result<Result<(), Conflict>, EngineError> {
        let options = RenameContainerOptions { name: spec.name.clone() };
        match self.docker.rename_container(id, options).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if http_status(&error) == Some(409) => {
                self.conflict(spec, &spec.name).await.map(Err)
            }
            Err(error) => Err(self.create_error(spec, error)),
        }
    }

    /// Looks at who holds a name. Clears the way if it is a leftover of this component.
    async fn conflict(&self, spec: &Spec, name: &str) -> Result<Conflict, EngineError> {
        let live = match self.docker.inspect_container(name, None).await {
            Err(error) if http_status(&error) == Some(404) => return Ok(Conflict::Gone),
            live => self.engine.seen("inspect the holder of a name", live)?,
        };
        let id = live.id.clone().unwrap_or_default();
        let service = live::label(&live, LABEL_SERVICE).unwrap_or_default();
        if self.names.own(live::labels(&live)) {
            if service == spec.service {
                return Ok(Conflict::Candidate(id));
            }
            let is_entitled = self.specs.get(service).is_some_and(|other| other.name == name);
            if !is_entitled {
                self.engine.discard(&self.docker, &id, false).await?;
                return Ok(Conflict::Gone);
            }
        }
        let short: String = id.chars().take(SHORT_ID_CHARS).collect();
        let holder = match live::label(&live, LABEL_DEPLOYMENT) {
            Some(deployment) if is_ours(live::labels(&live)) => {
                format!("container {short} of deployment {deployment}, service `{service}`")
            }
            _ => format!("container {short}, which this agent did not make"),
        };
        Err(EngineError::NameTaken { kind: "container", name: name.to_owned(), holder })
    }

    async fn image_volumes(&self, service: &str) -> Result<Vec<String>, EngineError> {
        let Some(image) = self.unit.images.get(service) else { return Ok(Vec::new()) };
        match self.docker.inspect_image(image.as_str()).await {
            Ok(found) => Ok(found.config.and_then(|config| config.volumes).unwrap_or_default()),
            Err(error) if http_status(&error) == Some(404) => Err(EngineError::ImageMissing {
                service: service.to_owned(),
                image: image.to_string(),
            }),
            Err(error) => self.engine.seen("inspect an image", Err(error)),
        }
    }

    /// Our containers of services that the project no longer has.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &String> {
        self.found
            .iter()
            .filter(|(service, _)| !self.specs.contains_key(*service))
            .flat_map(|(_, ids)| ids)
    }

    /// Removes the orphans.
    pub(crate) async fn remove_orphans(&self) -> Result<(), EngineError> {
        try_join_all(self.orphans().map(|id| self.engine.discard(&self.docker, id, false))).await?;
        Ok(())
    }
}

/// State of a service that has reached what was asked of it.
pub(crate) const READY: &str = "ready";
/// State of a service that others hold up; never the culprit while another one is not ready.
pub(crate) const WAITING_FOR_DEPENDENCY: &str = "waiting for a dependency";

/// Hands the anonymous volumes of a container to its replacement.
pub(crate) fn inherit(
    body: &mut ContainerCreateBody,
    old: &ContainerInspectResponse,
    image_volumes: &[String],
) {
    let host = body.host_config.get_or_insert_default();
    let is_bound = |target: &str| {
        let bound = host.binds.iter().flatten().any(|bind| bind.split(':').nth(1) == Some(target));
        bound || host.tmpfs.as_ref().is_some_and(|tmpfs| tmpfs.contains_key(target))
    };
    let mut mounts = host.mounts.clone().unwrap_or_default();
    for point in old.mounts.iter().flatten() {
        let (Some("volume"), Some(name), Some(target)) =
            (point.typ.as_deref(), &point.name, &point.destination)
        else {
            continue;
        };
        match mounts.iter_mut().find(|mount| mount.target.as_ref() == Some(target)) {
            Some(mount) if mount.typ == Some(MountType::VOLUME) && mount.source.is_none() => {
                mount.source = Some(name.clone());
            }
            Some(_) => {}
            None if image_volumes.contains(target) && !is_bound(target) => mounts.push(Mount {
                typ: Some(MountType::VOLUME),
                source: Some(name.clone()),
                target: Some(target.clone()),
                read_only: Some(point.rw == Some(false)),
                ..Mount::default()
            }),
            None => {}
        }
    }
    host.mounts = (!mounts.is_empty()).then_some(mounts);
}

impl Engine {
    /// Our containers of one component (or more), running or not.
    pub(crate) async fn list_ours(
        &self,
        docker: &Docker,
        filter: std::collections::HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        self.seen("list containers", docker.list_containers(Some(options)).await)
    }
}

/// Groups containers by their service label.
pub(crate) fn by_service(list: Vec<ContainerSummary>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in list {
        let service = container
            .labels
            .and_then(|mut labels| labels.remove(LABEL_SERVICE))
            .unwrap_or_default();
        found.entry(service).or_default().extend(container.id);
    }
    found
}
