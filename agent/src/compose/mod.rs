//! The accepted part of the Compose Specification: from an archive's `compose.yaml` to a [`model::Project`].
//!
//! [`load`] refuses everything the device cannot honour, all problems at once, before anything is touched. The order:
//! `yaml` → `interpolate` (with `dotenv`) → `table` (is every key accepted?) → `service` and the readers of its parts,
//! with `policy` → `load` (names, references, cycles). [`check_path`] is the same for `margoctl check-app`.

pub mod model;
pub use check::{CheckReport, check_path};
pub use load::{FILE_NAME, Loaded, OBJECTS_MAX, load, load_str};
pub use policy::bind_permitted;
pub use problems::{PROBLEMS_MAX, Problem, ProblemKind, Problems};
pub use table::{KEYS, Key, keys_as_markdown};

mod check;
mod context;
mod cursor;
mod dotenv;
mod files;
mod health;
mod interpolate;
mod load;
mod mounts;
mod names;
mod networks;
mod policy;
mod ports;
mod problems;
mod resources;
mod scalar;
mod security;
mod service;
mod shell;
mod size_duration;
mod table;
mod volumes;
mod yaml;

#[cfg(test)]
mod tests;

#[cfg(test)]
use tests::HostPolicyForTests;
