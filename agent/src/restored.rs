//! Says when the last-known desired state begins to be restored after a start, and when it is: the figure that a
//! person waiting for a machine to come back wants to know.

use crate::clock;
use crate::log_message;
use crate::logging::catalog;
use state_machine::state::State;
use state_machine::workload::{Live, Phase, Workload};

/// Watches the state after each round of the loop until everything is restored or has failed.
#[derive(Debug)]
pub(crate) struct RestoreWatch {
    began_ms: u64,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    New,
    Restoring,
    Done,
}

impl RestoreWatch {
    /// A watch of a run that began at this point, in milliseconds since boot.
    pub(crate) fn new(began_ms: u64) -> Self {
        Self { began_ms, stage: Stage::New }
    }

    /// Looks at the state; logs each of the two messages at most once.
    pub(crate) fn look(&mut self, state: &State) {
        let to_restore = || state.durable.workloads.values().filter(|w| !w.held.is_empty());
        if self.stage == Stage::New {
            let count = to_restore().count();
            self.stage = if count == 0 { Stage::Done } else { Stage::Restoring };
            if count > 0 {
                log_message!(catalog::RESTORE_STARTED, count, "restoring {count} deployments");
            }
        }
        if self.stage == Stage::Restoring && is_restored(state) {
            self.stage = Stage::Done;
            let failed = to_restore().filter(|workload| workload.failure.is_some()).count();
            let elapsed_ms = clock::boottime_ms().saturating_sub(self.began_ms);
            log_message!(
                catalog::RESTORE_FINISHED,
                elapsed_ms,
                failed,
                "restored after {elapsed_ms} ms, {failed} failed"
            );
        }
    }
}

fn is_restored(state: &State) -> bool {
    state.durable.workloads.iter().all(|(id, workload)| {
        workload.failure.is_some()
            || state.live.workloads.get(id).is_some_and(|live| rests(workload, live))
    })
}

/// Nothing of it is on its way back.
fn rests(workload: &Workload, live: &Live) -> bool {
    let moves = matches!(
        workload.phase,
        Phase::Applying { .. } | Phase::Pruning | Phase::Restoring { .. } | Phase::Prepared
    );
    !moves && live.hold.is_empty() && live.hold_failed.is_empty()
}
