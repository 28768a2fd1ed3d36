//! The `Retry-After` header: seconds, or an HTTP date (R202).

/// No server may silence a device for longer than this, in milliseconds.
pub(crate) const RETRY_AFTER_MS_MAX: u64 = 24 * 3600 * 1000;

/// The pause a header asks for, in milliseconds and capped. `now` is the answer's own `Date` if it has one, so that
/// a wrong device clock does not matter; else the device's, in seconds since 1970.
pub(crate) fn pause_ms(header: &str, now_unix_secs: u64) -> Option<u64> {
    let header = header.trim();
    let secs = if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit is a very long time.
        header.parse::<u64>().unwrap_or(u64::MAX)
    } else {
        parse_http_date(header)?.saturating_sub(now_unix_secs)
    };
    Some(secs.saturating_mul(1000).min(RETRY_AFTER_MS_MAX))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970; the two obsolete forms are not read.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let mut fields = text.trim().strip_suffix(" GMT")?.split_once(", ")?.1.split(' ');
    let day: u64 = digits(fields.next()?, 2)?;
    let month = match fields.next()? {
        "Jan" => 1,
        "Feb" => 2,
        "Mar" => 3,
        "Apr" => 4,
        "May" => 5,
        "Jun" => 6,
        "Jul" => 7,
        "Aug" => 8,
        "Sep" => 9,
        "Oct" => 10,
        "Nov" => 11,
        "Dec" => 12,
        _ => return None,
    };
    let year: u64 = digits(fields.next()?, 4)?;
    let mut clock = fields.next()?.split(':');
    let (hour, minute, second) =
        (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?, digits(clock.next()?, 2)?);
    let complete = clock.next().is_none() && fields.next().is_none();
    let in_range = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !complete || !in_range {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Days of the proleptic Gregorian calendar; years start in March so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    // Days from 0000-03-01 to 1970-01-01.
    days - 719_468
}
