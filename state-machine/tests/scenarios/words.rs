//! How a transcript words what the machine orders, and how a script words versions, failures and times.

use crate::support::{app, firmware, manifest};
use state_machine::desired::{Deployment, DesiredState};
use state_machine::effect::{Effect, FirmwareSource};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use state_machine::report::Report;

/// `app-a@2`: a deployment at a revision made by [`app`].
fn at(deployment: &DeploymentId, revision: &Digest) -> String {
    let number = revision.as_str().rsplit("-r").next().unwrap_or("?");
    format!("{deployment}@{number}")
}

/// An order, as one line.
pub(crate) fn order(effect: &Effect) -> String {
    match effect {
        Effect::LoadIdentity => "load the identity".to_owned(),
        Effect::LoadTrust => "load the trust bundle".to_owned(),
        Effect::PutCapabilities { capabilities } => format!("send capabilities {capabilities}"),
        Effect::ConnectEngine => "connect to the engine".to_owned(),
        Effect::PollManifest { etag: Some(etag) } => format!("poll (has {etag})"),
        Effect::PollManifest { etag: None } => "poll".to_owned(),
        Effect::FetchDeployments { manifest } => format!("fetch {manifest}"),
        Effect::PrepareDeployment { deployment, revision } => {
            format!("prepare {}", at(deployment, revision))
        }
        Effect::ApplyComponent { deployment, revision, component, .. } => {
            format!("apply {component} of {}", at(deployment, revision))
        }
        Effect::ObserveDeployment { deployment, held } => {
            let held: Vec<String> =
                held.iter().map(|(n, r)| format!("{n} of {}", at(deployment, r))).collect();
            format!("observe {deployment}: {}", held.join(", "))
        }
        Effect::PruneDeployment { deployment, keep } => {
            format!("prune {deployment}, keeping {}", names(keep))
        }
        Effect::RemoveDeployment { deployment } => format!("remove {deployment}"),
        Effect::SendReport { report } => format!("report {}", report_words(report)),
        Effect::CollectGarbage => "collect garbage".to_owned(),
        Effect::PrepareFirmware { source } => format!("look at firmware {}", place(source)),
        Effect::InstallFirmware { transaction, source, bundle, target } => format!(
            "install {} (version {}) to {target} as {transaction}",
            place(source),
            bundle.version
        ),
        Effect::DiscardFirmware => "discard the other slot".to_owned(),
        Effect::CheckSystem => "check the system".to_owned(),
        Effect::CommitSlot => "mark the slot good".to_owned(),
        Effect::RejectSlot => "mark the slot bad".to_owned(),
        Effect::ActivateOther => "activate the other slot".to_owned(),
        Effect::Reboot => "reboot".to_owned(),
    }
}

fn place(source: &FirmwareSource) -> String {
    match source {
        FirmwareSource::Deployment { deployment, revision } => at(deployment, revision),
        FirmwareSource::Location { location } => location.clone(),
    }
}

fn names(names: &[ComponentName]) -> String {
    let names: Vec<&str> = names.iter().map(ComponentName::as_str).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn report_words(report: &Report) -> String {
    let part = |component: &state_machine::report::ComponentReport| {
        format!("{} {}", component.name, component.state.as_str())
    };
    let parts: Vec<String> = report.components.iter().map(part).collect();
    let why = report.failure.as_ref().map_or_else(String::new, |f| format!(" {}", f.code));
    format!(
        "{} {} in v{}{why} ({})",
        report.deployment,
        report.state.as_str(),
        report.version,
        parts.join(", ")
    )
}

/// `12 s`, `1.5 s`, `0.25 s`.
pub(crate) fn seconds(ms: u64) -> String {
    let (whole, rest) = (ms / 1000, ms % 1000);
    let rest = format!("{rest:03}");
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { format!("{whole} s") } else { format!("{whole}.{rest} s") }
}

/// `v2: app-a@1[web,db] app-b@1[web]`, or `v3: nothing`.
pub(crate) fn desired(text: &str) -> Result<DesiredState, String> {
    let (version, list) = text.split_once(':').ok_or("expected a version, a colon, a list")?;
    // `v5 rewritten`: the same version with other bytes, which no honest WFM sends.
    let etag = version.trim().replace(' ', "-");
    let version: u64 = version
        .trim()
        .trim_end_matches(" rewritten")
        .trim_start_matches('v')
        .parse()
        .map_err(|_not_a_number| format!("not a version: {version}"))?;
    let words = list.split_whitespace().filter(|word| *word != "nothing");
    let deployments: Result<Vec<Deployment>, String> = words
        .map(|word| match word.strip_prefix("firmware:") {
            Some(word) => Ok(firmware_at(word)?),
            None => deployment(word),
        })
        .collect();
    Ok(manifest(version, &etag, deployments?))
}

fn firmware_at(text: &str) -> Result<Deployment, String> {
    let parts = text.split_once('@').and_then(|(id, number)| Some((id, number.parse().ok()?)));
    let (id, number) = parts.ok_or_else(|| format!("not like firmware:fw@2: {text}"))?;
    Ok(firmware(id, number))
}

/// `app-a@1[web,db]`, or `firmware:fw@2`, of which the revision is the bundle's version.
fn deployment(text: &str) -> Result<Deployment, String> {
    let parts = || {
        let (id, rest) = text.split_once('@')?;
        let (revision, components) = rest.strip_suffix(']')?.split_once('[')?;
        let components: Vec<&str> = components.split(',').filter(|c| !c.is_empty()).collect();
        Some(app(id, revision.parse().ok()?, &components))
    };
    parts().ok_or_else(|| format!("not a deployment like app-a@1[web,db]: {text}"))
}

/// `START_FAILED "exit 1"`, and after it perhaps `retry after 30 s`.
pub(crate) fn failure(text: &str) -> Result<Failure, String> {
    let (code, rest) = text.split_once(' ').unwrap_or((text, "\"\""));
    let code = Code::ALL.iter().find(|known| known.as_str() == code);
    let code =
        *code.ok_or_else(|| format!("no such code: {}", text.split(' ').next().unwrap_or("")))?;
    let quoted = rest.trim().strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (message, after) = quoted.ok_or_else(|| format!("expected a quoted message: {rest}"))?;
    let retry_after = match after.trim() {
        "" => None,
        after => {
            let time = after.strip_prefix("retry after ").ok_or("expected: retry after N s")?;
            Some(duration(time)?)
        }
    };
    Ok(Failure::new(code, message).retry_after(retry_after))
}

/// `30 s`, `5 min`, `2 h`, in milliseconds.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    let (number, unit) = text.trim().split_once(' ').ok_or("expected a number and a unit")?;
    let number: u64 = number.parse().map_err(|_not_a_number| format!("not a number: {number}"))?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("no such unit: {other}")),
    };
    Ok(number * unit)
}

/// `21:59`, in minutes since midnight.
pub(crate) fn minute(text: &str) -> Result<u16, String> {
    let parts = text
        .trim()
        .split_once(':')
        .and_then(|(h, m)| Some((h.parse::<u16>().ok()?, m.parse::<u16>().ok()?)));
    let (hour, minute) = parts.ok_or_else(|| format!("not a time of day: {text}"))?;
    Ok(hour * 60 + minute)
}
