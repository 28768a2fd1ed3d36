//! Every command but `up`: one question to the running lab, one answer shown.

use std::path::Path;

use margo_lab::control::{self, Command, DeployOrder, FirmwareOrder};
use margo_lab::fault::FaultId;
use margo_lab::pki::RotationStep;
use margo_lab::registry::RegistryAuth;
use margo_lab::{ClientId, Fault, FaultKind, ManifestDefect, Operation, Service, SvidDefect};
use serde_json::Value;

use super::CliResult;
use super::args::{Action, Content, FaultAction, absolute, client};
use super::show;

/// The device reported `failed`.
#[derive(Debug, thiserror::Error)]
#[error("the device reported failed")]
struct ReportedFailed;

pub(super) async fn run(dir: &Path, json: bool, action: Action) -> CliResult {
    let (command, show): (Command, fn(&Value) -> String) = match action {
        Action::Status { watch: true } => return watch(dir, json).await,
        Action::Fault(FaultAction::Kinds) => return show::print(&kinds()),
        Action::Fault(action) => fault(action),
        Action::Deploy(options) => {
            let mut order = order(options.content);
            order.name = options.name.unwrap_or_default();
            order.dir = Some(absolute(options.compose_dir));
            (Command::Deploy(order), show::deployed)
        }
        Action::Update(options) => {
            let mut order = order(options.content);
            order.name = options.deployment;
            order.dir = options.compose_dir.map(absolute);
            (Command::Update(order), show::deployed)
        }
        Action::Firmware(options) => {
            let order = FirmwareOrder {
                client: client(options.client),
                name: options.deployment,
                bundle: absolute(options.bundle),
                device: options.device,
                wait_secs: options.wait.then_some(options.timeout),
            };
            (Command::Firmware(order), show::deployed)
        }
        Action::Remove(options) => {
            let wait_secs = options.wait.then_some(options.timeout);
            let client = client(options.client);
            let deployment = options.deployment;
            (Command::Remove { client, deployment, wait_secs }, show::deployed)
        }
        other => simple(other),
    };
    let answer = control::send(dir, &command).await?;
    let text = if json { serde_json::to_string_pretty(&answer)? } else { show(&answer) };
    show::print(&text)?;
    if answer.pointer("/report/state").and_then(Value::as_str) == Some("failed") {
        return Err(ReportedFailed.into());
    }
    Ok(())
}

fn simple(action: Action) -> (Command, fn(&Value) -> String) {
    match action {
        Action::Provision(options) => {
            let command = Command::Provision {
                dir: absolute(options.target),
                client: client(options.client),
                bad: options.bad,
                lifetime_secs: options.lifetime,
            };
            (command, show::provisioned)
        }
        Action::PushImage(options) => (Command::PushImage(options.order()), show::pushed),
        Action::PushArchive { reference, compose_dir } => {
            (Command::PushArchive { reference, dir: absolute(compose_dir) }, show::pushed)
        }
        Action::Images => (Command::Images, show::images),
        Action::RegistryAuth { kind, user, password } => {
            let auth = match kind.as_str() {
                "basic" => RegistryAuth::Basic { user, password },
                "bearer" => RegistryAuth::Bearer { user, password },
                _ => RegistryAuth::None,
            };
            (Command::RegistryAuth { auth }, show::done)
        }
        Action::Reports { deployment, client: id } => {
            (Command::Reports { client: client(id), deployment }, show::reports)
        }
        Action::Requests { limit, service } => {
            (Command::Requests { limit, service }, show::requests)
        }
        Action::Wire { service } => (Command::Wire { service }, show::wire),
        Action::Stop { service } => (Command::Stop { service }, show::done),
        Action::Start { service } => (Command::Start { service }, show::done),
        Action::Policy { client, decision } => {
            let accepted = decision == "accept";
            (Command::Policy { client: ClientId::new(client), accepted }, show::done)
        }
        Action::Rotate { step } => {
            let step = match step.as_str() {
                "publish" => RotationStep::Publish,
                "switch" => RotationStep::Switch,
                _ => RotationStep::Retire,
            };
            (Command::Rotate { step }, show::done)
        }
        // The other actions are handled before; status is what is left to show.
        _ => (Command::Status, show::status),
    }
}

fn fault(action: FaultAction) -> (Command, fn(&Value) -> String) {
    match action {
        FaultAction::Set { service, kind, on, count } => {
            let fault = Fault { service, operation: on, kind, count };
            (Command::FaultSet(fault), show::fault_set)
        }
        FaultAction::Clear { id } => (Command::FaultClear { id: id.map(FaultId) }, show::done),
        FaultAction::List | FaultAction::Kinds => (Command::FaultList, show::faults),
    }
}

fn order(content: Content) -> DeployOrder {
    DeployOrder {
        client: client(content.client),
        device: content.device,
        parameters: content.parameters.into_iter().collect(),
        images: content.images,
        wait_secs: content.wait.then_some(content.timeout),
        ..DeployOrder::default()
    }
}

async fn watch(dir: &Path, json: bool) -> CliResult {
    let mut failed = None;
    let each = |answer: Value| {
        let text = if json { answer.to_string() } else { format!("{}\n", show::status(&answer)) };
        failed = show::print(&text).err();
        failed.is_none()
    };
    control::watch(dir, &Command::Watch, each).await?;
    failed.map_or(Ok(()), Err)
}

/// What `fault set` understands.
fn kinds() -> String {
    let names = |list: Vec<&str>| list.join(" ");
    let mut text = String::from("kinds:\n");
    for usage in FaultKind::USAGE {
        text.push_str(&format!("  {usage}\n"));
    }
    text.push_str("manifest defects:\n  ");
    text.push_str(&names(ManifestDefect::ALL.iter().map(|d| d.name()).collect()));
    text.push_str("\nSVID defects:\n  ");
    text.push_str(&names(SvidDefect::ALL.iter().map(|d| d.name()).collect()));
    text.push_str("\noperations:");
    for service in Service::ALL {
        let own = Operation::ALL.iter().filter(|operation| operation.service() == *service);
        let own = names(own.map(|operation| operation.name()).collect());
        text.push_str(&format!("\n  {service}: {own}"));
    }
    text
}
