//! Byte sizes and durations, as the Docker tools read them.

/// A size such as `64m`, `1.5gb`, `10 MiB` or `1024`; base 1024. `None` if it is none.
pub(super) fn parse_size_bytes(text: &str) -> Option<i64> {
    let end_of_number = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, suffix) = text.split_at(end_of_number + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let suffix = suffix.to_ascii_lowercase();
    let unit = match suffix.strip_suffix("ib").or_else(|| suffix.strip_suffix('b')) {
        // `b` alone is bytes; `ib` alone is nothing.
        Some("") if suffix == "b" => "",
        Some("") => return None,
        Some(unit) => unit,
        None => suffix.as_str(),
    };
    let factor: f64 = match unit {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "p" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below 2^60 by the check; the fraction of a byte is dropped, as Docker does"
    )]
    (bytes < 1_152_921_504_606_846_976.0).then_some(bytes as i64)
}

/// A duration such as `1h2m3.5s`, `500ms` or `0`, in nanoseconds. `None` if it is none, or negative.
pub(super) fn parse_duration_ns(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(0);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total_ns = 0_i64;
    while !rest.is_empty() {
        let number_length =
            rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at(number_length);
        let unit_length =
            after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        total_ns = total_ns.checked_add(part_ns(number, unit)?)?;
        rest = after;
    }
    Some(total_ns)
}

/// One number with its unit, without going through floating point.
fn part_ns(number: &str, unit: &str) -> Option<i64> {
    let unit_ns: i64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total_ns = whole.checked_mul(unit_ns)?;
    // Digits beyond the 15th are below a nanosecond of any unit.
    let mut scale = i128::from(unit_ns) * 1_000_000_000_000_000;
    let mut fraction_scaled = 0_i128;
    for digit in fraction.bytes().take(15) {
        scale /= 10;
        fraction_scaled += i128::from(digit - b'0') * scale;
    }
    let fraction_ns = i64::try_from(fraction_scaled / 1_000_000_000_000_000).ok()?;
    total_ns = total_ns.checked_add(fraction_ns)?;
    Some(total_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1024),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64MiB", 64 << 20),
            ("1gb", 1 << 30),
            ("1.5g", 3 << 29),
            ("10 k", 10 << 10),
            ("7b", 7),
            ("1t", 1 << 40),
            ("0.5k", 512),
            (".5k", 512),
        ] {
            assert_eq!(parse_size_bytes(text), Some(expected), "{text}");
        }
        for text in [
            "", "m", "-1", "-1m", "1x", "1mm", "1ib", "1bb", "1e3", "1 2", "a1", "1..2", "9999p",
            "infk", "1  k",
        ] {
            assert_eq!(parse_size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("1ns", 1),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("+1s", 1_000_000_000),
            ("1s1s", 2_000_000_000),
            ("0.0000000001s", 0),
            ("1.123456789s", 1_123_456_789),
        ] {
            assert_eq!(parse_duration_ns(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "-1s",
            "1d",
            "1sm",
            ".s",
            "1..5s",
            "1s ",
            "9999999h",
            "99999999999999999999s",
            "1m30",
        ] {
            assert_eq!(parse_duration_ns(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in "[0-9a-zµ. +-]{0,24}") {
            let _ = (parse_size_bytes(&text), parse_duration_ns(&text));
        }
    }
}
