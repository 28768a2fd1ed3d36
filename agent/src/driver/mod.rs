//! The loop: the only place where things happen.
//!
//! Wait for an event or the wake-up time, step the machine, persist, log, abort, start. One event at a time.
//!
//! A step whose state cannot be saved has not happened (I1): its event waits for storage to come back, and so does
//! every later one that would change the durable state. What needs no saving goes on, so that workloads are restored
//! and kept on a device whose storage is full (I4). The first step of a run needs no saving either: after a crash it is
//! derived again from the same durable state.

mod journal;
#[cfg(test)]
mod storage_tests;
mod tasks;
#[cfg(test)]
mod tests;

pub use tasks::Tasks;

use crate::clock;
use crate::local_api::{EventLog, Query};
use futures_util::future::BoxFuture;
use state_machine::effect::{Effect, Outcome};
use state_machine::event::Event;
use state_machine::ids::EffectId;
use state_machine::policy::Policy;
use state_machine::state::{Durable, State};
use state_machine::time::Now;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Executes effects. The machine's orders are idempotent; so must this be, killed at any point.
pub trait Execute: Send + Sync + 'static {
    /// Begins the effect. What it needs of the state is taken before this returns.
    fn start(&self, effect: Effect, state: &State) -> BoxFuture<'static, Outcome>;
}

/// Puts the durable state on stable storage.
pub trait Persist: Send + 'static {
    /// Returns when the document would survive a power cut. `both`: no single damaged copy may take it back.
    ///
    /// # Errors
    /// A text for the log; the driver tries again until it works and starts nothing before.
    fn save(&mut self, durable: &Durable, both: bool) -> Result<(), String>;
}

/// Answers questions from the present state.
pub trait Answer: Send + 'static {
    /// Answers. Returns an event to feed to the machine, if the question is an order; it is not called with orders
    /// in vain: what it returns happens.
    fn answer(&mut self, query: Query, view: View<'_>) -> Option<Event>;
}

/// What an answer may see.
#[derive(Debug)]
pub struct View<'a> {
    /// The machine's state.
    pub state: &'a State,
    /// The settings in force.
    pub policy: &'a Policy,
    /// When this is.
    pub now: Now,
    /// When the machine wakes up by itself, in monotonic milliseconds.
    pub wake_at_ms: Option<u64>,
    /// Why the state cannot be saved at present, if so.
    pub storage_failure: Option<&'a str>,
}

/// Where facts and questions enter.
#[derive(Debug)]
pub struct Inputs {
    /// Facts.
    pub events: mpsc::Receiver<Event>,
    /// Questions.
    pub queries: mpsc::Receiver<Query>,
}

/// Milliseconds since 1970, if the clock is to be trusted.
pub type WallClock = Box<dyn Fn() -> Option<u64> + Send>;

/// What the driver is made of.
pub struct Parts<P, X, A> {
    /// Stable storage.
    pub persist: P,
    /// Carries out effects.
    pub executor: Arc<X>,
    /// Answers questions.
    pub answer: A,
    /// Remembers what happened lately.
    pub history: EventLog,
    /// Tells the wall time, if it is to be trusted.
    pub wall_unix_ms: WallClock,
}

/// First wait between attempts to persist, in milliseconds; doubled up to [`PERSIST_RETRY_MAX_MS`]. Storage that is full
/// or gone may come back.
const PERSIST_RETRY_MS: u64 = 2_000;
/// Longest wait between attempts to persist, in milliseconds: each failure is a line in the journal.
const PERSIST_RETRY_MAX_MS: u64 = 30_000;
/// Events that may wait for storage; with more, new ones wait where they come from.
const DEFERRED_MAX: usize = 256;

/// What a round is about.
enum Next {
    /// Something happened.
    Fact(Event),
    /// Storage that failed is to be tried again.
    SaveAgain,
}

/// For debug lines.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A save under way, off the loop. It gives stable storage back.
type Saving<P> = JoinHandle<(P, Result<(), String>)>;

/// The driver.
pub struct Driver<P, X, A> {
    state: State,
    policy: Policy,
    wall_unix_ms: WallClock,
    /// Absent while it is saving.
    persist: Option<P>,
    saving: Option<Saving<P>>,
    executor: Arc<X>,
    answer: A,
    tasks: Tasks,
    history: EventLog,
    wake_at_ms: Option<u64>,
    storage_failure: Option<String>,
    /// When saving is tried again; `None`: the last save worked.
    save_again_at: Option<Instant>,
    /// The wait before that, in milliseconds.
    save_pause_ms: u64,
    /// The present state goes beyond the durable one by what the start of this run derived from it.
    is_unsaved: bool,
    /// What could not be saved, in order; empty unless `save_again_at` is set.
    deferred: VecDeque<Event>,
    progress: Box<dyn FnMut(&State) + Send>,
}

impl<P, X, A> std::fmt::Debug for Parts<P, X, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl<P, X, A> std::fmt::Debug for Driver<P, X, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<P: Persist, X: Execute, A: Answer> Driver<P, X, A> {
    /// A driver that has done nothing yet.
    pub fn new(durable: Durable, policy: Policy, parts: Parts<P, X, A>) -> Self {
        Self {
            state: State::with_durable(durable),
            policy,
            wall_unix_ms: parts.wall_unix_ms,
            persist: Some(parts.persist),
            saving: None,
            executor: parts.executor,
            answer: parts.answer,
            tasks: Tasks::default(),
            history: parts.history,
            wake_at_ms: None,
            storage_failure: None,
            save_again_at: None,
            save_pause_ms: PERSIST_RETRY_MS,
            is_unsaved: false,
            deferred: VecDeque::new(),
            progress: Box::new(|_| {}),
        }
    }

    /// Calls `progress` after every round.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(&State) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Runs until `stop` resolves, and returns what it resolved to. Effects under way are aborted at the end: the
    /// machine orders them again at the next start. `wait_max`: the longest time between two calls of `progress`.
    pub async fn run<T>(
        mut self,
        first: Event,
        mut inputs: Inputs,
        stop: impl Future<Output = T>,
        wait_max: Option<Duration>,
    ) -> T {
        let mut stop = std::pin::pin!(stop);
        self.round(Next::Fact(first)).await;
        let end = loop {
            let sleep = self.sleep_time(wait_max);
            let may_hear = self.may_hear();
            // Every arm is cancel-safe: channels and the task set keep what was not taken.
            let next = tokio::select! {
                end = &mut stop => break end,
                (id, outcome) = self.tasks.next(), if may_hear => {
                    Next::Fact(Event::EffectFinished { id, outcome })
                }
                Some(event) = inputs.events.recv(), if may_hear => Next::Fact(event),
                Some(query) = inputs.queries.recv() => match self.answer(query) {
                    Some(event) => Next::Fact(event),
                    None => continue,
                },
                () = tokio::time::sleep(sleep) => match self.due() {
                    Some(next) => next,
                    None => {
                        (self.progress)(&self.state);
                        continue;
                    }
                }
            };
            tokio::select! {
                end = &mut stop => break end,
                () = self.round(next) => {}
            }
        };
        self.tasks.abort_all().await;
        // Whoever runs next opens the same storage, which is locked until the save is over. Should it fail, the
        // state before is what the next run begins from.
        let _ = self.saved().await;
        end
    }

    /// One round: one event, or everything that waited for storage.
    async fn round(&mut self, next: Next) {
        match next {
            Next::Fact(event) => {
                if !self.attempt(&event).await {
                    self.defer(event);
                }
            }
            Next::SaveAgain => self.save_again().await,
        }
        (self.progress)(&self.state);
    }

    /// Step, persist, log, abort, start. False if the step has to wait for storage; then nothing has changed.
    async fn attempt(&mut self, event: &Event) -> bool {
        let step = state_machine::step(&self.state, event, &self.now(), &self.policy);
        if step.persist && (self.save_again_at.is_some() || !self.persist(&step.next).await) {
            if !matches!(event, Event::Started { .. }) {
                return false;
            }
            self.is_unsaved = true;
        }
        for transition in &step.transitions {
            journal::log(transition);
            journal::remember(transition, &self.history, (self.wall_unix_ms)());
        }
        self.tasks.abort(&step.cancels).await;
        self.state = step.next;
        self.wake_at_ms = step.wake_at_ms;
        for (id, effect) in step.effects {
            self.start(id, effect);
        }
        true
    }

    fn defer(&mut self, event: Event) {
        match event {
            // No fact: what is due then is looked at after everything else that waits.
            Event::TimerElapsed => self.wake_at_ms = None,
            event => self.deferred.push_back(event),
        }
    }

    /// Takes what waited for storage in its order, as far as storage allows.
    async fn save_again(&mut self) {
        self.save_again_at = None;
        if self.is_unsaved {
            let state = self.state.clone();
            self.is_unsaved = !self.persist(&state).await;
            if self.is_unsaved {
                return;
            }
        }
        while let Some(event) = self.deferred.pop_front() {
            if !self.attempt(&event).await {
                self.deferred.push_front(event);
                return;
            }
        }
        if self.attempt(&Event::TimerElapsed).await {
            self.storage_failure = None;
        } else {
            self.defer(Event::TimerElapsed);
        }
    }

    /// Whether events are taken in.
    fn may_hear(&self) -> bool {
        self.deferred.len() < DEFERRED_MAX
    }

    fn due(&self) -> Option<Next> {
        if self.save_again_at.is_some_and(|at| at <= Instant::now()) {
            return Some(Next::SaveAgain);
        }
        self.wake_is_due().then_some(Next::Fact(Event::TimerElapsed))
    }

    fn start(&mut self, id: EffectId, effect: Effect) {
        let work = self.executor.start(effect, &self.state);
        self.tasks.start(id, work);
    }

    /// True once the new state is durable. An effect of a state that a power cut would take back breaks I1.
    async fn persist(&mut self, next: &State) -> bool {
        let before = self.state.durable.sync.accepted.as_ref().map(|accepted| accepted.version);
        let after = next.durable.sync.accepted.as_ref().map(|accepted| accepted.version);
        let document = Arc::new(next.durable.clone());
        match self.save(document, before != after).await {
            Ok(()) => {
                self.storage_failure = None;
                self.save_pause_ms = PERSIST_RETRY_MS;
                true
            }
            Err(failure) => {
                journal::save_failed(&failure, self.save_pause_ms);
                self.storage_failure = Some(failure);
                let pause = Duration::from_millis(self.save_pause_ms);
                self.save_again_at = Some(Instant::now() + pause);
                self.save_pause_ms = self.save_pause_ms.saturating_mul(2).min(PERSIST_RETRY_MAX_MS);
                false
            }
        }
    }

    async fn save(&mut self, document: Arc<Durable>, both: bool) -> Result<(), String> {
        let Some(mut persist) = self.persist.take() else {
            return Err("the store was lost with a task that panicked".to_owned());
        };
        self.saving = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let result = persist.save(&document, both);
            tracing::debug!(elapsed_us = micros(began.elapsed()), both, "state saved");
            (persist, result)
        }));
        self.saved().await
    }

    /// Waits for the save under way. Cancel-safe.
    async fn saved(&mut self) -> Result<(), String> {
        let Some(saving) = self.saving.as_mut() else { return Ok(()) };
        let work = saving.await;
        self.saving = None;
        match work {
            Ok((persist, result)) => {
                self.persist = Some(persist);
                result
            }
            Err(panic) => Err(panic.to_string()),
        }
    }

    fn answer(&mut self, query: Query) -> Option<Event> {
        // Questions are answered from the last state that is durable; an order could not be kept.
        let query = match query {
            Query::SyncNow { reply }
            | Query::Retry { reply, .. }
            | Query::FirmwareOrder { reply, .. }
                if self.storage_failure.is_some() =>
            {
                // Nobody may be waiting any more.
                let _ = reply.send(Err(journal::cannot_save(&self.storage_failure)));
                return None;
            }
            query => query,
        };
        let view = View {
            state: &self.state,
            policy: &self.policy,
            now: self.now(),
            wake_at_ms: self.wake_at_ms,
            storage_failure: self.storage_failure.as_deref(),
        };
        self.answer.answer(query, view)
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: clock::boottime_ms(), wall_unix_ms: (self.wall_unix_ms)() }
    }

    fn wake_is_due(&self) -> bool {
        self.wake_at_ms.is_some_and(|at| self.now().monotonic_ms >= at)
    }

    fn sleep_time(&self, wait_max: Option<Duration>) -> Duration {
        let now = self.now().monotonic_ms;
        let wake = self.wake_at_ms.map(|at| Duration::from_millis(at.saturating_sub(now)));
        // With nothing due the loop may sleep for as long as it likes; an hour is as good as any.
        let wake = wake.unwrap_or(Duration::from_secs(3600));
        let again = self.save_again_at.map(|at| at.saturating_duration_since(Instant::now()));
        let wake = again.map_or(wake, |again| again.min(wake));
        wait_max.map_or(wake, |wait_max| wait_max.min(wake))
    }
}
