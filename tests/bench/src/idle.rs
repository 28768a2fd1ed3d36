//! What the agent costs while nothing happens: memory, processor, threads, wake-ups.

use crate::Fault;
use crate::options::Options;
use crate::proc::{counters, percent, pss_kib};
use crate::process::Log;
use crate::samples::{Samples, as_f64, as_ms, rounded};
use crate::scene::Scene;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Threads for file work end after ten seconds without any; only then is the agent really idle.
const SETTLE: Duration = Duration::from_secs(12);
/// Looks at the memory.
const LOOKS: u32 = 5;

/// `pss_kib`, `idle_cpu_percent` and their companions, with the scene's deployments running and a poll each minute.
///
/// # Errors
/// The agent ends.
pub(crate) async fn measure(scene: &Scene, options: &Options) -> Result<Map<String, Value>, Fault> {
    let span = Duration::from_secs(options.pick(10, 90));
    crate::say(&format!("idle: {} s", span.as_secs()));
    let process = scene.settled(options, Log::Dropped).await?;
    let pid = process.pid()?;
    let at_start = pss_kib(pid)?.0;
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (counters(pid)?, Instant::now());
    let (mut pss, mut anonymous) = (Samples::default(), Samples::default());
    for _ in 0..LOOKS {
        tokio::time::sleep(span / LOOKS).await;
        let (total, own) = pss_kib(pid)?;
        pss.push(as_f64(usize::try_from(total)?));
        anonymous.push(as_f64(usize::try_from(own)?));
    }
    let (after, elapsed_ms) = (counters(pid)?, as_ms(began.elapsed()));
    let cpu_ms = after.cpu_ms.saturating_sub(before.cpu_ms);
    let wakeups = after.wakeups.saturating_sub(before.wakeups);
    let cpu_ns = after.live_cpu_ns.saturating_sub(before.live_cpu_ns);
    process.kill().await?;
    let figures = [
        ("pss_kib", pss.to_json()),
        ("pss_anonymous_kib", anonymous.to_json()),
        ("pss_after_start_kib", at_start.into()),
        ("threads", after.threads.into()),
        ("idle_cpu_percent", rounded(percent(cpu_ms, elapsed_ms)).into()),
        (
            "idle",
            json!({
                "elapsed_ms": rounded(elapsed_ms),
                "cpu_us": cpu_ns / 1000,
                "wakeups_per_minute":
                    rounded(as_f64(usize::try_from(wakeups)?) * 60_000.0 / elapsed_ms),
            }),
        ),
    ];
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
