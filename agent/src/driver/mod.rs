//! The loop: the only place where things happen.
//!
//! Wait for an event or the wake-up time, step the machine, persist, log, abort, start. One event at a time: the
//! next one is not looked at before the former's state is on stable storage (I1).

mod history;
mod tasks;

pub use history::{History, Recorded};
pub use tasks::Tasks;

use crate::clock::Clock;
use crate::logging;
use futures_util::future::BoxFuture;
use state_machine::effect::{Effect, Outcome};
use state_machine::event::Event;
use state_machine::ids::EffectId;
use state_machine::policy::Policy;
use state_machine::state::{Durable, State};
use state_machine::step::Step;
use state_machine::time::Now;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

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

/// Something asked of the driver from outside the machine.
pub trait Ask: Send + 'static {
    /// Answers from the present state. Returns an event to feed to the machine, if the question is an order.
    fn answer(self: Box<Self>, view: View<'_>) -> Option<Event>;
}

/// What a question may see.
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
    /// What happened lately.
    pub history: &'a History,
    /// Why the last attempt to persist failed, if it did.
    pub storage_failure: Option<&'a str>,
}

/// Where facts and questions enter.
#[derive(Debug)]
pub struct Inputs {
    /// Facts.
    pub events: mpsc::Receiver<Event>,
    /// Questions.
    pub questions: mpsc::Receiver<Box<dyn Ask>>,
}

impl std::fmt::Debug for dyn Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ask")
    }
}

/// Waits between attempts to persist, in milliseconds: storage that is full or gone may come back.
const PERSIST_RETRY_MS: u64 = 2_000;

/// The driver.
pub struct Driver<P, X> {
    state: State,
    policy: Policy,
    clock: Clock,
    persist: Option<P>,
    executor: Arc<X>,
    tasks: Tasks,
    history: History,
    wake_at_ms: Option<u64>,
    storage_failure: Option<String>,
    progress: Box<dyn FnMut(&State) + Send>,
}

impl<P, X> std::fmt::Debug for Driver<P, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<P: Persist, X: Execute> Driver<P, X> {
    /// A driver that has done nothing yet. `progress` is called after each completed round (the watchdog's food).
    pub fn new(
        durable: Durable,
        policy: Policy,
        clock: Clock,
        persist: P,
        executor: Arc<X>,
    ) -> Self {
        Self {
            state: State::with_durable(durable),
            policy,
            clock,
            persist: Some(persist),
            executor,
            tasks: Tasks::default(),
            history: History::default(),
            wake_at_ms: None,
            storage_failure: None,
            progress: Box::new(|_| {}),
        }
    }

    /// Calls `progress` after every round.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(&State) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Runs until both inputs are closed or `stop` resolves. Effects under way are aborted at the end: the machine
    /// orders them again at the next start.
    pub async fn run(
        mut self,
        first: Event,
        mut inputs: Inputs,
        stop: impl Future<Output = ()>,
        watchdog_interval: Option<Duration>,
    ) -> State {
        let mut stop = std::pin::pin!(stop);
        self.round(first, &mut inputs.questions).await;
        loop {
            let sleep = self.sleep_time(watchdog_interval);
            // Every arm is cancel-safe: channels and the task set keep what was not taken.
            let event = tokio::select! {
                () = &mut stop => break,
                (id, outcome) = self.tasks.next() => Event::EffectFinished { id, outcome },
                Some(event) = inputs.events.recv() => event,
                Some(question) = inputs.questions.recv() => match self.answer(question) {
                    Some(event) => event,
                    None => continue,
                },
                () = tokio::time::sleep(sleep) => {
                    if self.wake_is_due() { Event::TimerElapsed } else {
                        (self.progress)(&self.state);
                        continue;
                    }
                }
            };
            tokio::select! {
                () = &mut stop => break,
                () = self.round(event, &mut inputs.questions) => {}
            }
        }
        self.tasks.abort_all().await;
        self.state
    }

    /// One round: step, persist, log, abort, start.
    async fn round(&mut self, event: Event, questions: &mut mpsc::Receiver<Box<dyn Ask>>) {
        let step = state_machine::step(&self.state, &event, &self.now(), &self.policy);
        if step.persist {
            self.persist(&step, questions).await;
        }
        for transition in &step.transitions {
            logging::transition(transition);
            self.history.record(transition, self.clock.now().wall_unix_ms);
        }
        self.tasks.abort(&step.cancels).await;
        self.state = step.next;
        self.wake_at_ms = step.wake_at_ms;
        for (id, effect) in step.effects {
            self.start(id, effect);
        }
        (self.progress)(&self.state);
    }

    fn start(&mut self, id: EffectId, effect: Effect) {
        let work = self.executor.start(effect, &self.state);
        self.tasks.start(id, work);
    }

    /// Returns once the new state is durable, however long that takes; questions are answered meanwhile from the
    /// old one. Nothing else may go on: an effect of a state that a power cut would take back breaks I1.
    async fn persist(&mut self, step: &Step, questions: &mut mpsc::Receiver<Box<dyn Ask>>) {
        let before = self.state.durable.sync.accepted.as_ref().map(|accepted| accepted.version);
        let after = step.next.durable.sync.accepted.as_ref().map(|accepted| accepted.version);
        let document = Arc::new(step.next.durable.clone());
        while let Err(failure) = self.save(Arc::clone(&document), before != after).await {
            logging::persist_failed(&failure, PERSIST_RETRY_MS);
            self.storage_failure = Some(failure);
            (self.progress)(&self.state);
            let pause = tokio::time::sleep(Duration::from_millis(PERSIST_RETRY_MS));
            let mut pause = std::pin::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    // An order given now would have to be remembered; only answers are possible.
                    Some(question) = questions.recv() => { let _ = self.answer(question); }
                }
            }
        }
        self.storage_failure = None;
    }

    async fn save(&mut self, document: Arc<Durable>, both: bool) -> Result<(), String> {
        let Some(mut persist) = self.persist.take() else {
            return Err("the store was lost with a task that panicked".to_owned());
        };
        let work = tokio::task::spawn_blocking(move || {
            let result = persist.save(&document, both);
            (persist, result)
        });
        match work.await {
            Ok((persist, result)) => {
                self.persist = Some(persist);
                result
            }
            Err(panic) => Err(panic.to_string()),
        }
    }

    fn answer(&self, question: Box<dyn Ask>) -> Option<Event> {
        question.answer(View {
            state: &self.state,
            policy: &self.policy,
            now: self.now(),
            wake_at_ms: self.wake_at_ms,
            history: &self.history,
            storage_failure: self.storage_failure.as_deref(),
        })
    }

    fn now(&self) -> Now {
        let now = self.clock.now();
        Now { monotonic_ms: now.boottime_ms, wall_unix_ms: now.wall_unix_ms }
    }

    fn wake_is_due(&self) -> bool {
        self.wake_at_ms.is_some_and(|at| self.now().monotonic_ms >= at)
    }

    fn sleep_time(&self, watchdog_interval: Option<Duration>) -> Duration {
        let now = self.now().monotonic_ms;
        let wake = self.wake_at_ms.map(|at| Duration::from_millis(at.saturating_sub(now)));
        // With nothing due the loop may sleep for as long as it likes; an hour is as good as any.
        let wake = wake.unwrap_or(Duration::from_secs(3600));
        watchdog_interval.map_or(wake, |interval| interval.min(wake))
    }
}
