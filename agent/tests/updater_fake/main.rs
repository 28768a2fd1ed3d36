//! The updater against scripted services on a private bus: what a real RAUC does too seldom, and a service manager.
//!
//! Needs dbus-daemon; without it each test says `skipped: why`, unless `MARGO_REQUIRE_RAUC` is set.
//! (`cfg(test)` on the modules tells clippy that their helpers are test code.)

#[cfg(test)]
mod bus;
#[cfg(test)]
mod installer;
#[cfg(test)]
mod system;
#[cfg(test)]
mod timing;
