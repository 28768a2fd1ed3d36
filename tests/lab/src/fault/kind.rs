//! What can go wrong, with the text form used by commands and JSON (`status=503,retry-after=7`, `cut=100`, `hang`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Operation, Service};
use crate::naming::{ParseNameError, named};
use crate::pki::SvidDefect;

/// One kind of fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultKind {
    /// Answers with this HTTP status and does nothing else.
    Status {
        /// The HTTP status code, 400 to 599.
        code: u16,
        /// Value of `Retry-After` in seconds; no header when absent.
        retry_after_secs: Option<u32>,
    },
    /// Sends the answer's body at this rate.
    Slow {
        /// Bytes per second, at least 1.
        bytes_per_second: u32,
    },
    /// Takes the request and never answers, until the fault is cleared.
    Hang,
    /// Does what was asked, then breaks the connection after this many bytes of the answer's body; 0 sends no answer at all.
    Cut {
        /// Bytes of the body that still arrive.
        after_bytes: u64,
    },
    /// Accepts the TCP connection and closes it before anything is said (before TLS).
    Refuse,
    /// Leaves the `ETag` header out.
    NoEtag,
    /// Sends `text/html` as the content type.
    WrongContentType,
    /// Sends content that does not hash to the digest it was asked by; it stays well-formed where it can.
    WrongBytes,
    /// States wrong `sizeBytes` in the manifest; sticks to the version it was first served with (R130: advisory).
    WrongSize,
    /// Names a bundle with a correct digest that holds one file more than the manifest lists.
    ExtraFile,
    /// Serves the manifest of the version before, unchanged (R125).
    OldVersion,
    /// Serves the current version number with an empty desired state (R125: equal is not greater).
    EqualVersion,
    /// Serves a manifest that breaks a rule.
    Manifest(ManifestDefect),
    /// Presents a bad certificate on new connections.
    ServerSvid(SvidDefect),
    /// Serves a trust bundle without anchors (R065).
    EmptyBundle,
    /// Serves the trust bundle with a sequence number of one less (R066).
    LowerSequence,
}

named! {
    /// Which rule a bad manifest breaks.
    ManifestDefect, "manifest defect" {
        /// A deployment's digest uses `sha512` (R127).
        BadAlgorithm = "bad-algorithm",
        /// The first deployment is listed twice.
        DuplicateIds = "duplicate-ids",
        /// `bundle` is null though deployments are listed.
        NullBundle = "null-bundle",
        /// `bundle` is left out.
        MissingBundle = "missing-bundle",
        /// The version has a fraction.
        FloatVersion = "float-version",
        /// The version is 0.
        ZeroVersion = "zero-version",
        /// The body is not JSON.
        Garbage = "garbage",
        /// The body is valid JSON of 64 MiB.
        Oversize = "oversize",
    }
}

/// Why a fault's text was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ParseFaultError {
    /// No such kind.
    #[error("unknown fault `{text}`: one of {}", FaultKind::USAGE.join(", "))]
    UnknownKind {
        /// What was written.
        text: String,
    },
    /// The kind needs a value, or its value is no number in range.
    #[error("fault `{kind}` needs {needs}, not `{value}`")]
    BadValue {
        /// The kind.
        kind: &'static str,
        /// What it needs.
        needs: &'static str,
        /// What was written.
        value: String,
    },
    /// The value names nothing known.
    #[error(transparent)]
    Name(#[from] ParseNameError),
}

impl FaultKind {
    /// The text form of every kind, for help texts.
    pub const USAGE: &'static [&'static str] = &[
        "status=CODE[,retry-after=SECS]",
        "slow=BYTES_PER_SECOND",
        "hang",
        "cut=BYTES",
        "refuse",
        "no-etag",
        "wrong-content-type",
        "wrong-bytes",
        "wrong-size",
        "extra-file",
        "old-version",
        "equal-version",
        "manifest=DEFECT",
        "server-svid=DEFECT",
        "empty-bundle",
        "lower-sequence",
    ];

    /// Whether it acts when a connection opens rather than on a request.
    pub fn is_connection_level(&self) -> bool {
        matches!(self, Self::Refuse | Self::ServerSvid(_))
    }

    /// Whether it can act on this operation.
    pub fn applies_to(&self, operation: Operation) -> bool {
        match self {
            Self::Status { .. } | Self::Slow { .. } | Self::Hang | Self::Cut { .. } => true,
            Self::Refuse | Self::ServerSvid(_) => false,
            Self::NoEtag => matches!(
                operation,
                Operation::GetManifest
                    | Operation::GetBundle
                    | Operation::GetDeployment
                    | Operation::Discovery
                    | Operation::TrustBundle
            ),
            Self::WrongContentType => !matches!(
                operation,
                Operation::PutCapabilities
                    | Operation::DeleteCapabilities
                    | Operation::PostStatus
                    | Operation::Push
            ),
            Self::WrongBytes => matches!(
                operation,
                Operation::GetBundle
                    | Operation::GetDeployment
                    | Operation::PullBlob
                    | Operation::PullManifest
            ),
            Self::WrongSize
            | Self::ExtraFile
            | Self::OldVersion
            | Self::EqualVersion
            | Self::Manifest(_) => operation == Operation::GetManifest,
            Self::EmptyBundle | Self::LowerSequence => operation == Operation::TrustBundle,
        }
    }

    /// Whether it can act on any operation, or on the connections, of this server.
    pub fn applies_to_service(&self, service: Service) -> bool {
        match self {
            Self::Refuse => true,
            Self::ServerSvid(_) => service == Service::Wfm,
            _ => Operation::ALL
                .iter()
                .any(|operation| operation.service() == service && self.applies_to(*operation)),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, retry_after_secs: None } => write!(f, "status={code}"),
            Self::Status { code, retry_after_secs: Some(secs) } => {
                write!(f, "status={code},retry-after={secs}")
            }
            Self::Slow { bytes_per_second } => write!(f, "slow={bytes_per_second}"),
            Self::Hang => f.write_str("hang"),
            Self::Cut { after_bytes } => write!(f, "cut={after_bytes}"),
            Self::Refuse => f.write_str("refuse"),
            Self::NoEtag => f.write_str("no-etag"),
            Self::WrongContentType => f.write_str("wrong-content-type"),
            Self::WrongBytes => f.write_str("wrong-bytes"),
            Self::WrongSize => f.write_str("wrong-size"),
            Self::ExtraFile => f.write_str("extra-file"),
            Self::OldVersion => f.write_str("old-version"),
            Self::EqualVersion => f.write_str("equal-version"),
            Self::Manifest(defect) => write!(f, "manifest={defect}"),
            Self::ServerSvid(defect) => write!(f, "server-svid={defect}"),
            Self::EmptyBundle => f.write_str("empty-bundle"),
            Self::LowerSequence => f.write_str("lower-sequence"),
        }
    }
}

impl FromStr for FaultKind {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, value) = text.split_once('=').unwrap_or((text, ""));
        let plain = |parsed: Self| {
            if value.is_empty() {
                Ok(parsed)
            } else {
                Err(ParseFaultError::UnknownKind { text: text.to_owned() })
            }
        };
        match kind {
            "status" => status(value),
            "slow" => match value.parse() {
                Ok(bytes_per_second) if bytes_per_second > 0 => Ok(Self::Slow { bytes_per_second }),
                _ => Err(bad_value("slow", "bytes per second of at least 1", value)),
            },
            "cut" => value
                .parse()
                .map(|after_bytes| Self::Cut { after_bytes })
                .map_err(|_| bad_value("cut", "a number of bytes", value)),
            "manifest" => Ok(Self::Manifest(value.parse()?)),
            "server-svid" => Ok(Self::ServerSvid(value.parse()?)),
            "hang" => plain(Self::Hang),
            "refuse" => plain(Self::Refuse),
            "no-etag" => plain(Self::NoEtag),
            "wrong-content-type" => plain(Self::WrongContentType),
            "wrong-bytes" => plain(Self::WrongBytes),
            "wrong-size" => plain(Self::WrongSize),
            "extra-file" => plain(Self::ExtraFile),
            "old-version" => plain(Self::OldVersion),
            "equal-version" => plain(Self::EqualVersion),
            "empty-bundle" => plain(Self::EmptyBundle),
            "lower-sequence" => plain(Self::LowerSequence),
            _ => Err(ParseFaultError::UnknownKind { text: text.to_owned() }),
        }
    }
}

fn status(value: &str) -> Result<FaultKind, ParseFaultError> {
    let (code, rest) = value.split_once(',').unwrap_or((value, ""));
    let needs = "CODE from 400 to 599, optionally `,retry-after=SECS`";
    let parsed: u16 = code.parse().map_err(|_| bad_value("status", needs, value))?;
    if !(400..600).contains(&parsed) {
        return Err(bad_value("status", needs, value));
    }
    let retry_after_secs = match rest.strip_prefix("retry-after=") {
        Some(secs) => Some(secs.parse().map_err(|_| bad_value("status", needs, value))?),
        None if rest.is_empty() => None,
        None => return Err(bad_value("status", needs, value)),
    };
    Ok(FaultKind::Status { code: parsed, retry_after_secs })
}

fn bad_value(kind: &'static str, needs: &'static str, value: &str) -> ParseFaultError {
    ParseFaultError::BadValue { kind, needs, value: value.to_owned() }
}

impl TryFrom<String> for FaultKind {
    type Error = ParseFaultError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FaultKind> for String {
    fn from(kind: FaultKind) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_what_it_writes() {
        let mut kinds = vec![
            FaultKind::Status { code: 503, retry_after_secs: Some(7) },
            FaultKind::Status { code: 404, retry_after_secs: None },
            FaultKind::Slow { bytes_per_second: 10 },
            FaultKind::Hang,
            FaultKind::Cut { after_bytes: 0 },
            FaultKind::Refuse,
            FaultKind::NoEtag,
            FaultKind::WrongContentType,
            FaultKind::WrongBytes,
            FaultKind::WrongSize,
            FaultKind::ExtraFile,
            FaultKind::OldVersion,
            FaultKind::EqualVersion,
            FaultKind::EmptyBundle,
            FaultKind::LowerSequence,
        ];
        kinds.extend(ManifestDefect::ALL.iter().map(|defect| FaultKind::Manifest(*defect)));
        kinds.extend(SvidDefect::ALL.iter().map(|defect| FaultKind::ServerSvid(*defect)));
        for kind in kinds {
            assert_eq!(kind.to_string().parse::<FaultKind>().unwrap(), kind);
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in ["", "status", "status=200", "status=503,later", "slow=0", "cut=-1", "hang=1"] {
            assert!(text.parse::<FaultKind>().is_err(), "{text:?} was accepted");
        }
        let error = "manifest=odd".parse::<FaultKind>().unwrap_err().to_string();
        assert!(error.contains("`odd`") && error.contains("null-bundle"), "{error}");
    }
}
