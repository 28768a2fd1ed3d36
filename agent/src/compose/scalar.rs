//! What a plain YAML scalar means, as compose's YAML reader (yaml.v3 of Go) sees it, and how Go prints numbers.
//!
//! `0123` is octal, `1_000` a thousand, `yes` a string, and `1.10` becomes the text `1.1` where a string is wanted:
//! suppliers test with compose, so the device must read the same values.

use super::yaml::Value;

/// The meaning of an untagged plain scalar.
///
/// # Errors
/// A text for a person: an unquoted date, or a number that is not finite.
pub(super) fn resolve_plain(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => {
            return Err(
                "infinity and not-a-number are not accepted: quote it if a string is meant",
            );
        }
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Ok(Value::Str(text.to_owned()));
    }
    if is_timestamp(text) {
        return Err("an unquoted date is read as a point in time: put it in quotes");
    }
    let plain = text.replace('_', "");
    if let Some(number) = parse_go_int(&plain) {
        return Ok(Value::Int(number));
    }
    if is_yaml_float(&plain)
        && let Ok(number) = plain.parse::<f64>()
        && number.is_finite()
    {
        return Ok(Value::Float(number));
    }
    Ok(Value::Str(text.to_owned()))
}

/// `strconv.ParseInt(text, 0, 64)`, then `ParseUint`: base from the prefix, a leading zero is octal.
fn parse_go_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    // `from_str_radix` takes a sign of its own.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { magnitude.checked_neg()? } else { magnitude };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number).then_some(number)
}

/// YAML's float form: digits, at most one point, an optional exponent; no `inf`, no `0x`.
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let has_mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            is_digits(whole) && is_digits(fraction) && (whole.len() + fraction.len() > 0)
        }
        None => !mantissa.is_empty() && is_digits(mantissa),
    };
    let has_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    has_mantissa && has_exponent
}

/// `2001-01-02`, alone or followed by a time: YAML's timestamp type.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ', '\t']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let is_number = |part: Option<&str>, lengths: std::ops::RangeInclusive<usize>| {
        part.is_some_and(|part| {
            lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    is_number(parts.next(), 4..=4)
        && is_number(parts.next(), 1..=2)
        && is_number(parts.next(), 1..=2)
        && parts.next().is_none()
        && (time.is_empty() || time.contains(':'))
}

/// The text Go's `fmt.Sprint` makes of a float (seen with compose 2.26): the shortest digits, with an exponent
/// below 1e-4 and from 1e6 on.
pub(super) fn float_text(number: f64) -> String {
    // Rust's `{:e}` gives the shortest digits too: `1.234567895e8`.
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    if (-4..EXPONENT_FORM_FROM).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Decimal exponent from which on Go prints an exponent.
const EXPONENT_FORM_FROM: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_compose_reads() {
        let int = Value::Int;
        let text = |text: &str| Value::Str(text.to_owned());
        for (input, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("Null", Value::Null),
            ("True", Value::Bool(true)),
            ("FALSE", Value::Bool(false)),
            ("yes", text("yes")),
            ("on", text("on")),
            ("no", text("no")),
            ("0", int(0)),
            ("12", int(12)),
            ("-12", int(-12)),
            ("+5", int(5)),
            ("0123", int(83)),
            ("0o17", int(15)),
            ("0x1F", int(31)),
            ("0b101", int(5)),
            ("1_000", int(1000)),
            ("09", Value::Float(9.0)),
            ("18446744073709551615", int(18_446_744_073_709_551_615)),
            ("18446744073709551616", Value::Float(18_446_744_073_709_551_616.0)),
            ("1.10", Value::Float(1.1)),
            (".5", Value::Float(0.5)),
            ("5.", Value::Float(5.0)),
            ("1e3", Value::Float(1000.0)),
            ("1.2.3", text("1.2.3")),
            ("1:30", text("1:30")),
            ("127.0.0.1", text("127.0.0.1")),
            ("-", text("-")),
            (".", text(".")),
            ("0x", text("0x")),
            ("--1", text("--1")),
            ("1e", text("1e")),
            ("1e999", text("1e999")),
            ("2001-01", text("2001-01")),
            ("10-20-30", text("10-20-30")),
        ] {
            assert_eq!(resolve_plain(input), Ok(expected), "{input:?}");
        }
    }

    #[test]
    fn dates_and_infinities_must_be_quoted() {
        for input in
            ["2001-01-02", "2001-1-2", "2001-12-14t21:59:43.10-05:00", ".inf", "-.Inf", ".nan"]
        {
            assert!(resolve_plain(input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (number, expected) in [
            (1.1, "1.1"),
            (1000.0, "1000"),
            (9.0, "9"),
            (0.5, "0.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (100_000.5, "100000.5"),
            (1e21, "1e+21"),
            (1e6, "1e+06"),
            (999_999.5, "999999.5"),
            (1_234_567.5, "1.2345675e+06"),
            (-2.5, "-2.5"),
            (12_345_678_901_234_567_890_123.0, "1.2345678901234568e+22"),
            (123_456_789.5, "1.234567895e+08"),
        ] {
            assert_eq!(float_text(number), expected);
        }
    }
}
