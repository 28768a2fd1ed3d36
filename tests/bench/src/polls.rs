//! Polls that find nothing new: bytes on the wire and on the disk.
//!
//! A poll is caused by `margoctl sync` rather than by a short interval, so that the agent runs with the
//! configuration of a device.

use crate::Fault;
use crate::options::Options;
use crate::proc::{counters, fingerprint};
use crate::process::{Log, Process};
use crate::samples::{Samples, as_f64, as_ms, rounded};
use crate::scene::{Scene, until};
use margo_lab::Service;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// A poll takes a few milliseconds.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What went over the wire so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wire {
    connections: usize,
    requests: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Wire {
    fn seen(scene: &Scene) -> Self {
        scene.world.lab.wire(Service::Wfm).iter().fold(Self::default(), |sum, one| Self {
            connections: sum.connections.saturating_add(1),
            requests: sum.requests.saturating_add(one.requests),
            received_bytes: sum.received_bytes.saturating_add(one.received_bytes),
            sent_bytes: sum.sent_bytes.saturating_add(one.sent_bytes),
        })
    }
}

/// `wire_bytes_per_poll` and `idle_disk_bytes`, over many polls on a kept connection.
///
/// # Errors
/// The agent does not poll.
pub(crate) async fn measure(scene: &Scene, options: &Options) -> Result<Map<String, Value>, Fault> {
    let polls = options.pick(200, 1000);
    crate::say(&format!("polls: {polls}"));
    let process = scene.settled(options, Log::Dropped).await?;
    // The first ones make the connection and send what was left to say.
    for _ in 0..3 {
        poll(scene, &process).await?;
    }
    let state_dir = scene.root().join("state");
    let files_before = fingerprint(&state_dir)?;
    let (pid, wire_before) = (process.pid()?, Wire::seen(scene));
    let before = counters(pid)?;
    let mut durations = Samples::default();
    for _ in 0..polls {
        let began = Instant::now();
        poll(scene, &process).await?;
        durations.push(as_ms(began.elapsed()));
    }
    let (wire, after) = (Wire::seen(scene), counters(pid)?);
    let is_untouched = files_before == fingerprint(&state_dir)?;
    process.kill().await?;
    let made = as_f64(usize::try_from(wire.requests.saturating_sub(wire_before.requests))?);
    let each = |now: u64, then: u64| {
        let bytes = usize::try_from(now.saturating_sub(then)).unwrap_or(usize::MAX);
        rounded(as_f64(bytes) / made)
    };
    let sent = each(wire.received_bytes, wire_before.received_bytes);
    let received = each(wire.sent_bytes, wire_before.sent_bytes);
    let written = after.write_bytes.zip(before.write_bytes);
    let written = written.map(|(after, before)| after.saturating_sub(before));
    let figures = [
        ("wire_bytes_per_poll", json!(rounded(sent + received))),
        ("idle_disk_bytes", json!(written)),
        (
            "polls",
            json!({
                "polls": made,
                "sent_bytes_per_poll": sent,
                "received_bytes_per_poll": received,
                "new_connections": wire.connections.saturating_sub(wire_before.connections),
                "is_state_dir_untouched": is_untouched,
                "cpu_us_per_poll": each(after.cpu_ms, before.cpu_ms) * 1000.0,
                "poll_ms": durations.to_json(),
            }),
        ),
    ];
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

async fn poll(scene: &Scene, process: &Process) -> Result<(), Fault> {
    let before = Wire::seen(scene);
    let mut asked = Instant::now();
    process.sync()?;
    until("a poll", async || {
        let now = Wire::seen(scene);
        // What is asked for while the answer to the former poll is being read may count as done by it.
        if asked.elapsed() > ASK_AGAIN {
            asked = Instant::now();
            process.sync()?;
        }
        Ok(now.requests > before.requests && now.sent_bytes > before.sent_bytes)
    })
    .await
}
