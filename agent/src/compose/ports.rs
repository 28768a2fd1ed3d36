//! `ports:` and `expose:`.

use super::cursor::{Cursor, ITEMS_MAX};
use super::model::Port;
use super::problems::Report;
use super::yaml::Value;
use std::net::IpAddr;

/// `ports:` of a service: every entry expanded to single container ports; repeated ones are dropped.
pub(super) fn ports(at: &Cursor<'_>, report: &mut Report) -> Vec<Port> {
    let mut out: Vec<Port> = Vec::new();
    for item in report.list(at) {
        let expanded = if item.is_map() { long(&item, report) } else { short(&item, report) };
        for port in expanded {
            if !out.contains(&port) {
                out.push(port);
            }
        }
    }
    if out.len() > ITEMS_MAX {
        report.invalid(at, format!("{} ports; at most {ITEMS_MAX} are accepted", out.len()));
        out.truncate(ITEMS_MAX);
    }
    out
}

fn short(at: &Cursor<'_>, report: &mut Report) -> Vec<Port> {
    let text = match &at.node.value {
        Value::Int(number) => number.to_string(),
        _ => match report.string(at) {
            Some(text) => text,
            None => return Vec::new(),
        },
    };
    match parse_short(&text) {
        Ok(ports) => ports,
        Err(why) => {
            report.invalid(at, format!("`{text}`: {why}"));
            Vec::new()
        }
    }
}

/// `[[ip:][published]:]target[/protocol]`; published and target may be ranges.
fn parse_short(text: &str) -> Result<Vec<Port>, String> {
    let (address, protocol) = match text.split_once('/') {
        Some((address, "")) => (address, "tcp"),
        Some((address, protocol)) => (address, protocol),
        None => (text, "tcp"),
    };
    let protocol = parse_protocol(protocol)?;
    let (rest, target) = match address.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, address),
    };
    let (host_ip, published) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        None => ("", ""),
        Some(Err(published)) => ("", published),
        Some(Ok((host_ip, published))) => (host_ip, published),
    };
    if target.is_empty() {
        return Err("has no container port".to_owned());
    }
    let host_ip = parse_host_ip(host_ip)?;
    let (first, last) = parse_range(target)?;
    if first == 0 {
        return Err("the container port cannot be 0".to_owned());
    }
    let host = if published.is_empty() { None } else { Some(parse_range(published)?) };
    if let Some((host_first, host_last)) = host
        && host_last - host_first != last - first
        && first != last
    {
        return Err("the ranges differ in length".to_owned());
    }
    let port = |target: u16| {
        let published = match host {
            None => String::new(),
            // One container port with a range: one of these.
            Some((low, high)) if first == last && low != high => format!("{low}-{high}"),
            Some((low, _)) => (u32::from(low) + u32::from(target - first)).to_string(),
        };
        Port { host_ip: host_ip.clone(), published, target, protocol: protocol.clone() }
    };
    if usize::from(last - first) >= ITEMS_MAX {
        return Err(format!("a range of more than {ITEMS_MAX} ports"));
    }
    Ok((first..=last).map(port).collect())
}

fn parse_protocol(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "tcp" | "udp" | "sctp") {
        Ok(lower)
    } else {
        Err(format!("`{text}` is not tcp, udp or sctp"))
    }
}

fn parse_host_ip(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|_| bare.to_owned())
        .map_err(|_| format!("`{text}` is not an IP address"))
}

/// `80` or `80-90`.
fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number
            .then(|| part.parse::<u16>().ok())
            .flatten()
            .ok_or_else(|| format!("`{part}` is not a port number"))
    };
    match text.split_once('-') {
        None => parse(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (parse(first)?, parse(last)?);
            if last < first {
                Err(format!("the range `{text}` is reversed"))
            } else {
                Ok((first, last))
            }
        }
    }
}

fn long(at: &Cursor<'_>, report: &mut Report) -> Vec<Port> {
    let target = match at.get("target") {
        Some(target) => report.integer(&target, 1..=65_535),
        None => {
            report.invalid(at, "needs `target`, the container's port");
            None
        }
    };
    let published = at.get("published").and_then(|at| {
        let text = match &at.node.value {
            Value::Int(number) => number.to_string(),
            _ => report.string(&at)?,
        };
        if text.is_empty() {
            return Some(text);
        }
        parse_range(&text).map_err(|why| report.invalid(&at, why)).ok().map(|_| text)
    });
    let host_ip = at.get("host_ip").and_then(|at| {
        let text = report.string(&at)?;
        parse_host_ip(&text).map_err(|why| report.invalid(&at, why)).ok()
    });
    let protocol = match at.get("protocol") {
        None => Some("tcp".to_owned()),
        Some(at) => report
            .string(&at)
            .and_then(|text| parse_protocol(&text).map_err(|why| report.invalid(&at, why)).ok()),
    };
    for key in ["mode", "name", "app_protocol"] {
        if let Some(at) = at.get(key) {
            report.string(&at);
        }
    }
    let (Some(target), Some(protocol)) = (target, protocol) else { return Vec::new() };
    let Ok(target) = u16::try_from(target) else { return Vec::new() };
    vec![Port {
        host_ip: host_ip.unwrap_or_default(),
        published: published.unwrap_or_default(),
        target,
        protocol,
    }]
}

/// `expose:` of a service, as `80/tcp`; ranges are expanded.
pub(super) fn expose(at: &Cursor<'_>, report: &mut Report) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for item in report.list(at) {
        let text = match &item.node.value {
            Value::Int(number) => number.to_string(),
            _ => match report.string(&item) {
                Some(text) => text,
                None => continue,
            },
        };
        let (range, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        let parsed = parse_protocol(protocol).and_then(|protocol| {
            let (first, last) = parse_range(range)?;
            if first == 0 || usize::from(last - first) >= ITEMS_MAX {
                return Err(format!("not between 1 and 65535, or more than {ITEMS_MAX} ports"));
            }
            Ok((first, last, protocol))
        });
        match parsed {
            Ok((first, last, protocol)) => {
                for port in first..=last {
                    let exposed = format!("{port}/{protocol}");
                    if !out.contains(&exposed) {
                        out.push(exposed);
                    }
                }
            }
            Err(why) => report.invalid(&item, format!("`{text}`: {why}")),
        }
    }
    out.truncate(ITEMS_MAX);
    out
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;
    use proptest::prelude::*;

    fn shown(port: &Port) -> String {
        format!("{}|{}|{}|{}", port.host_ip, port.published, port.target, port.protocol)
    }

    fn read(yaml: &str) -> (Vec<String>, Vec<(String, String)>) {
        let node = yaml::parse(yaml).unwrap();
        let mut report = Report::default();
        let ports = ports(&Cursor { node: &node, path: "p".to_owned() }, &mut report);
        let problems = report.problems.into_iter().map(|p| (p.path, p.message)).collect();
        (ports.iter().map(shown).collect(), problems)
    }

    #[test]
    fn accepted() {
        for (yaml, expected) in [
            ("[80]", &["||80|tcp"][..]),
            ("['80']", &["||80|tcp"]),
            ("['8080:80']", &["|8080|80|tcp"]),
            ("['8080:80/udp']", &["|8080|80|udp"]),
            ("['8080:80/UDP']", &["|8080|80|udp"]),
            ("['8080:80/']", &["|8080|80|tcp"]),
            ("['127.0.0.1:8080:80']", &["127.0.0.1|8080|80|tcp"]),
            ("['127.0.0.1::80']", &["127.0.0.1||80|tcp"]),
            ("['[::1]:8080:80']", &["::1|8080|80|tcp"]),
            ("['::1:8080:80']", &["::1|8080|80|tcp"]),
            ("['8000-8002:80-82']", &["|8000|80|tcp", "|8001|81|tcp", "|8002|82|tcp"]),
            ("['80-81']", &["||80|tcp", "||81|tcp"]),
            ("['8000-8010:80']", &["|8000-8010|80|tcp"]),
            ("['0:80']", &["|0|80|tcp"]),
            ("[80, '80', '80/tcp']", &["||80|tcp"]),
            ("[{target: 80}]", &["||80|tcp"]),
            ("[{target: '80', published: 8080}]", &["|8080|80|tcp"]),
            (
                "[{target: 80, published: '8000-8010', protocol: udp, host_ip: 10.0.0.1, mode: host, name: x, app_protocol: http}]",
                &["10.0.0.1|8000-8010|80|udp"],
            ),
        ] {
            let (ports, problems) = read(yaml);
            assert_eq!(
                (ports.as_slice(), problems),
                (expected.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>().as_slice(), vec![]),
                "{yaml}"
            );
        }
    }

    #[test]
    fn refused() {
        for (yaml, path, part) in [
            ("80", "p", "must be a list"),
            ("['80', '']", "p[1]", "no container port"),
            ("['x']", "p[0]", "not a port number"),
            ("['99999']", "p[0]", "not a port number"),
            ("['0']", "p[0]", "cannot be 0"),
            ("['8080:']", "p[0]", "no container port"),
            ("['8000-8001:80-85']", "p[0]", "differ in length"),
            ("['90-80']", "p[0]", "reversed"),
            ("['80/icmp']", "p[0]", "not tcp, udp or sctp"),
            ("['host:8080:80']", "p[0]", "not an IP address"),
            ("['1-60000']", "p[0]", "more than"),
            ("['+80']", "p[0]", "not a port number"),
            ("[1.5]", "p[0]", "must be a string"),
            ("[{}]", "p[0]", "needs `target`"),
            ("[{target: 0}]", "p[0].target", "not between"),
            ("[{target: 80, published: x}]", "p[0].published", "not a port number"),
            ("[{target: 80, host_ip: x}]", "p[0].host_ip", "not an IP"),
            ("[{target: 80, protocol: x}]", "p[0].protocol", "not tcp"),
            ("[{target: 80-90}]", "p[0].target", "whole number"),
        ] {
            let (_, problems) = read(yaml);
            let (at, message) = problems.first().unwrap_or_else(|| panic!("{yaml}"));
            assert!(at == path && message.contains(part), "{yaml}: {at}: {message}");
        }
    }

    #[test]
    fn exposed() {
        let node = yaml::parse("[80, '90/udp', '3000-3001', 80]").unwrap();
        let mut report = Report::default();
        let at = Cursor { node: &node, path: "e".to_owned() };
        assert_eq!(expose(&at, &mut report), ["80/tcp", "90/udp", "3000/tcp", "3001/tcp"]);
        assert_eq!(report.problems, []);
        let node = yaml::parse("[x, 0, '1/x']").unwrap();
        expose(&Cursor { node: &node, path: "e".to_owned() }, &mut report);
        let paths: Vec<_> = report.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["e[0]", "e[1]", "e[2]"]);
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in "[0-9a-z:./\\[\\]-]{0,40}") {
            let _ = parse_short(&text);
        }
    }
}
