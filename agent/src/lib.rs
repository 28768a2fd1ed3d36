//! Library half of `margo-agent`: everything but the two `main` functions.

pub mod answer;
pub mod app;
pub mod archive;
pub mod artifacts;
pub mod clock;
pub mod compose;
pub mod config;
pub mod ctl;
pub mod driver;
pub mod engine;
pub mod executor;
pub mod identity;
pub mod local_api;
pub mod logging;
pub mod margo;
pub mod oci;
pub mod provision;
mod restored;
pub mod store;
pub mod supervise;
pub mod updater;
pub mod workload;
