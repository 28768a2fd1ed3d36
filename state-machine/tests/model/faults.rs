//! Seeded mistakes. A model that cannot fail proves nothing: each of these must break the property it names.
use crate::checker::Scope;
use state_machine::event::Event;
use state_machine::policy::Policy;
use state_machine::state::State;
use state_machine::step::Step;
use state_machine::time::Now;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GarbageIgnoresGood,
}

type Case = (Fault, &'static str, fn() -> Scope);
pub(crate) const CAUGHT_BY: &[Case] = &[];

impl Fault {
    pub(crate) fn step(self, state: &State, event: &Event, now: &Now, policy: &Policy) -> Step {
        state_machine::step(state, event, now, policy)
    }
}
