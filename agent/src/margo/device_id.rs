//! Device ids and the patterns by which a deployment names its target (R102).

use std::fmt;

/// Longest id or pattern, in bytes.
const BYTES_MAX: usize = 512;

/// Why a text is not a device id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a device id: letters, digits, `.`, `_`, `~`, `-`, levels separated by `/`"
)]
pub struct DeviceIdError {
    /// As given, cut.
    pub text: String,
}

/// A device's id, possibly with parents: `edge-01`, `gateway-01/edge-01`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(String);

impl DeviceId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// The text has a character outside the permitted ones, an empty level, or is too long.
    pub fn parse(text: &str) -> Result<Self, DeviceIdError> {
        if is_id(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(DeviceIdError { text: text.escape_debug().take(80).collect() })
    }

    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A deployment's target: one device, or (`gateway-01/*`) any device below a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePattern(String);

impl DevicePattern {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    /// As for [`DeviceId::parse`]; a `*` is only permitted as the last level.
    pub fn parse(text: &str) -> Result<Self, DeviceIdError> {
        DeviceId::parse(text.strip_suffix("/*").unwrap_or(text))
            .map(|_| Self(text.to_owned()))
            .map_err(|_| DeviceIdError { text: text.escape_debug().take(80).collect() })
    }

    /// True if this device is the target. A gateway is not below itself.
    pub fn matches(&self, device: &DeviceId) -> bool {
        match self.0.strip_suffix("/*") {
            None => self.0 == device.0,
            Some(parent) => device
                .0
                .strip_prefix(parent)
                .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/')),
        }
    }
}

impl fmt::Display for DevicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_id(text: &str) -> bool {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    text.len() <= BYTES_MAX
        && text.split('/').all(|level| {
            // Relative steps would be resolved away when the id becomes part of a URL.
            !level.is_empty() && level != "." && level != ".." && level.bytes().all(permitted)
        })
}
