//! CPU, memory and process limits, from `deploy.resources` and from the older keys; `ulimits` and `devices`.

use super::context::Context;
use super::cursor::Cursor;
use super::model::{Device, Resources};
use super::policy::device_refusal;
use super::problems::Report;
use std::collections::BTreeMap;

/// Docker takes no less memory than 6 MiB.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// Reads all limits of a service. What both ways say must agree.
pub(super) fn resources(service: &Cursor<'_>, report: &mut Report) -> Resources {
    let mut out = Resources {
        nano_cpus: service.get("cpus").and_then(|at| nano_cpus(&at, report)),
        memory_bytes: service.get("mem_limit").and_then(|at| report.size_bytes(&at)),
        memory_reservation_bytes: service
            .get("mem_reservation")
            .and_then(|at| report.size_bytes(&at)),
        memory_swap_bytes: service.get("memswap_limit").and_then(|at| swap_bytes(&at, report)),
        pids: service.get("pids_limit").and_then(|at| report.integer(&at, -1..=4_194_304)),
        cpu_shares: service.get("cpu_shares").and_then(|at| report.integer(&at, 0..=262_144)),
        cpuset: service.get("cpuset").and_then(|at| cpuset(&at, report)),
    };
    if let Some(deploy) = service.get("deploy") {
        deploy_resources(&deploy, &mut out, report);
    }
    // Zero means no limit, to Docker as to compose.
    for limit in [
        &mut out.nano_cpus,
        &mut out.memory_bytes,
        &mut out.memory_reservation_bytes,
        &mut out.memory_swap_bytes,
        &mut out.pids,
        &mut out.cpu_shares,
    ] {
        *limit = limit.filter(|limit| *limit != 0);
    }
    check(service, &out, report);
    out
}

fn check(service: &Cursor<'_>, limits: &Resources, report: &mut Report) {
    if let Some(memory) = limits.memory_bytes {
        if memory < MEMORY_BYTES_MIN {
            report.invalid(service, "a memory limit below 6 MiB, which Docker does not take");
        }
        if limits.memory_reservation_bytes.is_some_and(|reserved| reserved > memory) {
            report.invalid(service, "reserves more memory than its limit");
        }
        if limits.memory_swap_bytes.is_some_and(|swap| swap > 0 && swap < memory) {
            report.invalid(
                service,
                "`memswap_limit` counts memory too: it is below the memory limit",
            );
        }
    } else if limits.memory_swap_bytes.is_some_and(|swap| swap > 0)
        && let Some(at) = service.get("memswap_limit")
    {
        report.invalid(&at, "needs a memory limit as well");
    }
}

fn deploy_resources(deploy: &Cursor<'_>, out: &mut Resources, report: &mut Report) {
    report.map_or_null(deploy);
    if let Some(at) = deploy.get("replicas") {
        report.integer(&at, 1..=1);
    }
    let Some(resources) = deploy.get("resources") else { return };
    report.map(&resources);
    if let Some(limits) = resources.get("limits") {
        report.map(&limits);
        if let Some(at) = limits.get("cpus") {
            let value = nano_cpus(&at, report);
            merge(&at, "cpus", &mut out.nano_cpus, value, report);
        }
        if let Some(at) = limits.get("memory") {
            let value = report.size_bytes(&at);
            merge(&at, "mem_limit", &mut out.memory_bytes, value, report);
        }
        if let Some(at) = limits.get("pids") {
            let value = report.integer(&at, 0..=4_194_304);
            merge(&at, "pids_limit", &mut out.pids, value, report);
        }
    }
    if let Some(reservations) = resources.get("reservations") {
        report.map(&reservations);
        if let Some(at) = reservations.get("memory") {
            let value = report.size_bytes(&at);
            merge(&at, "mem_reservation", &mut out.memory_reservation_bytes, value, report);
        }
        if let Some(at) = reservations.get("cpus") {
            report.decimal(&at);
            report.warn(&at, "Docker cannot reserve CPUs: no effect, as in compose");
        }
    }
}

fn merge(
    at: &Cursor<'_>,
    old_key: &str,
    slot: &mut Option<i64>,
    value: Option<i64>,
    report: &mut Report,
) {
    if let (Some(old), Some(new)) = (*slot, value)
        && old != new
    {
        report.invalid(at, format!("differs from `{old_key}`: keep one of the two"));
    }
    *slot = value.or(*slot);
}

fn nano_cpus(at: &Cursor<'_>, report: &mut Report) -> Option<i64> {
    let cpus = report.decimal(at)?;
    if cpus > 4096.0 {
        report.invalid(at, "more than 4096 CPUs");
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 4096e9 by the check; single precision is what compose computes with"
    )]
    Some((cpus as f32 * 1e9_f32) as i64)
}

fn swap_bytes(at: &Cursor<'_>, report: &mut Report) -> Option<i64> {
    if at.node.value == super::yaml::Value::Int(-1) { Some(-1) } else { report.size_bytes(at) }
}

/// `0-1,3`.
fn cpuset(at: &Cursor<'_>, report: &mut Report) -> Option<String> {
    let text = report.string(at)?;
    let is_number = |part: &str| part.parse::<u16>().is_ok_and(|number| number < 8192);
    let is_cpuset = text.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => is_number(first) && is_number(last),
        None => is_number(part),
    });
    if !is_cpuset {
        report.invalid(at, format!("`{text}` is not a list of CPUs such as `0-1,3`"));
        return None;
    }
    Some(text)
}

/// `ulimits:`: a number, or `soft` and `hard`.
pub(super) fn ulimits(at: &Cursor<'_>, report: &mut Report) -> BTreeMap<String, (i64, i64)> {
    let mut out = BTreeMap::new();
    for (name, at) in report.map(at) {
        const NAMES: &[&str] = &[
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ];
        if !NAMES.contains(&name) {
            report.invalid(&at, format!("`{name}` is not one of {}", NAMES.join(", ")));
            continue;
        }
        let (soft, hard) = if at.is_map() {
            let mut part = |key: &str| match at.get(key) {
                Some(at) => report.integer(&at, -1..=i64::MAX),
                None => {
                    report.invalid(&at, format!("needs `{key}`"));
                    None
                }
            };
            (part("soft"), part("hard"))
        } else {
            let both = report.integer(&at, -1..=i64::MAX);
            (both, both)
        };
        let (Some(soft), Some(hard)) = (soft, hard) else { continue };
        if hard != -1 && (soft > hard || soft == -1) {
            report.invalid(&at, "the soft limit is above the hard one");
        }
        out.insert(name.to_owned(), (soft, hard));
    }
    out
}

/// `devices:`: `host[:container[:permissions]]`.
pub(super) fn devices(at: &Cursor<'_>, context: &mut Context<'_>) -> Vec<Device> {
    let mut out: Vec<Device> = Vec::new();
    for item in context.report.list(at) {
        let report = &mut context.report;
        let Some(text) = report.text(&item) else { continue };
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, permissions) = match parts.as_slice() {
            [host] => (*host, *host, "rwm"),
            // Docker takes permissions in second place too.
            [host, second] if !second.starts_with('/') => (*host, *host, *second),
            [host, container] => (*host, *container, "rwm"),
            [host, container, permissions] => (*host, *container, *permissions),
            _ => ("", "", ""),
        };
        let is_permissions = !permissions.is_empty()
            && permissions.len() <= 3
            && permissions.bytes().all(|byte| b"rwm".contains(&byte));
        if !is_permissions || !host.starts_with('/') || !container.starts_with('/') {
            report.invalid(&item, format!("`{text}` is not `/host[:/container[:rwm]]`"));
            continue;
        }
        if let Some(why) = device_refusal(context.policy, host) {
            report.not_permitted(&item, why);
            continue;
        }
        let device = Device {
            host: host.to_owned(),
            container: container.to_owned(),
            permissions: permissions.to_owned(),
        };
        if !out.contains(&device) {
            out.push(device);
        }
    }
    out
}
