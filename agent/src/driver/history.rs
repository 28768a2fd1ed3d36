//! What happened lately, for `margoctl events`: a bounded ring in memory. The journal has the rest.

use state_machine::transition::{Transition, Why};
use std::collections::VecDeque;
use tokio::sync::broadcast;

/// Transitions kept.
const KEPT_MAX: usize = 512;
/// Transitions a slow follower may lag behind before it loses some.
const FOLLOW_MAX: usize = 256;

/// A transition with its place and time.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Counts up from 1 since the agent started.
    pub seq: u64,
    /// Wall time in milliseconds since 1970, if it was trusted.
    pub wall_unix_ms: Option<u64>,
    /// What happened.
    pub transition: Transition,
}

/// The ring.
#[derive(Debug)]
pub struct History {
    kept: VecDeque<Recorded>,
    last_seq: u64,
    followers: broadcast::Sender<Recorded>,
}

impl Default for History {
    fn default() -> Self {
        let (followers, _) = broadcast::channel(FOLLOW_MAX);
        Self { kept: VecDeque::new(), last_seq: 0, followers }
    }
}

impl History {
    /// Remembers a transition. Polls that found nothing are not worth remembering.
    pub fn record(&mut self, transition: &Transition, wall_unix_ms: Option<u64>) {
        if matches!(transition.why, Why::PollDue | Why::Unchanged | Why::Stale | Why::Ignored) {
            return;
        }
        self.last_seq = self.last_seq.saturating_add(1);
        let recorded =
            Recorded { seq: self.last_seq, wall_unix_ms, transition: transition.clone() };
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(recorded.clone());
        // An error only says that nobody follows.
        let _ = self.followers.send(recorded);
    }

    /// Everything kept after `seq`.
    pub fn since(&self, seq: u64) -> Vec<Recorded> {
        self.kept.iter().filter(|recorded| recorded.seq > seq).cloned().collect()
    }

    /// What happens from now on.
    pub fn follow(&self) -> broadcast::Receiver<Recorded> {
        self.followers.subscribe()
    }
}
