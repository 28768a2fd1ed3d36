//! `apply`: makes one component run. Idempotent, and safe to be cut at any point.
//!
//! survey → networks and volumes → every container made right (old ones stopped) → started in order of
//! dependencies, and waited for → leftovers removed. As docker compose does, nothing starts before all
//! containers are made, so that two services may swap a port in one revision.

use super::container_config::{Spec, spec};
use super::docker::Engine;
use super::error::{EngineError, message};
use super::host_paths;
use super::job::{Job, Ready, by_service};
use super::naming::{Names, compose_labels};
use super::start::{Started, start_all};
use super::unit::{Applied, Unit, WaitPolicy};
use bollard::models::Network;
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Services of one component; more is a mistake, and each costs a container.
const SERVICES_MAX: usize = 256;
/// Calls in flight that can leave a twin network are few.
const TWIN_ATTEMPTS_MAX: u32 = 3;

impl Engine {
    /// Makes a component run as it should: what is right is adopted untouched, what is stopped is started,
    /// what differs is recreated, leftovers of former revisions are removed at the end. Named volumes are
    /// never removed.
    ///
    /// One-shot containers that have ended with 0 are not run again: for certain when another service waits
    /// for their completion; else only if they ended by themselves since this agent saw them run, because a
    /// service that the last shutdown stopped looks the same.
    ///
    /// # Errors
    /// Any of [`EngineError`]; what was done stays, and the next call goes on from there.
    pub async fn apply(&self, unit: &Unit, wait: &WaitPolicy) -> Result<Applied, EngineError> {
        let docker = self.api().await?;
        let specs = specs(unit).await?;
        let mut job = Job::new(self, docker, unit, specs);
        let limit = Duration::from_millis(wait.timeout_ms);
        match tokio::time::timeout(limit, run_with_retries(&mut job, wait.wait)).await {
            Ok(applied) => applied,
            Err(_) => {
                let (service, state) = job.slowest();
                Err(EngineError::StartTimeout { service, state, timeout_ms: wait.timeout_ms })
            }
        }
    }
}

/// The containers a unit should have, by service.
pub(crate) async fn specs(unit: &Unit) -> Result<BTreeMap<String, Spec>, EngineError> {
    if unit.project.services.len() > SERVICES_MAX {
        return Err(EngineError::Project {
            service: unit.component.to_string(),
            reason: format!("more than {SERVICES_MAX} services"),
        });
    }
    let has_paths = !unit.bind_roots.is_empty()
        || !unit.project.volumes.is_empty()
        || unit.project.services.values().any(|s| !s.mounts.is_empty() || !s.files.is_empty());
    let paths = if has_paths {
        let unit = unit.clone();
        let resolve = tokio::task::spawn_blocking(move || host_paths::resolve(&unit));
        resolve.await.map_err(|error| EngineError::Local {
            doing: "resolve host paths".to_owned(),
            source: std::io::Error::other(error),
        })??
    } else {
        host_paths::HostPaths::default()
    };
    let names = Names::new(&unit.deployment, &unit.component);
    let services = unit.project.services.keys();
    services.map(|name| Ok((name.clone(), spec(unit, &names, name, &paths)?))).collect()
}

/// Starts over when a network turns out to have a twin: engines before 25 check a network's name before they
/// make it, so a request of an earlier, cut call may finish beside ours. The next survey removes the twin.
async fn run_with_retries(job: &mut Job<'_>, wait: bool) -> Result<Applied, EngineError> {
    let mut attempts_left = TWIN_ATTEMPTS_MAX;
    loop {
        attempts_left = attempts_left.saturating_sub(1);
        match run(job, wait).await {
            Err(EngineError::Start { source, .. })
                if attempts_left > 0 && message(&source).contains("is ambiguous") => {}
            result => return result,
        }
    }
}

async fn run(job: &mut Job<'_>, wait: bool) -> Result<Applied, EngineError> {
    let engine = job.engine;
    let (containers, networks) = tokio::try_join!(
        engine.list_ours(&job.docker, job.names.filter()),
        engine.list_networks()
    )?;
    job.found = by_service(containers);
    let project = &job.unit.project;
    let (ids, ()) = tokio::try_join!(
        engine.ensure_networks(project, &job.names, &networks),
        engine.ensure_volumes(project, &job.names)
    )?;
    job.networks = ids;
    let ready = converge_all(job).await?;
    let applied = start_all(job, ready, wait).await?;
    job.remove_orphans().await?;
    remove_unused_networks(job, &networks).await;
    Ok(count(&applied))
}

/// Makes all containers right: those that others are bound to first, the rest side by side.
async fn converge_all(job: &Job<'_>) -> Result<BTreeMap<String, Ready>, EngineError> {
    let mut ready = BTreeMap::new();
    let mut left: BTreeSet<&String> = job.specs.keys().collect();
    while !left.is_empty() {
        let is_free = |spec: &Spec| !spec.pins.iter().any(|pin| left.contains(pin));
        let level: Vec<&Spec> = left
            .iter()
            .filter_map(|name| job.specs.get(*name))
            .filter(|spec| is_free(spec))
            .collect();
        if level.is_empty() {
            return Err(EngineError::Project {
                service: left.first().map_or_else(String::new, |name| (*name).clone()),
                reason: "it depends on itself through other services".to_owned(),
            });
        }
        let made = level.iter().map(async |spec| {
            Ok::<_, EngineError>((spec.service.clone(), Box::pin(job.converge(spec)).await?))
        });
        ready.extend(try_join_all(made).await?);
        for spec in level {
            left.remove(&spec.service);
        }
    }
    Ok(ready)
}

/// Networks of this component that no service joins any more. A failure is not worth failing for: the
/// next call tries again.
async fn remove_unused_networks(job: &Job<'_>, networks: &[Network]) {
    for network in networks.iter().filter(|network| job.names.own(network.labels.as_ref())) {
        let key = network.labels.as_ref().and_then(|labels| labels.get(compose_labels::NETWORK));
        let is_used = network.name.as_ref().is_some_and(|name| job.networks.contains_key(name));
        if let (false, Some(id)) = (is_used, &network.id)
            && let Err(error) = job.engine.remove_network(id).await
        {
            tracing::warn!(?key, %error, "unused network could not be removed, ignoring");
        }
    }
}

fn count(started: &[Started]) -> Applied {
    let mut applied = Applied::default();
    for one in started {
        let counter = match one {
            Started::Created => &mut applied.created,
            Started::Adopted => &mut applied.adopted,
            Started::Recreated => &mut applied.recreated,
            Started::Restarted => &mut applied.restarted,
        };
        *counter = counter.saturating_add(1);
    }
    applied
}
