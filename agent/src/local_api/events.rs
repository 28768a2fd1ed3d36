//! The recent transitions, kept in memory for people who ask what happened, and passed on to those who follow.
//!
//! The driver pushes; the control socket reads without disturbing it. The journal has the full history.

use super::status::Event;
use crate::logging::field;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Transitions kept (I11).
pub const EVENTS_KEPT_MAX: usize = 1024;

/// Transitions that may wait for a slow follower before it loses some.
const FOLLOWER_LAG_MAX: usize = 256;

/// A transition before it has its number. Long texts are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// When, in milliseconds since 1970, if that is known.
    pub time_unix_ms: Option<u64>,
    /// Sub-machine.
    pub machine: String,
    /// What it is about.
    pub subject: String,
    /// State before.
    pub prev: String,
    /// State after.
    pub next: String,
    /// What caused it.
    pub why: String,
    /// Details.
    pub detail: String,
}

/// The log; clones are the same log.
#[derive(Clone, Debug)]
pub struct EventLog {
    kept: Arc<Mutex<Kept>>,
    live: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last_seq: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { kept: Arc::default(), live: broadcast::Sender::new(FOLLOWER_LAG_MAX) }
    }

    /// Adds a transition and gives its number.
    pub fn push(&self, event: NewEvent) -> u64 {
        // A panic elsewhere leaves the log whole: it is changed in one place, below.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = |text: String| field(&text).into_owned();
        kept.last_seq = kept.last_seq.saturating_add(1);
        let event = Event {
            seq: kept.last_seq,
            time_unix_ms: event.time_unix_ms,
            machine: cut(event.machine),
            subject: cut(event.subject),
            prev: cut(event.prev),
            next: cut(event.next),
            why: cut(event.why),
            detail: cut(event.detail),
        };
        if kept.events.len() == EVENTS_KEPT_MAX {
            kept.events.pop_front();
        }
        let seq = event.seq;
        kept.events.push_back(event.clone());
        // Nobody following is fine. Sent under the lock, so that a new follower misses and doubles nothing.
        let _ = self.live.send(event);
        seq
    }

    /// What is kept after `since`, and everything that comes from now on.
    pub(super) fn follow(&self, since: Option<u64>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |event: &&Event| since.is_none_or(|since| event.seq > since);
        (kept.events.iter().filter(is_wanted).cloned().collect(), self.live.subscribe())
    }
}
