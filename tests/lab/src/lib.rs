//! Everything a Margo device talks to, on one machine: a Workload Fleet Manager, the trust-bundle service and an OCI
//! registry, with scripted faults. Loopback unless told otherwise.
//!
//! Tests use it as a library through [`Lab`]; OEMs use the program `margo-lab` at bring-up. It shares no code with the
//! agent on purpose: it is the second reading of the specification that the agent is checked against.

pub mod archive;
pub mod control;
pub mod deployments;
pub mod events;
pub mod fault;
pub mod ids;
pub mod lab;
pub mod mis;
mod naming;
mod net;
pub mod pki;
pub mod registry;
pub mod report;
mod store;
pub mod wfm;

pub use deployments::{ComponentSpec, DeploymentSpec, ParameterSpec, ProfileType};
pub use events::{Event, RequestRecord};
pub use fault::{Fault, FaultId, FaultKind, ManifestDefect, Operation, Service};
pub use ids::{ClientId, DeploymentId};
pub use lab::{Lab, LabConfig, LabError};
pub use naming::ParseNameError;
pub use net::wire::ConnectionBytes;
pub use pki::{SvidDefect, SvidOptions};
pub use report::{State, StatusReport};
