//! Real `docker compose` as the oracle: every compose file of the corpus is brought up by it and by us,
//! under the same project name, and what `inspect` shows of both must be equal but for `compare::ACCEPTED`.
//!
//! Needs a Docker engine and docker compose: `MARGO_DOCKER_COMPOSE`, else the usual places of its plugin.
//! Without them the test says so and passes; `MARGO_REQUIRE_ENGINE=1` makes it fail instead.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod normal;
#[cfg(test)]
#[path = "../engine_live/support.rs"]
#[allow(dead_code, reason = "shared with the engine tests, which use all of it")]
mod support;
