//! The updater against a real RAUC on a private bus: slots are files, the boot loader is a script.
//!
//! Needs a RAUC of 1.10 or newer (`MARGO_RAUC` names it), dbus-daemon, mksquashfs, openssl and loop devices; without
//! them each test says `skipped: why`, unless `MARGO_REQUIRE_RAUC` is set.
//! (`cfg(test)` on the modules tells clippy that their helpers are test code.)

#[cfg(test)]
mod faults;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod working;
