//! One service, from its node to the model.

use super::context::Context;
use super::cursor::Cursor;
use super::dotenv;
use super::files::{configs, read_archive_file, secrets};
use super::health::healthcheck;
use super::model::{Condition, Dependency, Logging, Restart, Service};
use super::mounts::{container_path, mounts, tmpfs};
use super::names::{image_fault, is_host_name, is_platform, is_resource_name, is_signal};
use super::networks::{attach, labels};
use super::ports::{expose, ports};
use super::problems::Report;
use super::resources::{devices, resources, ulimits};
use super::security::{capabilities, namespace, privileged, security_opt};
use super::shell;
use super::yaml::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads a service. Problems go to the context's report.
pub(super) fn service(at: &Cursor<'_>, context: &mut Context<'_>) -> Service {
    context.report.map(at);
    let mut out = Service::default();
    identity(at, &mut out, &mut context.report);
    out.environment = environment(at, context);
    process(at, &mut out, &mut context.report);
    storage(at, &mut out, context);
    name_resolution(at, &mut out, &mut context.report);
    if let Some(at) = at.get("ports") {
        out.ports = ports(&at, &mut context.report);
    }
    if let Some(at) = at.get("expose") {
        out.expose = expose(&at, &mut context.report);
    }
    attach(at, &mut out, context);
    isolation(at, &mut out, context);
    out.resources = resources(at, &mut context.report);
    if let Some(at) = at.get("ulimits") {
        out.ulimits = ulimits(&at, &mut context.report);
    }
    if let Some(at) = at.get("healthcheck") {
        out.healthcheck = healthcheck(&at, &mut context.report);
    }
    if let Some(at) = at.get("logging") {
        out.logging = Some(logging(&at, &mut context.report));
    }
    if let Some(at) = at.get("depends_on") {
        out.depends_on = depends_on(&at, &mut context.report);
    }
    share_dependencies(&mut out);
    out
}

fn checked(
    at: &Cursor<'_>,
    key: &str,
    is_right: fn(&str) -> bool,
    what: &str,
    report: &mut Report,
) -> Option<String> {
    let at = at.get(key)?;
    let text = report.text(&at)?;
    if !is_right(&text) {
        report.invalid(&at, format!("`{text}` is not {what}"));
        return None;
    }
    Some(text)
}

fn identity(at: &Cursor<'_>, out: &mut Service, report: &mut Report) {
    match at.get("image") {
        Some(image) => {
            if let Some(text) = report.text(&image) {
                if let Some(fault) = image_fault(&text) {
                    report.invalid(&image, format!("the image `{text}` {fault}"));
                }
                out.image = text;
            }
        }
        // A `build` is reported for itself.
        None if at.get("build").is_some() => {}
        None => report.invalid(at, "needs `image`"),
    }
    out.container_name = checked(
        at,
        "container_name",
        |name| is_resource_name(name) && name.len() > 1,
        "a container name: two or more letters, digits, `_`, `.` and `-`",
        report,
    );
    out.platform = checked(at, "platform", is_platform, "a platform such as `linux/arm64`", report);
    if let Some(at) = at.get("labels") {
        out.labels = labels(&at, report);
    }
    if let Some(at) = at.get("pull_policy")
        && let Some(policy) = report.text(&at)
    {
        match policy.as_str() {
            "missing" | "if_not_present" => {}
            "always" => report.warn(
                &at,
                "an image is pinned to the digest of its first pull: no effect on this device",
            ),
            other => report.unsupported(&at, format!("the pull policy `{other}`: remove it")),
        }
    }
    if let Some(at) = at.get("scale") {
        report.integer(&at, 1..=1);
    }
    if let Some(at) = at.get("profiles") {
        report.strings(&at);
    }
}

/// `env_file`, overridden by `environment`; names without a value come from the project.
fn environment(at: &Cursor<'_>, context: &mut Context<'_>) -> BTreeMap<String, Option<String>> {
    let mut out: BTreeMap<String, Option<String>> = BTreeMap::new();
    if let Some(at) = at.get("env_file") {
        let items = match &at.node.value {
            Value::Seq(_) => context.report.list(&at),
            _ => vec![at],
        };
        for item in items {
            env_file(&item, &mut out, context);
        }
    }
    if let Some(at) = at.get("environment") {
        for (name, value, _) in context.report.key_values(&at) {
            // Without a value in the project either it stays `None`: unset, whatever an env file or the image says.
            let value = value.or_else(|| context.env.get(&name).cloned());
            out.insert(name, value);
        }
    }
    out
}

fn env_file(
    at: &Cursor<'_>,
    out: &mut BTreeMap<String, Option<String>>,
    context: &mut Context<'_>,
) {
    let report = &mut context.report;
    let (path_at, is_required) = if at.is_map() {
        let Some(path_at) = at.get("path") else {
            return report.invalid(at, "needs `path`");
        };
        let required = at.get("required").and_then(|at| report.boolean(&at)).unwrap_or(true);
        (path_at, required)
    } else {
        (at.clone(), true)
    };
    let Some(path) = report.text(&path_at) else { return };
    let text = match read_archive_file(context.base, &path, dotenv::FILE_BYTES_MAX) {
        Ok(Some(text)) => text,
        Ok(None) if is_required => {
            return report.invalid(&path_at, format!("the archive has no file `{path}`"));
        }
        Ok(None) => return,
        Err(why) => return report.invalid(&path_at, why),
    };
    // Earlier files come before the project here, as in compose.
    let mut known = context.env.clone();
    known.extend(out.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
    match dotenv::parse(&text, &known) {
        Ok(parsed) => {
            for name in parsed.unset {
                report.warn(
                    &path_at,
                    format!("`{path}`: `{name}` is not set: an empty text is used"),
                );
            }
            out.extend(parsed.values.into_iter().map(|(name, value)| (name, Some(value))));
        }
        Err(why) => report.invalid(&path_at, format!("`{path}`: {why}")),
    }
}

fn process(at: &Cursor<'_>, out: &mut Service, report: &mut Report) {
    out.command = at.get("command").and_then(|at| command(&at, report));
    out.entrypoint = at.get("entrypoint").and_then(|at| command(&at, report));
    out.user = at.get("user").and_then(|at| report.text(&at));
    if let Some(at) = at.get("group_add") {
        for item in report.list(&at) {
            match &item.node.value {
                Value::Int(number) => out.group_add.push(number.to_string()),
                _ => out.group_add.extend(report.text(&item)),
            }
        }
    }
    out.working_dir = at.get("working_dir").and_then(|at| {
        let text = report.text(&at)?;
        if text == "/" { Some(text) } else { container_path(&at, &text, report) }
    });
    if let Some(at) = at.get("restart") {
        out.restart = restart(&at, report);
    }
    out.init = at.get("init").and_then(|at| report.boolean(&at));
    out.stop_signal = checked(at, "stop_signal", is_signal, "a signal such as `SIGTERM`", report);
    out.stop_grace_period_ms = at.get("stop_grace_period").and_then(|at| {
        let duration_ns = report.duration_ns(&at)?;
        u64::try_from(duration_ns / 1_000_000).ok()
    });
    for (key, field) in [("stdin_open", &mut out.stdin_open), ("tty", &mut out.tty)] {
        if let Some(at) = at.get(key) {
            *field = report.boolean(&at).unwrap_or(false);
        }
    }
    out.oom_score_adj = at.get("oom_score_adj").and_then(|at| report.integer(&at, -1000..=1000));
}

/// A list, or a string split into words; null is "not said".
fn command(at: &Cursor<'_>, report: &mut Report) -> Option<Vec<String>> {
    match &at.node.value {
        Value::Null => None,
        Value::Str(text) => match shell::split(text) {
            Ok(words) => Some(words),
            Err(why) => {
                report.invalid(at, format!("the command {why}"));
                None
            }
        },
        _ => {
            let items = report.list(at);
            Some(items.iter().filter_map(|item| report.string(item)).collect())
        }
    }
}

fn restart(at: &Cursor<'_>, report: &mut Report) -> Restart {
    let Some(text) = report.text(at) else { return Restart::No };
    let (name, attempts) = match text.split_once(':') {
        Some((name, attempts)) => (name, Some(attempts)),
        None => (text.as_str(), None),
    };
    match (name, attempts) {
        ("no" | "none", None) => Restart::No,
        ("always" | "any", None) => Restart::Always,
        ("unless-stopped", None) => Restart::UnlessStopped,
        ("on-failure", None) => Restart::OnFailure(0),
        ("on-failure", Some(attempts)) if attempts.parse::<u16>().is_ok() => {
            Restart::OnFailure(attempts.parse().unwrap_or(0))
        }
        _ => {
            let message =
                format!("`{text}` is not `no`, `always`, `unless-stopped` or `on-failure[:count]`");
            report.invalid(at, message);
            Restart::No
        }
    }
}

fn storage(at: &Cursor<'_>, out: &mut Service, context: &mut Context<'_>) {
    if let Some(at) = at.get("volumes") {
        out.mounts = mounts(&at, context);
    }
    if let Some(at) = at.get("secrets") {
        out.mounts.extend(secrets(&at, context));
    }
    if let Some(at) = at.get("configs") {
        out.files = configs(&at, context);
    }
    if let Some(at) = at.get("tmpfs") {
        out.tmpfs = tmpfs(&at, &mut context.report);
    }
    let mut targets: Vec<&str> = out
        .mounts
        .iter()
        .map(|mount| mount.target.as_str())
        .chain(out.files.iter().map(|file| file.target.as_str()))
        .chain(out.tmpfs.keys().map(String::as_str))
        .collect();
    targets.sort_unstable();
    for (one, next) in targets.iter().zip(targets.iter().skip(1)) {
        if one == next {
            context.report.invalid(at, format!("mounts two things at `{one}`"));
        }
    }
    out.shm_size_bytes = at.get("shm_size").and_then(|at| context.report.size_bytes(&at));
    if let Some(at) = at.get("devices") {
        out.devices = devices(&at, context);
    }
}

fn name_resolution(at: &Cursor<'_>, out: &mut Service, report: &mut Report) {
    out.hostname = checked(at, "hostname", is_host_name, "a host name", report);
    out.domainname = checked(at, "domainname", is_host_name, "a domain name", report);
    if let Some(at) = at.get("extra_hosts") {
        out.extra_hosts = extra_hosts(&at, report);
    }
    if let Some(at) = at.get("dns") {
        out.dns = report.string_or_list(&at);
        for address in &out.dns {
            if address.parse::<IpAddr>().is_err() {
                report.invalid(&at, format!("`{address}` is not an IP address"));
            }
        }
    }
    if let Some(at) = at.get("dns_search") {
        out.dns_search = report.string_or_list(&at);
    }
    if let Some(at) = at.get("dns_opt") {
        out.dns_opt = report.strings(&at);
    }
}

/// `host=address` or `host:address`, as `host:address`, sorted.
fn extra_hosts(at: &Cursor<'_>, report: &mut Report) -> Vec<String> {
    let mut out = Vec::new();
    let pairs: Vec<(String, String, Cursor<'_>)> = if at.is_map() {
        report
            .key_values(at)
            .into_iter()
            .map(|(host, address, at)| (host, address.unwrap_or_default(), at))
            .collect()
    } else {
        let mut pairs = Vec::new();
        for item in report.list(at) {
            let Some(text) = report.text(&item) else { continue };
            match text.split_once('=').or_else(|| text.split_once(':')) {
                Some((host, address)) => pairs.push((host.to_owned(), address.to_owned(), item)),
                None => report.invalid(&item, format!("`{text}` is not `host=address`")),
            }
        }
        pairs
    };
    for (host, address, at) in pairs {
        let bare =
            address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&address);
        if !is_host_name(&host) || !(bare == "host-gateway" || bare.parse::<IpAddr>().is_ok()) {
            report.invalid(&at, format!("`{host}={address}` is not a host name and an IP address"));
            continue;
        }
        out.push(format!("{host}:{bare}"));
    }
    out.sort();
    out.dedup();
    out
}

fn isolation(at: &Cursor<'_>, out: &mut Service, context: &mut Context<'_>) {
    out.privileged = at.get("privileged").is_some_and(|at| privileged(&at, context));
    out.cap_add = at.get("cap_add").map(|at| capabilities(&at, true, context)).unwrap_or_default();
    out.cap_drop =
        at.get("cap_drop").map(|at| capabilities(&at, false, context)).unwrap_or_default();
    out.security_opt =
        at.get("security_opt").map(|at| security_opt(&at, context)).unwrap_or_default();
    out.read_only = at.get("read_only").and_then(|at| context.report.boolean(&at)).unwrap_or(false);
    out.pid = at.get("pid").and_then(|at| namespace(&at, &[], context));
    out.ipc =
        at.get("ipc").and_then(|at| namespace(&at, &["private", "shareable", "none"], context));
    if let Some(at) = at.get("sysctls") {
        for (name, value, at) in context.report.key_values(&at) {
            match value {
                Some(value) => {
                    out.sysctls.insert(name, value);
                }
                None => context.report.invalid(&at, "needs a value"),
            }
        }
    }
}

fn logging(at: &Cursor<'_>, report: &mut Report) -> Logging {
    report.map(at);
    Logging {
        driver: at.get("driver").and_then(|at| report.string(&at)).unwrap_or_default(),
        options: at.get("options").map(|at| report.options(&at)).unwrap_or_default(),
    }
}

fn depends_on(at: &Cursor<'_>, report: &mut Report) -> BTreeMap<String, Dependency> {
    let plain = Dependency { condition: Condition::Started, restart: false, required: true };
    if !at.is_map() {
        return report.strings(at).into_iter().map(|name| (name, plain)).collect();
    }
    let mut out = BTreeMap::new();
    for (name, at) in report.map(at) {
        report.map(&at);
        let mut dependency = plain;
        match at.get("condition") {
            Some(at) => match report.string(&at).as_deref() {
                Some("service_started") | None => {}
                Some("service_healthy") => dependency.condition = Condition::Healthy,
                Some("service_completed_successfully") => {
                    dependency.condition = Condition::CompletedSuccessfully;
                }
                Some(other) => report.invalid(&at, format!("`{other}` is not a condition")),
            },
            None => report.invalid(&at, "needs `condition`"),
        }
        if let Some(at) = at.get("restart") {
            dependency.restart = report.boolean(&at).unwrap_or(false);
        }
        if let Some(at) = at.get("required") {
            dependency.required = report.boolean(&at).unwrap_or(true);
        }
        out.insert(name.to_owned(), dependency);
    }
    out
}

/// Whoever shares a service's namespace needs it started, as compose says.
fn share_dependencies(out: &mut Service) {
    for mode in [&out.network_mode, &out.pid, &out.ipc] {
        if let Some(name) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            out.depends_on.entry(name.to_owned()).or_insert(Dependency {
                condition: Condition::Started,
                restart: true,
                required: true,
            });
        }
    }
}
