//! Which of two firmware versions is the newer one.

use core::cmp::Ordering;

/// Compares two versions. Total, for any text.
///
/// A version is `1.2.3-rc.1+build`: what follows `+` does not count; dotted parts are compared from the left, those
/// of digits by their value and lower than any other, others by their bytes; missing parts are 0. With equal parts,
/// a version with a pre-release (`-`) is older than one without; pre-releases are compared part by part likewise,
/// only that one which is the beginning of the other is the older (as in SemVer 2.0).
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_core, a_pre) = split(a);
    let (b_core, b_pre) = split(b);
    core_parts(a_core, b_core).then_with(|| match (a_pre, b_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => pre_parts(a, b),
    })
}

fn split(version: &str) -> (&str, Option<&str>) {
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    match version.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (version, None),
    }
}

fn core_parts(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => part(a.unwrap_or("0"), b.unwrap_or("0")),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn pre_parts(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => part(a, b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn part(a: &str, b: &str) -> Ordering {
    match (number(a), number(b)) {
        // Without leading zeros the longer number is the greater; no width limits it.
        (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// The digits without leading zeros; an empty part counts as 0.
fn number(part: &str) -> Option<&str> {
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_as_people_expect() {
        let rising = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0",
            "1.0.1",
            "1.9",
            "1.10",
            "2.0-1",
            "2",
            "2026.11.3",
            "2026.11.21",
            "2026.11.21.1",
            "99999999999999999999999",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn some_that_look_different_are_equal() {
        for (a, b) in
            [("1", "1.0.0"), ("1.02", "1.2"), ("1.0+a", "1.0+b"), ("", "0"), ("1-a.0", "1-a.00")]
        {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }
}
