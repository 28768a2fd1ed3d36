//! Which transitions and phases were seen while exploring: what the tables promise must be reachable.

use state_machine::step::Step;
use state_machine::transition::{Edge, MachineName, Why};
use std::collections::BTreeSet;

/// What a run has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) edges: BTreeSet<(MachineName, Edge)>,
}

impl Seen {
    pub(crate) fn note(&mut self, step: &Step) {
        for transition in &step.transitions {
            if !matches!(transition.why, Why::Ignored | Why::Stale) {
                let edge =
                    Edge { prev: transition.prev, why: transition.why, next: transition.next };
                self.edges.insert((transition.machine, edge));
            }
        }
    }
}
