//! The accepted part of the Compose Specification.

pub mod model;
