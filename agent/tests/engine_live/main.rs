//! The engine adapter against a real Docker engine. Without one the tests say so and pass;
//! `MARGO_REQUIRE_ENGINE=1` makes them fail instead.

mod deploy;
mod faults;
mod observe;
mod order;
mod remove;
mod support;
