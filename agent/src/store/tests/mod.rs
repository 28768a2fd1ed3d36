//! Tests of the durable state: every crash point, torn write and disk error, and the real file system.

mod crash;
mod crash_disk;
mod faults;
mod real;

use super::Copies;
use serde::{Deserialize, Serialize};

/// The document of the tests: `seq` says which save this is, `version` what must never go back (I3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doc {
    seq: u64,
    version: u64,
    /// Makes the file span several sectors, so that it can tear.
    padding: String,
}

impl Doc {
    fn new(seq: u64, version: u64) -> Self {
        Self { seq, version, padding: "x".repeat(900) }
    }
}

/// Saves in order; `version` rises exactly with the saves of both copies, as the driver does it.
const SEQUENCE: &[(u64, Copies)] = &[
    (1, Copies::Both),
    (1, Copies::One),
    (2, Copies::Both),
    (2, Copies::One),
    (2, Copies::One),
    (3, Copies::Both),
    (3, Copies::One),
    (4, Copies::Both),
];
