//! Scenarios carried out: the device, the lab around it, each step, and what is told about it.

pub(crate) mod apps;
pub(crate) mod break_things;
pub(crate) mod device;
pub(crate) mod expect;
pub(crate) mod firmware;
pub(crate) mod moments;
pub(crate) mod prepared;
pub(crate) mod provision;
pub(crate) mod steps;
pub(crate) mod suite;
pub(crate) mod timeline;
pub(crate) mod world;
