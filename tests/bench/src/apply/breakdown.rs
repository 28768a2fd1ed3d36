//! Where the agent's own milliseconds go: its engine calls through a proxy, and what its debug log says of saved
//! states and effects. A few rounds of their own, because looking costs time.

use super::by_agent;
use crate::Fault;
use crate::options::Options;
use crate::process::Log;
use crate::proxy::{Call, Proxy};
use crate::samples::{Samples, as_f64, rounded};
use crate::scene::Scene;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Rounds.
const ROUNDS: u32 = 3;

/// Medians over the rounds of how often each thing happened and how long it took.
///
/// # Errors
/// An application does not come up.
pub(super) async fn measure(scene: &mut Scene, options: &Options) -> Result<Value, Fault> {
    let socket = scene.root().join("engine.sock");
    let fragment = scene.root().join("etc/margo-agent/config.d/70-proxy.toml");
    let proxy = Proxy::listen(&socket, &margo_e2e::Settings::default().engine_socket)?;
    std::fs::write(&fragment, format!("[engine]\nsocket = \"{}\"\n", socket.display()))?;
    let process = scene.settled(options, Log::Detailed).await?;
    let mut parts = Parts::default();
    for round in 0..=ROUNDS {
        drop(proxy.take());
        let log_from = log(scene)?.len();
        let taken = by_agent(scene, &process, &format!("bench-parts-{round}")).await?;
        if round > 0 {
            let text = log(scene)?;
            parts.add(taken.window_ms, &proxy.take(), text.get(log_from..).unwrap_or_default());
        }
    }
    process.kill().await?;
    std::fs::remove_file(&fragment)?;
    Ok(parts.to_json())
}

fn log(scene: &Scene) -> Result<String, Fault> {
    Ok(std::fs::read_to_string(scene.root().join("agent.log"))?)
}

/// Samples by what was done; one sample is one time it was done.
#[derive(Debug, Default)]
struct Parts {
    rounds: usize,
    calls: BTreeMap<String, Samples>,
    log: BTreeMap<String, Samples>,
}

impl Parts {
    /// Adds a round: calls and lines between acceptance and start.
    fn add(&mut self, (from_ms, to_ms): (f64, f64), calls: &[Call], log: &str) {
        self.rounds = self.rounds.saturating_add(1);
        let is_inside = |at_ms: f64| from_ms <= at_ms && at_ms <= to_ms;
        for call in calls.iter().filter(|call| is_inside(call.began_ms)) {
            self.calls.entry(call.what.clone()).or_default().push(call.took_ms);
        }
        // Until the application ran: what follows is its report and its removal.
        let end = log.find("(component applied)").unwrap_or(log.len());
        let accepted = log.find("(accepted)").unwrap_or_default();
        for line in log.get(accepted..end).unwrap_or_default().lines() {
            if let Some((what, elapsed_ms)) = timed(line) {
                self.log.entry(what).or_default().push(elapsed_ms);
            }
        }
    }

    fn to_json(&self) -> Value {
        json!({ "rounds": self.rounds, "engine_calls": self.table(&self.calls), "log": self.table(&self.log) })
    }

    fn table(&self, samples: &BTreeMap<String, Samples>) -> Value {
        let row = |(what, samples): (&String, &Samples)| {
            let times = as_f64(samples.len()) / as_f64(self.rounds.max(1));
            let median = rounded(samples.median());
            (what.clone(), json!({ "times_per_apply": rounded(times), "median_ms": median }))
        };
        samples.iter().map(row).collect::<Map<_, _>>().into()
    }
}

/// The message of a debug line that has `elapsed_us`, and that in milliseconds.
fn timed(line: &str) -> Option<(String, f64)> {
    let (_, text) = line.split_once("DEBUG ")?;
    let (message, rest) = text.split_once(" elapsed_us=")?;
    let elapsed_us: u32 = rest.split(' ').next()?.parse().ok()?;
    let effect = rest.split(' ').find_map(|word| word.strip_prefix("effect="));
    let name = effect
        .map_or_else(|| message.to_owned(), |e| format!("{message}: {}", e.trim_matches('"')));
    Some((name, f64::from(elapsed_us) / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timed_lines_are_recognised() {
        let line = "2026-01-01T00:00:00Z DEBUG state saved elapsed_us=1500 both=true";
        assert_eq!(timed(line), Some(("state saved".to_owned(), 1.5)));
        let line = "DEBUG effect ended elapsed_us=250 effect=\"apply component\"";
        assert_eq!(timed(line).unwrap().1, 0.25);
        assert_eq!(timed("INFO workload x: a -> b (turn)"), None);
    }
}
