//! Carries out commands on the lab.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::protocol::{Command, DeployOrder, FirmwareOrder, ImageOrder, ImageSource};
use crate::deployments::{ComponentSpec, DeploymentSpec};
use crate::ids::{ClientId, DeploymentId};
use crate::lab::{Lab, LabError};
use crate::pki::SvidOptions;
use crate::registry::{self, Pushed, RegistryError};
use crate::report::State;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The lab refused.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A name fits no deployment.
    #[error("client {client} has no deployment `{wanted}`; it has: {known}")]
    NoDeployment { client: ClientId, wanted: String, known: String },
    /// A name fits several.
    #[error("`{wanted}` fits several deployments: {found}")]
    Ambiguous { wanted: String, found: String },
    /// Nothing to deploy.
    #[error("a new deployment needs a compose directory")]
    NoDir,
    /// The name cannot be an application id.
    #[error("`{name}` is no deployment name: lowercase letters, digits and dashes, at most 200")]
    BadName { name: String },
    /// A task ended in a panic, which is a bug.
    #[error("the lab failed inside")]
    Inside(#[source] tokio::task::JoinError),
}

pub(super) async fn carry_out(lab: &Arc<Lab>, command: Command) -> Result<Value, OrderError> {
    match command {
        Command::Deploy(order) => deploy(lab, order).await,
        Command::Update(order) => update(lab, order).await,
        Command::Firmware(order) => firmware(lab, order).await,
        Command::Remove { client, deployment, wait_secs } => {
            let client = client.unwrap_or_else(|| lab.config().client_id.clone());
            let id = find(lab, &client, &deployment)?;
            lab.remove_for(&client, &id)?;
            done(lab, (&client, &id), &[State::Removed, State::Failed], wait_secs).await
        }
        Command::FaultSet(fault) => Ok(json!({ "id": lab.fault(fault)? })),
        Command::FaultClear { id: Some(id) } => Ok(json!({ "cleared": lab.clear_fault(id) })),
        Command::FaultClear { id: None } => {
            lab.clear_faults();
            Ok(json!({ "cleared": true }))
        }
        Command::FaultList => Ok(value(&lab.faults())),
        Command::Status | Command::Watch => Ok(status(lab)),
        Command::Provision { dir, client, bad, lifetime_secs } => {
            let client = client.unwrap_or_else(|| lab.config().client_id.clone());
            let mut options = SvidOptions { defect: bad, ..SvidOptions::default() };
            if let Some(secs) = lifetime_secs {
                options.lifetime = Duration::from_secs(secs);
            }
            lab.provision_client(&dir, &client, options)?;
            Ok(json!({ "dir": dir, "client": client, "endpoints": lab.endpoints() }))
        }
        Command::PushImage(order) => {
            let pushed = aside(lab, move |lab| push_image(lab, &order)).await?;
            Ok(value(&pushed))
        }
        Command::PushArchive { reference, dir } => {
            let pushed = aside(lab, move |lab| {
                let (name, tag) = registry::split_reference(&reference)?;
                Ok(lab.registry().push_compose_archive(name, tag, &dir)?)
            })
            .await?;
            Ok(value(&pushed))
        }
        Command::Images => {
            let line = |(name, tag, digest)| json!({ "name": name, "tag": tag, "digest": digest });
            Ok(lab.registry().tags().into_iter().map(line).collect())
        }
        Command::RegistryAuth { auth } => {
            lab.registry().set_auth(auth);
            Ok(json!({}))
        }
        Command::Reports { client, deployment } => reports(lab, client, deployment.as_deref()),
        Command::Requests { limit, service } => {
            let mut requests = lab.requests();
            requests.retain(|request| service.is_none_or(|only| request.service == only));
            let newest = requests.split_off(requests.len().saturating_sub(limit));
            Ok(value(&newest))
        }
        Command::Wire { service } => Ok(value(&lab.wire(service))),
        Command::Stop { service } => {
            lab.stop(service).await;
            Ok(json!({ "up": false }))
        }
        Command::Start { service } => {
            lab.resume(service).await?;
            Ok(json!({ "up": true }))
        }
        Command::Policy { client, accepted } => {
            lab.set_client_accepted(&client, accepted)?;
            Ok(json!({ "accepted": accepted }))
        }
        Command::Rotate { step } => {
            lab.rotate_anchor(step)?;
            Ok(json!({ "sequence": lab.pki().sequence() }))
        }
    }
}

/// What each client has reported, and what the servers are doing.
pub(super) fn status(lab: &Lab) -> Value {
    json!({
        "endpoints": lab.endpoints(),
        "servers": {
            "wfm": lab.is_up(crate::Service::Wfm),
            "mis": lab.is_up(crate::Service::Mis),
            "registry": lab.is_up(crate::Service::Registry),
        },
        "faults": lab.faults().len(),
        "clients": lab.clients(),
    })
}

async fn deploy(lab: &Arc<Lab>, order: DeployOrder) -> Result<Value, OrderError> {
    let client = order.client.clone().unwrap_or_else(|| lab.config().client_id.clone());
    let dir = order.dir.clone().ok_or(OrderError::NoDir)?;
    let name = if order.name.is_empty() { dir_name(&dir) } else { order.name.clone() };
    check_name(&name)?;
    // Nothing is put into the registry for a deployment that cannot be.
    let _device = lab.device_for(&client, order.device.as_deref())?;
    let component = pack(lab, &order, &name, dir).await?;
    let spec = described(DeploymentSpec::compose(name, vec![component]), &order);
    let id = lab.deploy_for(&client, spec)?;
    let states = [State::Installed, State::Failed];
    done(lab, (&client, &id), &states, order.wait_secs).await
}

async fn update(lab: &Arc<Lab>, order: DeployOrder) -> Result<Value, OrderError> {
    let client = order.client.clone().unwrap_or_else(|| lab.config().client_id.clone());
    let id = find(lab, &client, &order.name)?;
    let mut spec = lab
        .spec_for(&client, &id)
        .unwrap_or_else(|| DeploymentSpec::compose(order.name.clone(), Vec::new()));
    if let Some(dir) = order.dir.clone() {
        let name = spec.name.clone();
        spec.components = vec![pack(lab, &order, &name, dir).await?];
    }
    lab.update_for(&client, &id, described(spec, &order))?;
    let states = [State::Installed, State::Failed];
    done(lab, (&client, &id), &states, order.wait_secs).await
}

async fn firmware(lab: &Arc<Lab>, order: FirmwareOrder) -> Result<Value, OrderError> {
    let client = order.client.unwrap_or_else(|| lab.config().client_id.clone());
    let known = match find(lab, &client, &order.name) {
        Ok(id) => Some(id),
        Err(OrderError::NoDeployment { .. }) => None,
        Err(error) => return Err(error),
    };
    let name = match known.as_ref().and_then(|id| lab.spec_for(&client, id)) {
        Some(spec) => spec.name,
        None => order.name,
    };
    check_name(&name)?;
    let _device = lab.device_for(&client, order.device.as_deref())?;
    let (bundle, component) = (order.bundle, name.clone());
    let component = aside(lab, move |lab| {
        let repository = format!("lab/{component}");
        let revision = next_revision(lab, &repository);
        let pushed = lab.registry().push_firmware(&repository, &revision, &bundle)?;
        Ok(ComponentSpec::new("firmware", format!("oci://{}", pushed.repository), revision))
    })
    .await?;
    let mut spec = DeploymentSpec::custom(name, vec![component]);
    spec.device_id = order.device;
    let id = match known {
        Some(id) => {
            lab.update_for(&client, &id, spec)?;
            id
        }
        None => lab.deploy_for(&client, spec)?,
    };
    let states = [State::Installed, State::Failed];
    done(lab, (&client, &id), &states, order.wait_secs).await
}

/// Puts images and archive into the registry; a new revision each time, because a revision's content never changes.
async fn pack(
    lab: &Arc<Lab>,
    order: &DeployOrder,
    name: &str,
    dir: PathBuf,
) -> Result<ComponentSpec, OrderError> {
    let (images, name) = (order.images.clone(), name.to_owned());
    aside(lab, move |lab| {
        for image in &images {
            push_image(lab, image)?;
        }
        let repository = format!("lab/{name}");
        let revision = next_revision(lab, &repository);
        let pushed = lab.registry().push_compose_archive(&repository, &revision, &dir)?;
        Ok(ComponentSpec::new(name, format!("oci://{}", pushed.repository), revision))
    })
    .await
}

fn described(mut spec: DeploymentSpec, order: &DeployOrder) -> DeploymentSpec {
    for (name, text) in &order.parameters {
        spec = spec.parameter(name, text.as_str());
    }
    if order.device.is_some() {
        spec.device_id.clone_from(&order.device);
    }
    if order.constraints.is_some() {
        spec.constraints.clone_from(&order.constraints);
    }
    spec
}

fn push_image(lab: &Lab, order: &ImageOrder) -> Result<Pushed, OrderError> {
    let (name, tag) = registry::split_reference(&order.reference)?;
    let registry = lab.registry();
    Ok(match &order.source {
        ImageSource::Busybox => registry.push_busybox_image(name, tag, &order.config)?,
        ImageSource::Path(path) => registry.push_image_from_path(name, tag, path, &order.config)?,
    })
}

/// `1.0.N` after the highest one there is.
fn next_revision(lab: &Lab, repository: &str) -> String {
    let tags = lab.registry().tags().into_iter().filter(|(name, _, _)| name == repository);
    let patches = tags.filter_map(|(_, tag, _)| tag.strip_prefix("1.0.")?.parse::<u64>().ok());
    let next = patches.max().map_or(0, |highest| highest.saturating_add(1));
    format!("1.0.{next}")
}

/// The deployment's id, and with a wait the report that ended it.
async fn done(
    lab: &Lab,
    (client, id): (&ClientId, &DeploymentId),
    states: &[State],
    wait_secs: Option<u64>,
) -> Result<Value, OrderError> {
    let report = match wait_secs {
        Some(secs) => {
            let timeout = Duration::from_secs(secs);
            Some(lab.wait_status_for(client, id, states, timeout).await?)
        }
        None => None,
    };
    Ok(json!({ "deployment": id, "report": report }))
}

fn reports(
    lab: &Lab,
    client: Option<ClientId>,
    deployment: Option<&str>,
) -> Result<Value, OrderError> {
    let client = client.unwrap_or_else(|| lab.config().client_id.clone());
    let only = deployment.map(|wanted| find_any(lab, &client, wanted)).transpose()?;
    let mut reports = lab.reports_for(&client);
    reports.retain(|report| only.as_ref().is_none_or(|only| report.deployment == *only));
    Ok(value(&reports))
}

fn find(lab: &Lab, client: &ClientId, wanted: &str) -> Result<DeploymentId, OrderError> {
    find_among(lab, client, wanted, true)
}

/// Also among those that were removed.
fn find_any(lab: &Lab, client: &ClientId, wanted: &str) -> Result<DeploymentId, OrderError> {
    find_among(lab, client, wanted, false)
}

fn find_among(
    lab: &Lab,
    client: &ClientId,
    wanted: &str,
    is_desired: bool,
) -> Result<DeploymentId, OrderError> {
    let view = lab.clients().into_iter().find(|view| view.client == *client);
    let mut known = view.map(|view| view.deployments).unwrap_or_default();
    known.retain(|deployment| deployment.is_desired || !is_desired);
    let names = |list: &[&crate::wfm::DeploymentView]| {
        let name = |d: &&crate::wfm::DeploymentView| {
            format!("{} ({})", d.id, d.name.as_deref().unwrap_or("unnamed"))
        };
        list.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let fits = |d: &&crate::wfm::DeploymentView| {
        d.id.as_str() == wanted
            || d.name.as_deref() == Some(wanted)
            || (wanted.len() >= 4 && d.id.as_str().starts_with(wanted))
    };
    let found: Vec<_> = known.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => {
            let known = names(&known.iter().collect::<Vec<_>>());
            let known = if known.is_empty() { "none".to_owned() } else { known };
            Err(OrderError::NoDeployment {
                client: client.clone(),
                wanted: wanted.to_owned(),
                known,
            })
        }
        several => {
            let found = names(several);
            Err(OrderError::Ambiguous { wanted: wanted.to_owned(), found })
        }
    }
}

fn check_name(name: &str) -> Result<(), OrderError> {
    let is_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if (1..=200).contains(&name.len()) && name.bytes().all(is_char) {
        return Ok(());
    }
    Err(OrderError::BadName { name: name.to_owned() })
}

fn dir_name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
        .replace(['_', '.', ' '], "-")
}

/// Runs file-heavy work beside the servers.
async fn aside<T: Send + 'static>(
    lab: &Arc<Lab>,
    work: impl FnOnce(&Lab) -> Result<T, OrderError> + Send + 'static,
) -> Result<T, OrderError> {
    let lab = Arc::clone(lab);
    tokio::task::spawn_blocking(move || work(&lab)).await.map_err(OrderError::Inside)?
}

/// Our own types always become JSON.
fn value<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}
