//! `DeploymentStatusManifest`.

use serde_json::{Map, Value};

use super::capabilities::is_device_id;
use super::{Findings, join, parse};
use crate::net::problem::Problem;
use crate::report::{ComponentReport, ReportError, State};

/// A status body that fits the schema and does not contradict itself.
#[derive(Debug)]
pub(in crate::wfm) struct StatusBody {
    pub(in crate::wfm) device: Option<String>,
    pub(in crate::wfm) adopted_version: u64,
    pub(in crate::wfm) state: State,
    pub(in crate::wfm) error: Option<ReportError>,
    pub(in crate::wfm) components: Vec<ComponentReport>,
}

/// What the WFM knows of the deployment a report is about.
#[derive(Debug, Default)]
pub(in crate::wfm) struct Known {
    /// A report that adopts an older version is about an older document and is not judged by this one.
    pub(in crate::wfm) target_version: u64,
    pub(in crate::wfm) name: Option<String>,
    /// Empty when it is not known.
    pub(in crate::wfm) components: Vec<String>,
}

/// Checks a body sent for a deployment.
pub(in crate::wfm) fn status(
    body: &[u8],
    deployment: &str,
    known: &Known,
) -> Result<StatusBody, Problem> {
    let object = parse(body)?;
    let mut findings = Findings::default();
    if let Some(id) = findings.text(&object, "", "deploymentId")
        && id != deployment
    {
        findings.semantic("deploymentId", format!("differs from `{deployment}` in the path"));
    }
    let device = device(&mut findings, &object);
    let adopted_version = adopted_version(&mut findings, &object);
    let older = Known::default();
    let known = if adopted_version >= Some(known.target_version) { known } else { &older };
    let (mut state, mut error) = (None, None);
    match findings.required(&object, "", "status") {
        Some(Value::Object(status)) => {
            state = read_state(&mut findings, status, "status");
            error = read_error(&mut findings, status, "status", known.name.as_deref());
        }
        Some(_) => findings.malformed("status", "must be an object"),
        None => {}
    }
    let components = components(&mut findings, &object);
    if let Some(state) = state {
        agreement(&mut findings, state, &components);
    }
    if !known.components.is_empty() {
        coverage(&mut findings, &components, &known.components);
    }
    findings.finish()?;
    // `finish` has answered when either is missing; the fallbacks never show.
    Ok(StatusBody {
        device,
        adopted_version: adopted_version.unwrap_or_default(),
        state: state.unwrap_or(State::Failed),
        error,
        components,
    })
}

fn device(findings: &mut Findings, object: &Map<String, Value>) -> Option<String> {
    object.get("deviceId")?;
    let device = findings.text(object, "", "deviceId")?;
    if !is_device_id(device) {
        findings.malformed("deviceId", "must be unreserved characters and slashes");
    }
    Some(device.to_owned())
}

fn adopted_version(findings: &mut Findings, object: &Map<String, Value>) -> Option<u64> {
    let value = findings.required(object, "", "adoptedManifestVersion")?;
    let version = value.as_u64().filter(|version| *version > 0);
    if version.is_none() {
        let message = "must be a whole number from 1 to 2^64-1";
        findings.malformed("adoptedManifestVersion", message);
    }
    version
}

fn components(findings: &mut Findings, object: &Map<String, Value>) -> Vec<ComponentReport> {
    let mut components: Vec<ComponentReport> = Vec::new();
    let _present = findings.required(object, "", "components");
    findings.objects(object, "", "components", |findings, component, at| {
        let name = findings.text(component, at, "name").map(ToOwned::to_owned);
        let state = read_state(findings, component, at);
        let error = read_error(findings, component, at, name.as_deref());
        if let (Some(name), Some(state)) = (name, state) {
            if components.iter().any(|other| other.name == name) {
                findings.semantic(at, format!("component `{name}` appears twice"));
            }
            components.push(ComponentReport { name, state, error });
        }
    });
    components
}

fn read_state(findings: &mut Findings, object: &Map<String, Value>, at: &str) -> Option<State> {
    match findings.text(object, at, "state")?.parse() {
        Ok(state) => Some(state),
        Err(error) => {
            findings.malformed(join(at, "state"), error.to_string());
            None
        }
    }
}

/// Reads `error`; the prose makes all three members required, and its source is fixed (R185).
fn read_error(
    findings: &mut Findings,
    object: &Map<String, Value>,
    at: &str,
    source: Option<&str>,
) -> Option<ReportError> {
    let at = join(at, "error");
    let Value::Object(error) = object.get("error")? else {
        findings.malformed(at, "must be an object");
        return None;
    };
    let code = findings.text(error, &at, "code")?.to_owned();
    let message = findings.text(error, &at, "message")?.to_owned();
    let given = findings.text(error, &at, "source")?.to_owned();
    if let Some(expected) = source
        && given != expected
    {
        findings.semantic(format!("{at}.source"), format!("must be `{expected}`"));
    }
    Some(ReportError { code, source: given, message })
}

/// The overall state is the most severe one of the components (R182).
fn agreement(findings: &mut Findings, state: State, components: &[ComponentReport]) {
    if let Some(worst) = components.iter().map(|component| component.state).max()
        && worst != state
    {
        let message = format!("is `{state}` though the most severe component is `{worst}`");
        findings.semantic("status.state", message);
    }
}

/// Exactly one entry for each component of the deployment (R183).
fn coverage(findings: &mut Findings, components: &[ComponentReport], known: &[String]) {
    for name in known {
        if !components.iter().any(|component| component.name == *name) {
            findings.semantic("components", format!("component `{name}` is missing"));
        }
    }
    for component in components {
        if !known.contains(&component.name) {
            let message = format!("component `{}` is not in the deployment", component.name);
            findings.semantic("components", message);
        }
    }
}
