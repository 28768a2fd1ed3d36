//! Top-level `networks`, and a service's place in them.

use super::context::Context;
use super::cursor::Cursor;
use super::model::{IpamPool, Network, NetworkAttachment, Service};
use super::names::{is_host_name, is_key, is_resource_name};
use super::problems::Report;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Docker's own networks. Joining `host` by name would get round the policy.
const BUILT_IN: &[&str] = &["host", "none", "bridge"];

/// A top-level network.
pub(super) fn network(at: &Cursor<'_>, report: &mut Report) -> Network {
    let mut network = Network::default();
    report.map_or_null(at);
    if let Some(at) = at.get("name") {
        network.name = resource_name(&at, report);
        if network.name.as_deref().is_some_and(|name| BUILT_IN.contains(&name)) {
            report.not_permitted(&at, "one of Docker's own networks: use `network_mode`");
        }
    }
    network.external = external(at, &mut network.name, report);
    if network.external
        && network.name.is_none()
        && at.path.rsplit('.').next().is_some_and(|key| BUILT_IN.contains(&key))
    {
        report.not_permitted(at, "one of Docker's own networks: use `network_mode`");
    }
    if let Some(at) = at.get("driver")
        && let Some(driver) = report.string(&at)
    {
        if driver != "bridge" && driver != "default" && !driver.is_empty() {
            report.unsupported(&at, format!("the network driver `{driver}`: only `bridge`"));
        }
        network.driver = Some(driver).filter(|driver| driver == "bridge");
    }
    if let Some(at) = at.get("driver_opts") {
        network.driver_opts = report.options(&at);
    }
    for (key, field) in [
        ("internal", &mut network.internal),
        ("attachable", &mut network.attachable),
        ("enable_ipv6", &mut network.enable_ipv6),
    ] {
        if let Some(at) = at.get(key) {
            *field = report.boolean(&at).unwrap_or(false);
        }
    }
    if let Some(at) = at.get("labels") {
        network.labels = labels(&at, report);
    }
    if let Some(at) = at.get("ipam") {
        network.ipam = ipam(&at, report);
    }
    network
}

/// `name:` of a network or volume.
pub(super) fn resource_name(at: &Cursor<'_>, report: &mut Report) -> Option<String> {
    let name = report.text(at)?;
    if !is_resource_name(&name) {
        report.invalid(at, format!("`{name}` must be of letters, digits, `_`, `.` and `-`"));
        return None;
    }
    Some(name)
}

/// `external:` of a network or volume, in its old form too; nothing else may then be said of it.
pub(super) fn external(at: &Cursor<'_>, name: &mut Option<String>, report: &mut Report) -> bool {
    let Some(external) = at.get("external") else { return false };
    if external.is_map() {
        if let Some(old) = external.get("name") {
            report.warn(&old, "`external.name` is deprecated: use `name` and `external: true`");
            let old_name = resource_name(&old, report);
            if name.is_some() && old_name != *name {
                report.invalid(&old, "differs from `name`: keep only `name`");
            }
            *name = old_name;
        }
    } else if report.boolean(&external) != Some(true) {
        return false;
    }
    for (key, other) in at.entries() {
        if !matches!(key, "name" | "external") && !key.starts_with("x-") {
            report.invalid(&other, "cannot be said of an external one: remove it");
        }
    }
    true
}

/// Labels: a map or a list.
pub(super) fn labels(at: &Cursor<'_>, report: &mut Report) -> BTreeMap<String, String> {
    report
        .key_values(at)
        .into_iter()
        .map(|(key, value, _)| (key, value.unwrap_or_default()))
        .collect()
}

fn ipam(at: &Cursor<'_>, report: &mut Report) -> Vec<IpamPool> {
    report.map(at);
    if let Some(at) = at.get("driver")
        && let Some(driver) = report.string(&at)
        && driver != "default"
    {
        report.unsupported(&at, format!("the address driver `{driver}`: only `default`"));
    }
    let Some(config) = at.get("config") else { return Vec::new() };
    let mut pools = Vec::new();
    for item in report.list(&config) {
        report.map(&item);
        let mut text = |key: &str, is_right: fn(&str) -> bool, what: &str| {
            let at = item.get(key)?;
            let text = report.string(&at)?;
            if !is_right(&text) {
                report.invalid(&at, format!("`{text}` is not {what}"));
                return None;
            }
            Some(text)
        };
        let pool = IpamPool {
            subnet: text(
                "subnet",
                |text| parse_cidr(text).is_some(),
                "a subnet such as `10.1.0.0/24`",
            ),
            gateway: text("gateway", |text| text.parse::<IpAddr>().is_ok(), "an IP address"),
            ip_range: text(
                "ip_range",
                |text| parse_cidr(text).is_some(),
                "a range such as `10.1.0.0/28`",
            ),
        };
        pools.push(pool);
    }
    pools
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u32 = length.parse().ok().filter(|length| is_number && *length <= bits)?;
    Some((address, length))
}

fn contains(subnet: &str, address: Ipv4Addr) -> bool {
    let Some((IpAddr::V4(network), length)) = parse_cidr(subnet) else { return false };
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    u32::from(network) & mask == u32::from(address) & mask
}

/// Fills `networks` and `network_mode` of a service.
pub(super) fn attach(at: &Cursor<'_>, service: &mut Service, context: &mut Context<'_>) {
    let networks = at.get("networks");
    if let Some(mode) = at.get("network_mode") {
        if let Some(networks) = &networks
            && !(networks.entries().is_empty() && networks.items().is_empty())
        {
            context.report.invalid(networks, "excludes `network_mode`: remove one of the two");
        }
        service.network_mode = network_mode(&mode, context);
        if service.network_mode.as_deref().is_some_and(|mode| mode.starts_with("service:"))
            && !service.ports.is_empty()
            && let Some(ports) = at.get("ports")
        {
            context.report.invalid(&ports, "belong to the service whose network is shared");
        }
        return;
    }
    let Some(networks) = networks else {
        service.networks.insert("default".to_owned(), NetworkAttachment::default());
        return;
    };
    if networks.is_map() {
        for (key, at) in context.report.map(&networks) {
            let attachment = attachment(key, &at, context);
            service.networks.insert(key.to_owned(), attachment);
        }
    } else {
        for item in context.report.list(&networks) {
            if let Some(key) = context.report.text(&item) {
                check_declared(&key, &item, context);
                service.networks.insert(key, NetworkAttachment::default());
            }
        }
    }
}

fn check_declared(key: &str, at: &Cursor<'_>, context: &mut Context<'_>) {
    if !is_key(key) {
        context.report.invalid(at, format!("`{key}` is not the name of a network"));
    } else if key != "default" && !context.declared.networks.contains_key(key) {
        let message = format!("the network `{key}` is not declared under the top-level `networks`");
        context.report.invalid(at, message);
    }
}

fn attachment(key: &str, at: &Cursor<'_>, context: &mut Context<'_>) -> NetworkAttachment {
    check_declared(key, at, context);
    let declared = context.declared.networks.get(key);
    let report = &mut context.report;
    report.map_or_null(at);
    let mut out = NetworkAttachment::default();
    if let Some(at) = at.get("aliases") {
        for item in report.list(&at) {
            let Some(alias) = report.text(&item) else { continue };
            if !is_host_name(&alias) {
                report.invalid(&item, format!("`{alias}` is not a DNS name"));
            } else if !out.aliases.contains(&alias) {
                out.aliases.push(alias);
            }
        }
    }
    if let Some(at) = at.get("ipv4_address")
        && let Some(text) = report.string(&at)
    {
        match text.parse::<Ipv4Addr>() {
            Err(_) => report.invalid(&at, format!("`{text}` is not an IPv4 address")),
            Ok(address) => {
                let has_subnet = declared.is_some_and(|network| {
                    network.external
                        || network
                            .ipam
                            .iter()
                            .filter_map(|pool| pool.subnet.as_deref())
                            .any(|subnet| contains(subnet, address))
                });
                if !has_subnet {
                    let message = format!(
                        "`{text}` is in no subnet of the network `{key}`: give it one under `ipam.config`"
                    );
                    report.invalid(&at, message);
                }
                out.ipv4_address = Some(text);
            }
        }
    }
    if let Some(at) = at.get("ipv6_address")
        && let Some(text) = report.string(&at)
    {
        if text.parse::<Ipv6Addr>().is_err() {
            report.invalid(&at, format!("`{text}` is not an IPv6 address"));
        }
        out.ipv6_address = Some(text);
    }
    if let Some(at) = at.get("priority") {
        out.priority = report.integer(&at, -1_000_000..=1_000_000).unwrap_or(0);
    }
    out
}

fn network_mode(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<String> {
    let mode = context.report.text(at)?;
    match mode.as_str() {
        "none" | "bridge" => Some(mode),
        "host" => host_namespace(at, mode, context),
        _ => shared_namespace(at, mode, context),
    }
}

/// `host`, if policy permits.
pub(super) fn host_namespace(
    at: &Cursor<'_>,
    mode: String,
    context: &mut Context<'_>,
) -> Option<String> {
    if context.policy.host_namespaces {
        return Some(mode);
    }
    context.report.not_permitted(at, "the host's namespace: the device's policy must permit it");
    None
}

/// `service:<name>`; everything else is refused.
pub(super) fn shared_namespace(
    at: &Cursor<'_>,
    mode: String,
    context: &mut Context<'_>,
) -> Option<String> {
    if let Some(name) = mode.strip_prefix("service:") {
        if !context.declared.services.contains(name) {
            context.report.invalid(at, format!("the service `{name}` does not exist"));
            return None;
        }
        return Some(mode);
    }
    if mode.starts_with("container:") {
        let message = "another container's namespace: use `service:` with a service of this file";
        context.report.not_permitted(at, message);
    } else {
        context.report.unsupported(at, format!("the mode `{mode}`"));
    }
    None
}
