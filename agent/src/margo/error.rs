//! Everything that can go wrong between the device and its WFM, told apart by what the device should do.

use super::bundle::BundleError;
use super::http::SetupError;
use super::manifest::ManifestError;
use super::problem::Problem;
use crate::identity::{VerifyError, error_chain};
use rustls::{AlertDescription, CertificateError};
use state_machine::failure::{Code, Failure, FailureClass};
use state_machine::ids::Digest;
use std::error::Error;
use std::fmt;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `PUT /capabilities/…`.
    PutCapabilities,
    /// `GET /deployments`.
    Poll,
    /// `GET /bundles/…`.
    FetchBundle,
    /// `GET /deployments/…/…`.
    FetchDeployment,
    /// `POST /deployments/…/status`.
    PostStatus,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PutCapabilities => "reporting capabilities",
            Self::Poll => "polling the desired state",
            Self::FetchBundle => "fetching the bundle",
            Self::FetchDeployment => "fetching a deployment",
            Self::PostStatus => "reporting status",
        })
    }
}

/// A failed exchange with the WFM. None of these ever means that a workload should go (I5).
#[derive(Debug, thiserror::Error)]
pub enum WfmError {
    /// No connection, or it was lost, or nothing came in time.
    #[error("{operation}")]
    Unreachable {
        /// What was being done.
        operation: Operation,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The device's clock is wrong, so the WFM cannot be judged.
    #[error("{operation}")]
    ClockBehind {
        /// What was being done.
        operation: Operation,
        /// Both times.
        #[source]
        source: VerifyError,
    },
    /// Whoever answers is not our WFM, or does not speak TLS 1.3.
    #[error("{operation}: WFM is not trusted")]
    Untrusted {
        /// What was being done.
        operation: Operation,
        /// What was wrong: a [`VerifyError`], or an error of TLS.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The WFM does not accept our certificate.
    #[error("{operation}: WFM refuses this device's certificate")]
    CertificateRefused {
        /// What was being done.
        operation: Operation,
        /// The alert it sent.
        #[source]
        source: rustls::Error,
    },
    /// 403 or 401: the WFM's policy.
    #[error("{operation}: denied: {problem}")]
    Denied {
        /// What was being done.
        operation: Operation,
        /// The WFM's explanation.
        problem: Box<Problem>,
    },
    /// 404. For a digest URL: only that content is unavailable (R129).
    #[error("{operation}: not found: {problem}")]
    NotFound {
        /// What was being done.
        operation: Operation,
        /// The WFM's explanation.
        problem: Box<Problem>,
    },
    /// 406: the WFM does not know the manifest's media type.
    #[error("{operation}: not acceptable: {problem}")]
    NotAcceptable {
        /// What was being done.
        operation: Operation,
        /// The WFM's explanation.
        problem: Box<Problem>,
    },
    /// 429, 500, 502, 503, 504: later (R202).
    #[error("{operation}: WFM is busy ({status}): {problem}")]
    Busy {
        /// What was being done.
        operation: Operation,
        /// The HTTP status.
        status: u16,
        /// Not before this many milliseconds, at most a day.
        retry_after_ms: Option<u64>,
        /// The WFM's explanation.
        problem: Box<Problem>,
    },
    /// 400, 422 and other refusals of this very request.
    #[error("{operation}: rejected ({status}): {problem}")]
    Rejected {
        /// What was being done.
        operation: Operation,
        /// The HTTP status.
        status: u16,
        /// The WFM's explanation.
        problem: Box<Problem>,
    },
    /// The answer makes no sense.
    #[error("{operation}: {reason}")]
    Protocol {
        /// What was being done.
        operation: Operation,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is larger than accepted.
    #[error("{operation}: answer is larger than {size_bytes_max} bytes")]
    TooLarge {
        /// What was being done.
        operation: Operation,
        /// The limit.
        size_bytes_max: usize,
    },
    /// The state manifest is invalid.
    #[error("state manifest")]
    Manifest {
        /// The broken rule.
        #[source]
        source: ManifestError,
    },
    /// Content does not have the promised digest (R122).
    #[error("expected {expected}, got {actual}")]
    DigestMismatch {
        /// What the manifest promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The bundle has the promised digest but not the promised content.
    #[error("bundle {digest}")]
    Bundle {
        /// The bundle.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// The client could not be set up.
    #[error("setting up the connection")]
    Setup {
        /// What is wrong.
        #[source]
        source: SetupError,
    },
}

impl WfmError {
    /// What the machine needs to know.
    pub fn to_failure(&self) -> Failure {
        let message = error_chain(self);
        match self {
            Self::Unreachable { .. } => Failure::new(Code::WfmUnreachable, message),
            Self::ClockBehind { .. } => Failure::new(Code::ClockBehind, message),
            Self::Untrusted { .. } => Failure::new(Code::WfmUntrusted, message),
            // The same certificate may be accepted once the WFM has refreshed its bundle or policy.
            Self::CertificateRefused { .. } => {
                Failure::new(Code::IdentityInvalid, message).with_class(FailureClass::Retryable)
            }
            Self::Denied { .. } => Failure::new(Code::WfmDenied, message),
            // A digest that was superseded between manifest and fetch: the next poll has the new one.
            Self::NotFound { .. } => {
                Failure::new(Code::WfmProtocol, message).with_class(FailureClass::Retryable)
            }
            Self::Busy { retry_after_ms, problem, .. } => {
                let failure = Failure::new(Code::WfmBusy, message).retry_after(*retry_after_ms);
                if problem.retryable == Some(false) {
                    failure.with_class(FailureClass::Permanent)
                } else {
                    failure
                }
            }
            Self::Rejected { operation, problem, .. } => {
                let code = match operation {
                    Operation::PostStatus => Code::ReportRejected,
                    Operation::PutCapabilities
                    | Operation::Poll
                    | Operation::FetchBundle
                    | Operation::FetchDeployment => Code::WfmProtocol,
                };
                let failure = Failure::new(code, message);
                if problem.retryable == Some(true) {
                    failure.with_class(FailureClass::Retryable)
                } else {
                    failure
                }
            }
            Self::NotAcceptable { .. } | Self::Protocol { .. } | Self::TooLarge { .. } => {
                Failure::new(Code::WfmProtocol, message)
            }
            Self::Manifest { .. } => Failure::new(Code::ManifestInvalid, message),
            Self::DigestMismatch { .. } | Self::Bundle { .. } => {
                Failure::new(Code::ArtifactDigestMismatch, message)
            }
            Self::Setup { .. } => Failure::new(Code::Internal, message),
        }
    }

    /// True if only this way of fetching failed, so that the other one (bundle, single documents) is worth trying.
    pub(super) fn is_of_the_artifact(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::NotAcceptable { .. }
            | Self::Rejected { .. }
            | Self::Protocol { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::Bundle { .. } => true,
            Self::Unreachable { .. }
            | Self::ClockBehind { .. }
            | Self::Untrusted { .. }
            | Self::CertificateRefused { .. }
            | Self::Denied { .. }
            | Self::Busy { .. }
            | Self::Manifest { .. }
            | Self::Setup { .. } => false,
        }
    }

    /// Sorts a transport error by what lies at its bottom.
    pub(super) fn of_transport(operation: Operation, error: reqwest::Error) -> Self {
        // The URL is in our own message's operation; repeating it in every log line helps nobody.
        let error = error.without_url();
        let Some(tls) = find_tls_error(&error).cloned() else {
            return Self::Unreachable { operation, source: error };
        };
        match &tls {
            rustls::Error::AlertReceived(alert) if is_about_certificate(*alert) => {
                Self::CertificateRefused { operation, source: tls }
            }
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<VerifyError>() {
                    Some(clock @ VerifyError::ClockBehind { .. }) => {
                        Self::ClockBehind { operation, source: clock.clone() }
                    }
                    // Our own words; those of TLS only show them in debug form.
                    Some(other) => Self::Untrusted { operation, source: Box::new(other.clone()) },
                    None => Self::Untrusted { operation, source: Box::new(tls) },
                }
            }
            _ => Self::Untrusted { operation, source: Box::new(tls) },
        }
    }
}

/// The alerts a server sends when it does not like the client's certificate.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
    )
}

/// TLS errors hide inside I/O errors, whose `source` skips the error they were made from.
fn find_tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
