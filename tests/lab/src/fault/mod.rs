//! Scripted faults: what goes wrong, where, and how often.

mod board;
mod kind;
mod operation;

pub(crate) use board::Hits;
pub use board::{ActiveFault, FaultBoard};
pub use kind::{FaultKind, ManifestDefect, ParseFaultError};
pub use operation::{Operation, Service};

use serde::{Deserialize, Serialize};

/// One scripted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The server that misbehaves.
    pub service: Service,
    /// Only this operation; `None` means every operation the kind makes sense for.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How many requests (or connections) it hits before it ends by itself; `None` means until cleared.
    #[serde(default)]
    pub count: Option<u32>,
}

impl Fault {
    /// A fault of one server on every operation it makes sense for, until cleared.
    pub fn new(service: Service, kind: FaultKind) -> Self {
        Self { service, operation: None, kind, count: None }
    }

    /// A fault of the fleet manager.
    pub fn wfm(kind: FaultKind) -> Self {
        Self::new(Service::Wfm, kind)
    }

    /// A fault of the trust-bundle service.
    pub fn mis(kind: FaultKind) -> Self {
        Self::new(Service::Mis, kind)
    }

    /// A fault of the registry.
    pub fn registry(kind: FaultKind) -> Self {
        Self::new(Service::Registry, kind)
    }

    /// Only on this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Ends by itself after this many hits.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

/// Names one fault that was set, so that it can be cleared alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultId(pub u64);

/// Why a fault could not be set: it would never hit anything.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The server never does what the fault breaks.
    #[error("fault `{kind}` makes no sense for {service}")]
    WrongService {
        /// The fault as written.
        kind: String,
        /// The server it was set on.
        service: Service,
    },
    /// The operation is not affected by this kind, or belongs to another server.
    #[error("fault `{kind}` makes no sense for operation {operation} of {service}")]
    WrongOperation {
        /// The fault as written.
        kind: String,
        /// The server it was set on.
        service: Service,
        /// The operation it was narrowed to.
        operation: Operation,
    },
    /// A count of zero would end before it begins.
    #[error("a fault with count 0 never happens")]
    ZeroCount,
}
