//! The engine adapter against a real Docker engine. Without one the tests say so and pass;
//! `MARGO_REQUIRE_ENGINE=1` makes them fail instead.
//! (`cfg(test)` on the modules tells clippy that their helpers are test code.)

#[cfg(test)]
mod deploy;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod order;
#[cfg(test)]
mod remove;
#[cfg(test)]
mod support;
