//! From the text of a compose file to the project, in the order in which compose does it.

use super::context::{Context, Declared};
use super::cursor::Cursor;
use super::dotenv;
use super::files::{config_source, read_archive_file, secret_source};
use super::interpolate::interpolate;
use super::model::{HostPolicy, MountSource, Network, Project, Service};
use super::names::is_key;
use super::networks::network;
use super::problems::{Problem, ProblemKind, Problems, Report};
use super::service::service;
use super::table::check_keys;
use super::volumes::volume;
use super::yaml::{self, Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most active services, networks and volumes of each kind in one file.
pub const OBJECTS_MAX: usize = 64;

/// The file's name, as Margo fixes it (R159).
pub const FILE_NAME: &str = "compose.yaml";

/// A project that this device can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The effective project.
    pub project: Project,
    /// What has no effect here, or is probably not meant.
    pub warnings: Vec<Problem>,
}

/// Loads `compose.yaml` of an extracted archive's top directory.
///
/// `env` holds the deployment's parameters; nothing of the agent's own environment is used. A `.env` file at the top
/// of the archive gives further values, with lower precedence.
///
/// # Errors
/// Every problem of the file. Nothing has been touched.
pub fn load(
    dir: &Path,
    env: &BTreeMap<String, String>,
    policy: &HostPolicy,
) -> Result<Loaded, Problems> {
    let whole = |message: String| Problems(vec![Problem::new("", ProblemKind::Invalid, message)]);
    match read_archive_file(dir, FILE_NAME, yaml::FILE_BYTES_MAX) {
        Ok(Some(text)) => load_str(&text, dir, env, policy),
        Ok(None) => Err(whole(format!("there is no `{FILE_NAME}` in the top directory"))),
        Err(why) => Err(whole(why)),
    }
}

/// Loads a compose file's text; `base` is the directory its paths are relative to.
///
/// # Errors
/// Every problem of the file.
pub fn load_str(
    text: &str,
    base: &Path,
    env: &BTreeMap<String, String>,
    policy: &HostPolicy,
) -> Result<Loaded, Problems> {
    let mut root = yaml::parse(text).map_err(|problem| Problems(vec![problem]))?;
    let mut report = Report::default();
    let env = project_environment(base, env, &mut report);
    interpolate(&mut root, &env, &mut report);
    let dropped = drop_inactive(&mut root, &env);
    let mut context = Context { env: &env, policy, base, declared: Declared::default(), report };
    let root = Cursor::root(&root);
    check_keys(&root, &mut context.report);
    let project = project(&root, &dropped, &mut context);
    let Report { problems, warnings, .. } = context.report;
    if problems.is_empty() { Ok(Loaded { project, warnings }) } else { Err(Problems(problems)) }
}

/// The parameters over the archive's `.env`.
fn project_environment(
    base: &Path,
    env: &BTreeMap<String, String>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let parsed = read_archive_file(base, ".env", dotenv::FILE_BYTES_MAX)
        .and_then(|text| text.map(|text| dotenv::parse(&text, env)).transpose());
    let mut out = match parsed {
        Ok(Some(parsed)) => parsed.values,
        Ok(None) => BTreeMap::new(),
        Err(why) => {
            let message = format!("the archive's `.env`: {why}");
            report.problem(Problem::new("", ProblemKind::Invalid, message));
            BTreeMap::new()
        }
    };
    out.extend(env.iter().map(|(name, value)| (name.clone(), value.clone())));
    out
}

/// Takes the services out whose profiles are not active, and gives their names.
fn drop_inactive(root: &mut Node, env: &BTreeMap<String, String>) -> BTreeSet<String> {
    let active: Vec<&str> = env
        .get("COMPOSE_PROFILES")
        .map(|profiles| profiles.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let mut dropped = BTreeSet::new();
    let Value::Map(top) = &mut root.value else { return dropped };
    let Some((_, services)) = top.iter_mut().find(|(key, _)| key == "services") else {
        return dropped;
    };
    let Value::Map(services) = &mut services.value else { return dropped };
    services.retain(|(name, node)| {
        let at = Cursor::root(node);
        let profiles = at.get("profiles").map(|at| at.items()).unwrap_or_default();
        let is_active = profiles.is_empty()
            || active.contains(&"*")
            || profiles.iter().any(|profile| match &profile.node.value {
                Value::Str(profile) => active.contains(&profile.as_str()),
                // Of a wrong type: kept, so that it is reported.
                _ => true,
            });
        if !is_active {
            dropped.insert(name.clone());
        }
        is_active
    });
    dropped
}

fn project(root: &Cursor<'_>, dropped: &BTreeSet<String>, context: &mut Context<'_>) -> Project {
    context.report.map(root);
    if let Some(at) = root.get("name") {
        context.report.string(&at);
        context.report.warn(&at, "ignored: the deployment names the project");
    }
    if let Some(at) = root.get("version") {
        context.report.warn(&at, "obsolete and ignored: remove it");
    }
    declare(root, context);
    let mut services = BTreeMap::new();
    match root.get("services") {
        Some(at) => {
            let entries = named(&at, context);
            context.declared.services =
                entries.iter().map(|(name, _)| (*name).to_owned()).collect();
            if at.entries().is_empty() && (at.is_map() || at.is_null()) {
                context.report.invalid(&at, "has no active service");
            }
            for (name, at) in entries {
                services.insert(name.to_owned(), service(&at, context));
            }
        }
        None if root.is_map() => {
            context.report.invalid(root, "has no `services`");
        }
        None => {}
    }
    check_names(root, &services, context);
    check_dependencies(root, &mut services, dropped, context);
    let project = prune(services, context);
    check_counts(&project, &mut context.report);
    project
}

/// Entries of a top-level section whose names are right.
fn named<'a>(at: &Cursor<'a>, context: &mut Context<'_>) -> Vec<(&'a str, Cursor<'a>)> {
    let mut entries = context.report.map_or_null(at);
    entries.retain(|(name, at)| {
        let is_right = is_key(name);
        if !is_right {
            context.report.invalid(at, "its name must be of letters, digits, `.`, `_` and `-`");
        }
        is_right
    });
    entries
}

fn declare(root: &Cursor<'_>, context: &mut Context<'_>) {
    if let Some(at) = root.get("networks") {
        for (name, at) in named(&at, context) {
            let network = network(&at, &mut context.report);
            context.declared.networks.insert(name.to_owned(), network);
        }
    }
    if let Some(at) = root.get("volumes") {
        for (name, at) in named(&at, context) {
            let volume = volume(&at, context);
            context.declared.volumes.insert(name.to_owned(), volume);
        }
    }
    if let Some(at) = root.get("configs") {
        for (name, at) in named(&at, context) {
            let source = config_source(&at, context.base, &mut context.report);
            context.declared.configs.insert(name.to_owned(), source);
        }
    }
    if let Some(at) = root.get("secrets") {
        for (name, at) in named(&at, context) {
            let source = secret_source(&at, context);
            context.declared.secrets.insert(name.to_owned(), source);
        }
    }
}

fn check_names(root: &Cursor<'_>, services: &BTreeMap<String, Service>, context: &mut Context<'_>) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in services {
        let Some(container) = service.container_name.as_deref() else { continue };
        if let Some(other) = owners.insert(container, name)
            && let Some(at) = root
                .get("services")
                .and_then(|at| at.get(name))
                .and_then(|at| at.get("container_name"))
        {
            let message = format!("`{container}` is the container name of `{other}` already");
            context.report.invalid(&at, message);
        }
    }
}

/// Refuses unknown services and cycles; forgets optional dependencies whose profile is off.
fn check_dependencies(
    root: &Cursor<'_>,
    services: &mut BTreeMap<String, Service>,
    dropped: &BTreeSet<String>,
    context: &mut Context<'_>,
) {
    let names: BTreeSet<String> = services.keys().cloned().collect();
    let place = |name: &str| {
        let at = root.get("services")?.get(name)?;
        Some(at.get("depends_on").unwrap_or(at))
    };
    for (name, service) in services.iter_mut() {
        service.depends_on.retain(|other, dependency| {
            if names.contains(other) {
                return true;
            }
            if let Some(at) = place(name)
                && (dependency.required || !dropped.contains(other))
            {
                let why = if dropped.contains(other) {
                    format!("needs `{other}`, whose profile is not active")
                } else {
                    format!("needs `{other}`, which does not exist")
                };
                context.report.invalid(&at, why);
            }
            false
        });
    }
    // Services that can start go first; what is left over waits for itself.
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> = services
        .iter()
        .map(|(name, service)| {
            (name.as_str(), service.depends_on.keys().map(String::as_str).collect())
        })
        .collect();
    loop {
        let ready: Vec<&str> =
            waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(name, _)| *name).collect();
        if ready.is_empty() {
            break;
        }
        for name in ready {
            waiting.remove(name);
            for needs in waiting.values_mut() {
                needs.remove(name);
            }
        }
    }
    if let Some(first) = waiting.keys().next() {
        // Follow the first need of each until a name comes again: that is a cycle.
        let mut trail: Vec<&str> = vec![first];
        while let Some(next) =
            trail.last().and_then(|name| waiting.get(name)).and_then(|needs| needs.iter().next())
        {
            if let Some(start) = trail.iter().position(|name| name == next) {
                let mut cycle = trail.split_off(start);
                cycle.push(next);
                if let Some(at) = place(next) {
                    let message = format!("services wait for each other: {}", cycle.join(" → "));
                    context.report.invalid(&at, message);
                }
                break;
            }
            trail.push(next);
        }
    }
}

/// Keeps the networks and volumes that a service uses, as compose does.
fn prune(services: BTreeMap<String, Service>, context: &mut Context<'_>) -> Project {
    let mut project = Project { services, ..Project::default() };
    for service in project.services.values() {
        for key in service.networks.keys() {
            let network = match context.declared.networks.get(key) {
                Some(network) => network.clone(),
                None if key == "default" => Network::default(),
                None => continue,
            };
            project.networks.insert(key.clone(), network);
        }
        for mount in &service.mounts {
            if let MountSource::Volume { key, .. } = &mount.source
                && let Some(volume) = context.declared.volumes.get(key)
            {
                project.volumes.insert(key.clone(), volume.clone());
            }
        }
    }
    project
}

fn check_counts(project: &Project, report: &mut Report) {
    for (path, count) in [
        ("services", project.services.len()),
        ("networks", project.networks.len()),
        ("volumes", project.volumes.len()),
    ] {
        if count > OBJECTS_MAX {
            let message = format!("{count} {path}; at most {OBJECTS_MAX} are accepted");
            report.problem(Problem::new(path, ProblemKind::Invalid, message));
        }
    }
}
