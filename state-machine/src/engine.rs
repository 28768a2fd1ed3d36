//! Sub-machine: the connection to the container engine. Nothing touches the runtime while it is away.

use crate::backoff::delay_ms;
use crate::effect::Effect;
use crate::failure::Failure;
use crate::ids::EffectId;
use crate::step::Cx;
use crate::transition::{Edge, MachineName, Transition, Why, edge};

/// Every change of the engine machine.
pub const EDGES: &[Edge] = &[
    edge("away", Why::EngineReady, "connected"),
    edge("away", Why::Failed, "away"),
    edge("connected", Why::EngineLost, "away"),
];

/// Volatile: whether the engine answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Engine {
    /// It answers and its events are being watched.
    pub connected: bool,
    /// Since when it does not, in monotonic milliseconds. A connection over which nothing was done does not count.
    pub away_since_ms: u64,
    /// The attempt under way.
    pub job: Option<EffectId>,
    /// Failed attempts and losses in a row, with no operation done in between.
    pub attempt: u32,
    /// Not before this, in monotonic milliseconds.
    pub retry_at_ms: Option<u64>,
    /// Why the last attempt failed.
    pub last_failure: Option<Failure>,
}

impl Engine {
    /// Nobody has tried yet.
    pub(crate) fn started(now_ms: u64) -> Self {
        Self { away_since_ms: now_ms, ..Self::default() }
    }

    /// Tries to connect, if that is due.
    pub(crate) fn schedule(&mut self, cx: &mut Cx<'_>) {
        if !self.connected && self.job.is_none() && cx.now.reached(self.retry_at_ms) {
            self.job = Some(cx.start(Effect::ConnectEngine));
        }
    }

    /// It answers.
    pub(crate) fn on_ready(&mut self, cx: &mut Cx<'_>) {
        self.connected = true;
        self.job = None;
        self.retry_at_ms = None;
        self.last_failure = None;
        note("away", "connected", Why::EngineReady, None, cx);
    }

    /// The attempt failed. The waits stay short: workloads depend on it, and it is on this machine.
    pub(crate) fn on_failed(&mut self, failure: &Failure, cx: &mut Cx<'_>) {
        self.job = None;
        self.last_failure = Some(failure.clone());
        self.back_off(cx);
        note("away", "away", Why::Failed, Some(failure), cx);
    }

    fn back_off(&mut self, cx: &Cx<'_>) {
        self.attempt = self.attempt.saturating_add(1);
        let wait_ms = delay_ms(self.attempt, cx.policy.jitter_seed, &cx.policy.retry);
        self.retry_at_ms = Some(cx.now.after(wait_ms.min(cx.policy.engine_retry_max_ms)));
    }

    /// An operation ended in a way that only an engine that answers makes possible.
    pub(crate) fn on_proven(&mut self) {
        if self.connected {
            self.attempt = 0;
        }
    }

    /// It went away, or an operation found it gone.
    pub(crate) fn on_lost(&mut self, failure: Option<&Failure>, cx: &mut Cx<'_>) {
        if self.connected {
            self.connected = false;
            // One that answers only to go away again has been away all the time.
            if self.attempt == 0 {
                self.away_since_ms = cx.now.monotonic_ms;
            }
            self.last_failure = failure.cloned();
            self.back_off(cx);
            note("connected", "away", Why::EngineLost, failure, cx);
        }
    }

    /// Whether it has been away for so long that nothing can be called running any more.
    pub(crate) fn is_lost(&self, cx: &Cx<'_>) -> bool {
        let limit_ms = self.away_since_ms.saturating_add(cx.policy.engine_grace_ms);
        !self.connected && cx.now.monotonic_ms >= limit_ms
    }
}

fn note(
    prev: &'static str,
    next: &'static str,
    why: Why,
    failure: Option<&Failure>,
    cx: &mut Cx<'_>,
) {
    cx.transitions.push(Transition {
        machine: MachineName::Engine,
        subject: None,
        component: None,
        prev,
        next,
        why,
        failure: failure.cloned(),
    });
}
