//! Tests of the management interface: documents by table, the client against a scripted TLS server.

mod bundles;
mod client;
mod deployments;
mod documents;
mod eligibility;
mod fetching;
pub(crate) mod server;
