//! The updater against scripted services on a private bus: what a real RAUC does too seldom, and a service manager.
//!
//! Needs dbus-daemon; without it each test says `skipped: why`, unless `MARGO_REQUIRE_RAUC` is set.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bus;
mod installer;
mod system;
mod timing;
