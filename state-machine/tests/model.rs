//! The production `step`, model-checked: several small worlds, each explored completely.
//!
//! `world` is what exists outside the machine, `boot` its two slots, `checker` what may happen to it, `rules` what must hold at and after
//! every step (I1-I11 of the design, by name), `calm` what must come of it once faults stop, `scopes` the worlds,
//! `faults` the seeded mistakes that must be caught.

#[cfg(test)]
#[path = "model/boot.rs"]
mod boot;
#[cfg(test)]
#[path = "model/calm.rs"]
mod calm;
#[cfg(test)]
#[path = "model/checker.rs"]
mod checker;
#[cfg(test)]
#[path = "model/coverage.rs"]
mod coverage;
#[cfg(test)]
#[path = "model/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "model/firmware_rules.rs"]
mod firmware_rules;
#[cfg(test)]
#[path = "model/firmware_scopes.rs"]
mod firmware_scopes;
#[cfg(test)]
#[path = "model/meddling.rs"]
mod meddling;
#[cfg(test)]
#[path = "model/normal.rs"]
mod normal;
#[cfg(test)]
#[path = "model/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "model/scopes.rs"]
mod scopes;
#[cfg(test)]
#[path = "support/mod.rs"]
mod support;
#[cfg(test)]
#[path = "model/world.rs"]
mod world;
