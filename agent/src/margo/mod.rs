//! The Margo management interface, client side: wire types, polling, fetching, reporting.
//!
//! Plain functions with typed results. Nothing here keeps state beyond a connection, retries on its own, or decides
//! what a result means for a workload: the driver does.

pub mod bundle;
pub mod capabilities;
mod client;
pub mod deployment;
mod device_id;
pub mod eligibility;
mod error;
mod fetch;
mod http;
pub mod manifest;
mod outline;
mod parameters;
pub mod problem;
mod quantity;
mod retry_after;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
pub mod wire;

pub use client::{Accepted, ManifestFetched, Poll, WfmClient};
pub use deployment::{ApplicationDeployment, DeploymentError};
pub use device_id::{DeviceId, DeviceIdError, DevicePattern};
pub use error::{Operation, WfmError};
pub use fetch::FetchPreference;
pub use http::{Limits, SetupError};
pub use manifest::{ManifestError, StateManifest};
pub use outline::Outline;
pub(crate) use retry_after::pause_ms;
