//! What goes wrong on the engine, and what the state machine is told about it.

use bollard::errors::Error as Docker;
use state_machine::failure::{Code, Failure, FailureClass};
use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;

/// An operation on the engine failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No answer: socket missing, connection refused or broken, or the request timed out.
    #[error("container engine does not answer: {doing}")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// The transport's error.
        #[source]
        source: Box<Docker>,
    },
    /// The engine answered with an error that has no better name.
    #[error("container engine failed: {doing}")]
    Api {
        /// What was being done.
        doing: String,
        /// The engine's answer.
        #[source]
        source: Box<Docker>,
    },
    /// The engine's storage is full.
    #[error("no space left on the engine's storage: {doing}")]
    NoSpace {
        /// What was being done.
        doing: String,
        /// The engine's answer.
        #[source]
        source: Box<Docker>,
    },
    /// An image could not be pulled.
    #[error("pull image `{reference}` ({problem}): {detail}")]
    Pull {
        /// The reference that was asked for.
        reference: String,
        /// What kind of problem.
        problem: PullProblem,
        /// The engine's or registry's words.
        detail: String,
    },
    /// The image of a service is not on this device.
    #[error("service `{service}`: image {image} is not on this device")]
    ImageMissing {
        /// The service.
        service: String,
        /// Content id, or the reference when no id was given.
        image: String,
    },
    /// A container, network or volume could not be made or started.
    #[error("{what} could not be made or started")]
    Start {
        /// The object, for example "container of service `web`".
        what: String,
        /// The engine's answer.
        #[source]
        source: Box<Docker>,
    },
    /// Somebody else's object holds a name that we need. It is not touched.
    #[error("{kind} name `{name}` is held by {holder}")]
    NameTaken {
        /// `container`, `network` or `volume`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Who holds it.
        holder: String,
    },
    /// A network or volume declared `external` does not exist.
    #[error("external {kind} `{name}` does not exist on this device")]
    ExternalMissing {
        /// `network` or `volume`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A host path is not permitted.
    #[error("{what}: host path `{}` is not permitted: {reason}", path.display())]
    HostPath {
        /// Who wanted it.
        what: String,
        /// The path as written.
        path: PathBuf,
        /// Which rule it breaks.
        reason: String,
    },
    /// A file of the archive cannot be mounted.
    #[error("service `{service}`: file `{}` of the archive cannot be mounted", path.display())]
    ArchiveFile {
        /// The service.
        service: String,
        /// Path in the archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The project contradicts itself; the loader should have refused it.
    #[error("service `{service}`: {reason}")]
    Project {
        /// The service.
        service: String,
        /// What is wrong.
        reason: String,
    },
    /// A container exited with an error during start-up (R154).
    #[error("service `{service}` exited with code {exit_code} during start-up; last output: {log}")]
    Exited {
        /// The service.
        service: String,
        /// Its exit code.
        exit_code: i64,
        /// Its last lines of output.
        log: String,
    },
    /// A container's health check fails.
    #[error("service `{service}` is unhealthy: {detail}")]
    Unhealthy {
        /// The service.
        service: String,
        /// The check's last output.
        detail: String,
    },
    /// The component did not come up in time (R152).
    #[error("service `{service}` was still {state} after {timeout_ms} ms")]
    StartTimeout {
        /// The first service that was not ready.
        service: String,
        /// What it was doing.
        state: String,
        /// The limit.
        timeout_ms: u64,
    },
    /// Some objects could not be removed; all others were.
    #[error("could not remove {}", failures.join("; "))]
    Remove {
        /// One text for each object that is left.
        failures: Vec<String>,
    },
    /// Something local failed (not the engine).
    #[error("{doing}")]
    Local {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Why a pull failed, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullProblem {
    /// The registry has no such image, or none for this platform.
    NotFound,
    /// The registry refused our credentials, or asked for some.
    Auth,
    /// The device is full.
    NoSpace,
    /// The registry could not be reached or trusted.
    Network,
    /// The transfer stopped in the middle.
    Cut,
    /// The text is no image reference.
    BadReference,
    /// The content is not what its digest promised.
    Digest,
    /// Something else.
    Other,
}

impl fmt::Display for PullProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Auth => "not authorised",
            Self::NoSpace => "no space",
            Self::Network => "registry unreachable",
            Self::Cut => "transfer cut",
            Self::BadReference => "not an image reference",
            Self::Digest => "wrong digest",
            Self::Other => "failed",
        })
    }
}

impl EngineError {
    /// Wraps an error of a call that makes or starts nothing.
    pub(crate) fn api(doing: impl Into<String>, source: Docker) -> Self {
        let (doing, source) = (doing.into(), Box::new(source));
        match &*source {
            error if is_transport(error) => Self::Unavailable { doing, source },
            error if is_no_space(error) => Self::NoSpace { doing, source },
            _ => Self::Api { doing, source },
        }
    }

    /// Wraps an error of a call that makes or starts `what`.
    pub(crate) fn start(what: impl Into<String>, source: Docker) -> Self {
        let (what, source) = (what.into(), Box::new(source));
        match &*source {
            error if is_transport(error) => Self::Unavailable { doing: what, source },
            error if is_no_space(error) => Self::NoSpace { doing: what, source },
            _ => Self::Start { what, source },
        }
    }

    /// The whole chain of causes on one line, for people.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let part = error.to_string();
            // Transparent wrappers repeat their source's text.
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            next = error.source();
        }
        text
    }

    /// What the state machine gets: a class, a stable code, and a text for people.
    pub fn to_failure(&self) -> Failure {
        let failure = |code| Failure::new(code, self.chain());
        match self {
            Self::Unavailable { .. } => failure(Code::EngineUnavailable),
            Self::NoSpace { .. } => failure(Code::NoSpace),
            Self::Pull { problem, .. } => match problem {
                PullProblem::NotFound => failure(Code::ArtifactNotFound),
                PullProblem::Auth => failure(Code::ArtifactAuthFailed),
                PullProblem::NoSpace => failure(Code::NoSpace),
                PullProblem::Network | PullProblem::Cut | PullProblem::Other => {
                    failure(Code::ArtifactPullFailed)
                }
                PullProblem::BadReference => {
                    failure(Code::ComposeInvalid).with_class(FailureClass::Refused)
                }
                PullProblem::Digest => failure(Code::ArtifactDigestMismatch),
            },
            Self::ImageMissing { .. } => failure(Code::ArtifactLost),
            Self::Start { .. }
            | Self::NameTaken { .. }
            | Self::ExternalMissing { .. }
            | Self::Exited { .. } => failure(Code::StartFailed),
            Self::HostPath { .. } | Self::Project { .. } => {
                failure(Code::StartFailed).with_class(FailureClass::Refused)
            }
            Self::ArchiveFile { .. } => failure(Code::ArtifactLost),
            Self::Unhealthy { .. } => failure(Code::Unhealthy),
            Self::StartTimeout { .. } => failure(Code::StartTimeout),
            Self::Remove { .. } => failure(Code::RemoveFailed),
            Self::Api { .. } | Self::Local { .. } => failure(Code::Internal),
        }
    }
}

/// The engine did not answer, as opposed to answering with an error.
pub(crate) fn is_transport(error: &Docker) -> bool {
    matches!(
        error,
        Docker::SocketNotFoundError(_)
            | Docker::RequestTimeoutError
            | Docker::IOError { .. }
            | Docker::HyperResponseError { .. }
            | Docker::HyperLegacyError { .. }
    )
}

/// The HTTP status of an answer, if there was one.
pub(crate) fn status(error: &Docker) -> Option<u16> {
    match error {
        Docker::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words, else the error's.
pub(crate) fn message(error: &Docker) -> String {
    match error {
        Docker::DockerResponseServerError { message, .. } => message.clone(),
        Docker::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

fn is_no_space(error: &Docker) -> bool {
    message(error).contains("no space left on device")
}

/// Sorts a pull's error by the texts of engine and registries; there are no codes for it.
pub(crate) fn pull_problem(error: &Docker) -> PullProblem {
    if is_transport(error) {
        return PullProblem::Cut;
    }
    classify_pull(status(error), &message(error))
}

fn classify_pull(status: Option<u16>, message: &str) -> PullProblem {
    let text = message.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if has(&["no space left on device"]) {
        PullProblem::NoSpace
    } else if has(&["unauthorized", "denied", "authentication required", "no basic auth"]) {
        PullProblem::Auth
    } else if has(&["verification failed", "did not match", "digest mismatch", "unexpected digest"])
    {
        PullProblem::Digest
    } else if has(&[
        "manifest unknown",
        "not found",
        "no matching manifest",
        "does not match",
        "unknown blob",
    ]) {
        PullProblem::NotFound
    } else if has(&["eof", "connection reset", "broken pipe", "context canceled", "unexpected end"])
    {
        PullProblem::Cut
    } else if has(&[
        "connection refused",
        "no such host",
        "timeout",
        "tls:",
        "x509",
        "http response",
    ]) || has(&["unreachable", "deadline exceeded", "dial tcp", "server misbehaving"])
    {
        PullProblem::Network
    } else if status == Some(404) {
        PullProblem::NotFound
    } else {
        PullProblem::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_errors_are_told_apart() {
        for (status, text, expected) in [
            (
                Some(404),
                "manifest for a:1 not found: manifest unknown: manifest unknown",
                PullProblem::NotFound,
            ),
            (
                Some(404),
                "pull access denied for a, repository does not exist or may require 'docker login'",
                PullProblem::Auth,
            ),
            (
                Some(500),
                "Head \"https://r.example/v2/a/manifests/1\": no basic auth credentials",
                PullProblem::Auth,
            ),
            (
                Some(500),
                "Get \"https://r.example/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
                PullProblem::Network,
            ),
            (
                Some(500),
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
                PullProblem::Network,
            ),
            (
                Some(500),
                "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority",
                PullProblem::Network,
            ),
            (None, "write /data/tmp/GetImageBlob1: no space left on device", PullProblem::NoSpace),
            (None, "unexpected EOF", PullProblem::Cut),
            (
                None,
                "filesystem layer verification failed for digest sha256:12",
                PullProblem::Digest,
            ),
            (
                None,
                "no matching manifest for linux/arm64 in the manifest list entries",
                PullProblem::NotFound,
            ),
            (Some(418), "teapot", PullProblem::Other),
        ] {
            assert_eq!(classify_pull(status, text), expected, "{text}");
        }
    }

    #[test]
    fn failures_carry_code_class_and_cause() {
        let refused = Docker::IOError { err: std::io::Error::other("connection refused") };
        let failure = EngineError::api("list containers", refused).to_failure();
        assert_eq!(failure.code, Code::EngineUnavailable);
        assert_eq!(failure.class, FailureClass::Retryable);
        assert_eq!(
            failure.message,
            "container engine does not answer: list containers: connection refused"
        );

        let server = |status_code, message: &str| Docker::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        let full = EngineError::start("x", server(500, "mkdir /d: no space left on device"));
        assert_eq!(full.to_failure().code, Code::NoSpace);
        let port = EngineError::start(
            "container of service `web`",
            server(500, "port is already allocated"),
        );
        assert_eq!(port.to_failure().code, Code::StartFailed);
        assert!(port.to_failure().message.contains("port is already allocated"));
        let path = EngineError::HostPath {
            what: "service `web`".to_owned(),
            path: "/etc".into(),
            reason: "x".to_owned(),
        };
        assert_eq!(path.to_failure().class, FailureClass::Refused);
    }
}
