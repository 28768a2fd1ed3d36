//! The updater against a real RAUC on a private bus: slots are files, the boot loader is a script.
//!
//! Needs a RAUC of 1.10 or newer (`MARGO_RAUC` names it), dbus-daemon, mksquashfs, openssl and loop devices; without
//! them each test says `skipped: why`, unless `MARGO_REQUIRE_RAUC` is set.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod faults;
mod rig;
mod working;
