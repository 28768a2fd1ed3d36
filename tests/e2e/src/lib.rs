//! The harness of the end-to-end tests: the lab in this process, the real agent as a process of its own, a real
//! Docker engine, and ways to wait for what should happen.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a harness of tests: what goes wrong here is a failed test"
)]

mod agent;
mod app;
mod containers;
mod ctl;
mod look;
mod storage;
mod world;

pub use agent::{Agent, LogMark, Settings};
pub use app::App;
pub use containers::{Container, Engine};
pub use ctl::Told;
pub use storage::{OwnEngine, SmallDisk};
pub use world::{World, require_engine};

use std::time::{Duration, Instant};

/// Longest time anything here may take. Generous: the machines are small and busy, and waiting ends when it happened.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within [`PATIENCE`]; the message says what was waited for and what was seen last.
pub async fn wait_for<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {seen}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
