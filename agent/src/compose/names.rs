//! Grammars of names: services, containers, volumes, images, signals, platforms.

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Keys of services, networks, volumes, configs and secrets.
pub(super) fn is_key(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Explicit names of containers, networks and volumes. A volume name that began with `/` would be a host path.
pub(super) fn is_resource_name(name: &str) -> bool {
    is_key(name) && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Host names and DNS names of a container.
pub(super) fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        })
}

/// `SIGTERM`, `TERM`, `SIGRTMIN+3` or `15`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    const NAMES: &[&str] = &[
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
        "RTMIN", "RTMAX",
    ];
    let is_real_time = ["RTMIN+", "RTMAX-"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .and_then(|number| number.parse::<u8>().ok())
            .is_some_and(|number| (1..=15).contains(&number))
    });
    NAMES.contains(&name) || is_real_time
}

/// `linux/arm64`, `linux/arm/v7` or `arm64`.
pub(super) fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    (1..=3).contains(&parts.len())
        && parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        })
}

/// What is wrong with an image reference, if anything: `[host[:port]/]path[:tag][@digest]`.
pub(super) fn image_fault(reference: &str) -> Option<&'static str> {
    if reference.len() > 512 {
        return Some("is longer than 512 bytes");
    }
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("has a digest that is not `sha256:` and 64 hexadecimal digits");
    }
    // A colon before the last slash belongs to the host's port.
    let path_start = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest.get(path_start..).and_then(|last| last.find(':')) {
        Some(at) => {
            let (name, tag) = rest.split_at(path_start + at);
            (name, Some(tag.get(1..).unwrap_or_default()))
        }
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("has a tag that is not of letters, digits, `_`, `.` and `-`");
    }
    let path = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            if !is_registry_host(first) {
                return Some("names a registry that is not a host name");
            }
            path
        }
        _ => name,
    };
    let is_path = !path.is_empty() && path.len() <= 255 && path.split('/').all(is_path_component);
    (!is_path).then_some("has a name that is not of lower-case letters, digits and separators")
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == digits && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_registry_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_port = port.is_none_or(|port| {
        !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
    });
    let is_name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .map_or_else(|| is_host_name(name), |v6| v6.parse::<std::net::Ipv6Addr>().is_ok());
    is_port && is_name
}

/// Runs of `[a-z0-9]` joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let has_ends = bytes.first().is_some_and(|byte| is_alphanumeric(*byte))
        && bytes.last().is_some_and(|byte| is_alphanumeric(*byte));
    has_ends
        && component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(
            |separator| {
                matches!(separator, "" | "." | "_" | "__")
                    || separator.bytes().all(|byte| byte == b'-')
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let digest = format!("x@sha256:{}", "a".repeat(64));
        for reference in [
            "busybox",
            "lab/busybox:1",
            "a.b/c:1.2-x_y",
            "localhost/x",
            "localhost:5000/x",
            "h:5000/a/b:latest",
            "10.0.0.1:5000/x",
            "[::1]:5000/x",
            "a/b/c/d",
            "a__b",
            "a--b",
            "a.b",
            "a_b",
            "lib",
            &digest,
            "registry.example:443/team/app:v1",
        ] {
            assert_eq!(image_fault(reference), None, "{reference}");
        }
        for reference in [
            "",
            ":1",
            "Busybox",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:.x",
            "a: b",
            "a b",
            "a@sha256:12",
            "a@md5:00",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "h:x/a",
            "a:b:c",
            "http://h/x",
            "../x",
            "a\nb",
            "é",
        ] {
            assert!(image_fault(reference).is_some(), "{reference:?}");
        }
        assert!(image_fault(&"a".repeat(600)).is_some());
    }

    #[test]
    fn names() {
        for (name, key, resource, host) in [
            ("a", true, true, true),
            ("A.b_c-1", true, true, true),
            ("_a", true, false, true),
            (".a", true, false, false),
            ("-a", true, false, false),
            ("", false, false, false),
            ("a/b", false, false, false),
            ("/etc", false, false, false),
            ("a b", false, false, false),
            ("é", false, false, false),
            ("a..b", true, true, false),
        ] {
            assert_eq!(
                (is_key(name), is_resource_name(name), is_host_name(name)),
                (key, resource, host),
                "{name}"
            );
        }
    }

    #[test]
    fn signals_and_platforms() {
        for text in ["SIGTERM", "TERM", "sigkill", "15", "SIGRTMIN+3", "RTMAX-1", "USR1"] {
            assert!(is_signal(text), "{text}");
        }
        for text in ["", "SIGNOPE", "0", "99", "-1", "RTMIN+99", "SIG TERM"] {
            assert!(!is_signal(text), "{text}");
        }
        assert!(is_platform("linux/arm64") && is_platform("linux/arm/v7") && is_platform("arm64"));
        assert!(!is_platform("") && !is_platform("linux/") && !is_platform("a/b/c/d"));
    }
}
