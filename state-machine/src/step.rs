//! The result of a step, and the scratch space in which sub-machines write it.

use crate::effect::Effect;
use crate::ids::EffectId;
use crate::policy::Policy;
use crate::state::State;
use crate::time::Now;
use crate::transition::Transition;
use alloc::vec::Vec;

/// What one event led to. The driver obeys in the order of the fields.
#[derive(Clone, Debug)]
pub struct Step {
    /// The state after the event.
    pub next: State,
    /// `next.durable` differs from before: write it to stable storage before anything below (I1).
    pub persist: bool,
    /// What to log, in order.
    pub transitions: Vec<Transition>,
    /// Effects to abort; their outcomes are no longer wanted. Abort them before starting new ones.
    pub cancels: Vec<EffectId>,
    /// Effects to start.
    pub effects: Vec<(EffectId, Effect)>,
    /// When to send [`crate::event::Event::TimerElapsed`], in monotonic milliseconds.
    pub wake_at_ms: Option<u64>,
}

/// What a sub-machine may see and write during a step.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: &'a Now,
    pub(crate) policy: &'a Policy,
    pub(crate) next_effect: &'a mut u64,
    pub(crate) transitions: &'a mut Vec<Transition>,
    pub(crate) cancels: &'a mut Vec<EffectId>,
    pub(crate) effects: &'a mut Vec<(EffectId, Effect)>,
}

impl Cx<'_> {
    /// Orders an effect and returns the id its outcome will carry.
    pub(crate) fn start(&mut self, effect: Effect) -> EffectId {
        *self.next_effect = self.next_effect.saturating_add(1);
        let id = EffectId(*self.next_effect);
        self.effects.push((id, effect));
        id
    }

    /// Gives up on an effect, if one is under way.
    pub(crate) fn cancel(&mut self, id: Option<EffectId>) {
        self.cancels.extend(id);
    }
}
