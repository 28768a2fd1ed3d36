//! Answers as text for people.

use std::io::{self, Write};

use margo_lab::StatusReport;
use margo_lab::ids::now_ms;
use serde_json::Value;

use super::CliResult;

/// Prints text with a line's end.
pub(super) fn print(text: &str) -> CliResult {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}

pub(super) fn done(_answer: &Value) -> String {
    "done".to_owned()
}

pub(super) fn deployed(answer: &Value) -> String {
    let mut text = field(answer, "deployment");
    if let Some(report) = answer.get("report").filter(|report| !report.is_null()) {
        text.push('\n');
        text.push_str(&one_report(report));
    }
    text
}

pub(super) fn provisioned(answer: &Value) -> String {
    format!("{} for client {}", field(answer, "dir"), field(answer, "client"))
}

pub(super) fn pushed(answer: &Value) -> String {
    format!("{} {}", field(answer, "reference"), field(answer, "digest"))
}

pub(super) fn fault_set(answer: &Value) -> String {
    format!(
        "fault {} is set; clear it with `fault clear {}`",
        field(answer, "id"),
        field(answer, "id")
    )
}

pub(super) fn images(answer: &Value) -> String {
    let line =
        |v: &Value| format!("{}:{} {}", field(v, "name"), field(v, "tag"), field(v, "digest"));
    lines(answer, "the registry is empty", line)
}

pub(super) fn faults(answer: &Value) -> String {
    lines(answer, "no faults are set", |fault| {
        let mut text = format!(
            "{}: {} {} ({} hits",
            field(fault, "id"),
            field(fault, "service"),
            field(fault, "kind"),
            field(fault, "hits")
        );
        if let Some(left) = fault.get("count").and_then(Value::as_u64) {
            text.push_str(&format!(", {left} left"));
        }
        text.push(')');
        if let Some(operation) = fault.get("operation").and_then(Value::as_str) {
            text.push_str(&format!(" on {operation}"));
        }
        text
    })
}

pub(super) fn reports(answer: &Value) -> String {
    lines(answer, "no reports", |report| {
        format!("{} s ago  {}", age_secs(report.get("time_ms")), one_report(report))
    })
}

pub(super) fn requests(answer: &Value) -> String {
    lines(answer, "no requests", |request| {
        let status = match request.get("status").and_then(Value::as_u64) {
            Some(status) => status.to_string(),
            None => "---".to_owned(),
        };
        let mut text = format!(
            "{} s ago  {} {} {} -> {status}, {} B",
            age_secs(request.get("time_ms")),
            field(request, "service"),
            field(request, "method"),
            field(request, "path"),
            field(request, "response_bytes")
        );
        if let Some(note) = request.get("note").and_then(Value::as_str) {
            text.push_str(&format!(": {note}"));
        }
        text
    })
}

pub(super) fn wire(answer: &Value) -> String {
    lines(answer, "no connections", |connection| {
        format!(
            "connection {} from {}: {} request(s), {} B received, {} B sent",
            field(connection, "id"),
            field(connection, "peer"),
            field(connection, "requests"),
            field(connection, "received_bytes"),
            field(connection, "sent_bytes")
        )
    })
}

pub(super) fn status(answer: &Value) -> String {
    let mut text = String::new();
    for (server, up) in members(answer.get("servers")) {
        if up == &Value::Bool(false) {
            text.push_str(&format!("{server} is stopped\n"));
        }
    }
    if let Some(faults @ 1..) = answer.get("faults").and_then(Value::as_u64) {
        text.push_str(&format!("{faults} fault(s) are set\n"));
    }
    for client in items(answer.get("clients")) {
        one_client(&mut text, client);
    }
    text
}

fn one_client(text: &mut String, client: &Value) {
    let served = client.get("served_version").and_then(Value::as_u64);
    let served = served.map_or_else(|| "never fetched".to_owned(), |v| format!("fetched {v}"));
    let polled = match client.get("last_poll_ms").filter(|value| !value.is_null()) {
        Some(time) => format!(", last asked {} s ago", age_secs(Some(time))),
        None => String::new(),
    };
    let (id, version) = (field(client, "client"), field(client, "version"));
    text.push_str(&format!("client {id}: manifest {version} ({served}{polled})\n"));
    if client.get("is_accepted") == Some(&Value::Bool(false)) {
        text.push_str("  REFUSED by policy\n");
    }
    let devices = members(client.get("devices"));
    if devices.is_empty() {
        text.push_str("  no device has reported yet\n");
    }
    for (device, report) in devices {
        let property = |key: &str| {
            let value = report.pointer(&format!("/body/properties/{key}"));
            value.map(plain).unwrap_or_default()
        };
        text.push_str(&format!(
            "  device {device}: {} {} {}, memory {}, storage {}, {} ({} s ago)\n",
            property("vendor"),
            property("modelNumber"),
            property("serialNumber"),
            property("memory"),
            property("storage"),
            property("supportedDeploymentTypes"),
            age_secs(report.get("time_ms"))
        ));
    }
    for deployment in items(client.get("deployments")) {
        one_deployment(text, deployment);
    }
}

fn one_deployment(text: &mut String, deployment: &Value) {
    let is_desired = deployment.get("is_desired") == Some(&Value::Bool(true));
    let is_converged = deployment.get("is_converged") == Some(&Value::Bool(true));
    text.push_str(&format!(
        "  deployment {} {}: {} since manifest {}, {}\n",
        field(deployment, "id"),
        field(deployment, "name"),
        if is_desired { "wanted" } else { "removed" },
        field(deployment, "target_version"),
        if is_converged { "the device agrees" } else { "the device does not agree yet" }
    ));
    let Some(latest) = deployment.get("latest").filter(|latest| !latest.is_null()) else {
        text.push_str("    nothing reported\n");
        return;
    };
    text.push_str(&format!(
        "    {} with adopted version {} ({} s ago){}\n",
        field(latest, "state"),
        field(latest, "adopted_version"),
        age_secs(latest.get("time_ms")),
        error(latest)
    ));
    for component in items(latest.get("components")) {
        let (name, state) = (field(component, "name"), field(component, "state"));
        text.push_str(&format!("      {name}: {state}{}\n", error(component)));
    }
    for warning in items(latest.get("warnings")) {
        text.push_str(&format!("    WARNING: {}\n", plain(warning)));
    }
}

fn error(of: &Value) -> String {
    match of.get("error").filter(|error| !error.is_null()) {
        Some(error) => format!(" [{}: {}]", field(error, "code"), field(error, "message")),
        None => String::new(),
    }
}

fn one_report(report: &Value) -> String {
    match serde_json::from_value::<StatusReport>(report.clone()) {
        Ok(report) => report.to_string(),
        Err(_) => report.to_string(),
    }
}

fn lines(answer: &Value, none: &str, line: impl Fn(&Value) -> String) -> String {
    let lines: Vec<String> = items(Some(answer)).iter().map(line).collect();
    if lines.is_empty() { none.to_owned() } else { lines.join("\n") }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn members(value: Option<&Value>) -> Vec<(&String, &Value)> {
    value.and_then(Value::as_object).map(|map| map.iter().collect()).unwrap_or_default()
}

fn field(of: &Value, key: &str) -> String {
    of.get(key).map(plain).unwrap_or_default()
}

/// A value without quotes; lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn age_secs(time_ms: Option<&Value>) -> u64 {
    let then = time_ms.and_then(Value::as_u64).unwrap_or_default();
    now_ms().saturating_sub(then) / 1000
}
