//! The Workload Fleet Manager: rc.3 Workload Management API over mutual TLS.
//!
//! `routes` tells operations apart, `handlers` answers them, `validate` judges what devices send, `clients` keeps what each client
//! should run and has said, `manifest` renders what is served, with its scripted defects.

mod client;
mod clients;
mod handlers;
mod manifest;
mod routes;
mod site;
mod validate;

pub use client::{CapabilityReport, ClientView, DeploymentView};
pub(crate) use clients::Clients;
pub(crate) use site::WfmSite;

/// Why the desired state could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum WfmError {
    /// The state could not be kept on disk.
    #[error("cannot keep the state of the WFM")]
    Store(#[from] crate::store::StoreError),
    /// The bundle could not be packed.
    #[error("cannot pack the bundle")]
    Pack(#[from] crate::archive::ArchiveError),
    /// No such deployment is in the client's desired state.
    #[error("client {client} has no deployment {deployment}")]
    UnknownDeployment {
        /// The client.
        client: crate::ClientId,
        /// The deployment.
        deployment: crate::DeploymentId,
    },
    /// The version sequence is at its end.
    #[error("client {client} has reached the last manifest version")]
    LastVersion {
        /// The client.
        client: crate::ClientId,
    },
}
