//! What a text value must look like. A rule answers with the reason it is broken, for the error message.

use std::fmt;
use std::path::Path;

/// Longest text value, in bytes (I11).
pub(super) const TEXT_SIZE_BYTES_MAX: usize = 4096;

/// A rule for text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Any text that is not empty and has no control characters.
    Any,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path from the root.
    AbsolutePath,
    /// `https://host[:port][/path]`.
    HttpsUrl,
    /// The same, or `http://`.
    HttpUrl,
    /// `host` or `host:port`, as it stands in image references.
    RegistryHost,
    /// A Margo device id.
    DeviceId,
    /// A size with a binary unit, as Margo writes it.
    Quantity,
    /// `HH:MM-HH:MM`.
    DailyRange,
    /// The name of a user group.
    Group,
    /// A Linux capability without `CAP_`, or `ALL`.
    Capability,
    /// A path prefix under `/dev/`.
    DevicePrefix,
}

impl Rule {
    /// Checks a text.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("it must not be empty".into());
        }
        if text.len() > TEXT_SIZE_BYTES_MAX {
            return Err(format!("it is longer than {TEXT_SIZE_BYTES_MAX} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("it contains control characters".into());
        }
        let is_good = match self {
            Self::Any => true,
            Self::Choice(words) => words.contains(&text),
            Self::AbsolutePath => is_absolute_path(text),
            Self::HttpsUrl => is_url(text, &["https"]),
            Self::HttpUrl => is_url(text, &["https", "http"]),
            Self::RegistryHost => is_registry_host(text),
            Self::DeviceId => is_device_id(text),
            Self::Quantity => is_quantity(text),
            Self::DailyRange => DailyRange::parse(text).is_some(),
            Self::Group => is_group(text),
            Self::Capability => {
                !text.starts_with("CAP_")
                    && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            }
            Self::DevicePrefix => text.starts_with("/dev/") && is_absolute_path(text),
        };
        if is_good { Ok(()) } else { Err(format!("it must be {self}")) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("a text"),
            Self::Choice(words) => {
                f.write_str("one of ")?;
                for (index, word) in words.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}\"{word}\"")?;
                }
                Ok(())
            }
            Self::AbsolutePath => f.write_str("an absolute path without '..'"),
            Self::HttpsUrl => f.write_str("a URL like \"https://wfm.example.com\""),
            Self::HttpUrl => f.write_str("a URL like \"http://collector:4318\""),
            Self::RegistryHost => f.write_str("a host like \"registry.example.com:5000\""),
            Self::DeviceId => f.write_str(
                "made of letters, digits and \".\", \"_\", \"~\", \"-\", with \"/\" between parts",
            ),
            Self::Quantity => f.write_str("a size like \"16Gi\" (Ki, Mi, Gi, Ti, Pi or Ei)"),
            Self::DailyRange => f.write_str("a time range like \"22:00-06:00\" (UTC)"),
            Self::Group => f.write_str("the name of a group"),
            Self::Capability => {
                f.write_str("a capability like \"NET_ADMIN\" (without \"CAP_\"), or \"ALL\"")
            }
            Self::DevicePrefix => f.write_str("a path prefix under /dev/"),
        }
    }
}

fn is_absolute_path(text: &str) -> bool {
    text.starts_with('/') && !Path::new(text).components().any(|part| part.as_os_str() == "..")
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        schemes.contains(&url.scheme())
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn is_registry_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host_byte =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':');
    !host.is_empty()
        && host.bytes().all(is_host_byte)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// R102: `^[A-Za-z0-9._~-]+(\/[A-Za-z0-9._~-]+)*$`.
fn is_device_id(text: &str) -> bool {
    text.split('/').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
    })
}

fn is_quantity(text: &str) -> bool {
    ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().any(|unit| {
        text.strip_suffix(unit).is_some_and(|number| number.parse::<u32>().is_ok_and(|n| n > 0))
    })
}

fn is_group(text: &str) -> bool {
    text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A part of every day, in UTC. It may run over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyRange {
    /// First minute of the day inside, 0 to 1439.
    pub start_minute: u16,
    /// First minute of the day outside, 0 to 1440; not above `start_minute` = the next day.
    pub end_minute: u16,
}

impl DailyRange {
    /// Reads `HH:MM-HH:MM`; `24:00` may end a range. A range of no length is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let (start, end) = text.split_once('-')?;
        let (start_minute, end_minute) = (minute_of_day(start)?, minute_of_day(end)?);
        (start_minute < 1440 && start_minute != end_minute)
            .then_some(Self { start_minute, end_minute })
    }

    /// Whether a minute of the day (0 to 1439) is inside.
    pub const fn contains(self, minute: u16) -> bool {
        if self.start_minute < self.end_minute {
            self.start_minute <= minute && minute < self.end_minute
        } else {
            self.start_minute <= minute || minute < self.end_minute
        }
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (hour, minute): (u16, u16) = (two_digits(hour)?, two_digits(minute)?);
    let total = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && total <= 1440).then_some(total)
}
