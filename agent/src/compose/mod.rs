//! The accepted part of the Compose Specification.

pub mod model;
pub use problems::{PROBLEMS_MAX, Problem, ProblemKind, Problems};
mod dotenv;
mod interpolate;
mod problems;
mod scalar;
mod yaml;
