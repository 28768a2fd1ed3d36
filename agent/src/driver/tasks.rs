//! Effects under way: started, awaited, aborted.

use futures_util::future::BoxFuture;
use state_machine::effect::Outcome;
use state_machine::failure::{Code, Failure};
use state_machine::ids::EffectId;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Outcomes that may wait to be taken. The machine has far fewer effects under way at a time.
const OUTCOMES_MAX: usize = 256;

/// The set of effects under way.
#[derive(Debug)]
pub struct Tasks {
    running: BTreeMap<EffectId, JoinHandle<()>>,
    outcomes: mpsc::Receiver<(EffectId, Outcome)>,
    report: mpsc::Sender<(EffectId, Outcome)>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (report, outcomes) = mpsc::channel(OUTCOMES_MAX);
        Self { running: BTreeMap::new(), outcomes, report }
    }
}

impl Tasks {
    /// Starts an effect. A panic in it becomes a failed outcome, so that the machine never waits in vain.
    pub fn start(&mut self, id: EffectId, work: BoxFuture<'static, Outcome>) {
        let report = self.report.clone();
        let guarded = Guard { id, report: Some(report.clone()) };
        let task = tokio::spawn(async move {
            let mut guarded = guarded;
            let outcome = work.await;
            guarded.report = None;
            // The receiver lives as long as the driver; without a driver nobody needs the outcome.
            let _ = report.send((id, outcome)).await;
        });
        self.running.insert(id, task);
    }

    /// Waits for the next outcome. Cancel-safe.
    pub async fn next(&mut self) -> (EffectId, Outcome) {
        match self.outcomes.recv().await {
            Some((id, outcome)) => {
                self.running.remove(&id);
                (id, outcome)
            }
            // `self.report` keeps the channel open.
            None => std::future::pending().await,
        }
    }

    /// Aborts effects and waits until they have really ended, so that their successors do not meet them.
    pub async fn abort(&mut self, ids: &[EffectId]) {
        for id in ids {
            if let Some(task) = self.running.remove(id) {
                task.abort();
                // Cancelled is what was asked for; finished just before is as good, its outcome is stale.
                let _ = task.await;
            }
        }
    }

    /// Aborts everything.
    pub async fn abort_all(&mut self) {
        let ids: Vec<EffectId> = self.running.keys().copied().collect();
        self.abort(&ids).await;
    }
}

/// Reports a failure when dropped by a panic.
struct Guard {
    id: EffectId,
    report: Option<mpsc::Sender<(EffectId, Outcome)>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(report) = self.report.take()
        {
            let failure = Failure::new(Code::Internal, "the effect's task panicked");
            // A full channel loses this outcome; the watchdog is the net below.
            let _ = report.try_send((self.id, Outcome::Failed { failure }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_failed_outcome() {
        let mut tasks = Tasks::default();
        tasks.start(EffectId(7), Box::pin(async { panic!("on purpose") }));
        let (id, outcome) = tasks.next().await;
        assert_eq!(id, EffectId(7));
        assert!(matches!(outcome, Outcome::Failed { failure } if failure.code == Code::Internal));
    }

    #[tokio::test]
    async fn an_aborted_effect_has_ended_when_abort_returns() {
        struct Flag(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Flag(std::sync::Arc::clone(&ended));
        let mut tasks = Tasks::default();
        tasks.start(
            EffectId(1),
            Box::pin(async move {
                let _flag = flag;
                std::future::pending().await
            }),
        );
        tokio::task::yield_now().await;
        tasks.abort(&[EffectId(1)]).await;
        assert!(ended.load(std::sync::atomic::Ordering::SeqCst));
    }
}
