//! What others do to the slots: operators, the guard, people with RAUC in their hands.

use crate::boot::Mark;
use crate::checker::{Disturbance, Scope};
use crate::normal::T0;
use crate::world::World;
use state_machine::effect::Effect;
use state_machine::event::{Event, StoreCondition};
use state_machine::firmware::Phase;

/// Nobody else installs while the machine does: RAUC has one installation at a time.
pub(crate) fn may_install(world: &World) -> bool {
    let update = world.state.durable.firmware.update.as_ref();
    let is_early = update.is_none_or(|u| matches!(u.phase, Phase::Preparing | Phase::Ready));
    is_early && !world.unmanaged
}

impl Scope {
    pub(crate) fn meddle(&self, world: &mut World, what: Disturbance, index: usize) {
        match what {
            Disturbance::Commit => {
                world.boot.happen(&Effect::CommitSlot);
                let boot = self.observation(world, StoreCondition::Intact).boot;
                self.feed(world, &Event::BootObserved { boot }, T0);
            }
            Disturbance::InstallUnbooted => world.boot.install_foreign(),
            Disturbance::NewSlot => {
                world.boot.install_foreign();
                self.boot(world, StoreCondition::Intact);
            }
            Disturbance::BootCommitted => {
                self.lose_power(world, |_| index == 1);
                world.boot.start(self.nature);
                world.boot.happen(&Effect::CommitSlot);
                world.boot.deadline = T0 + self.policy.firmware.trial_timeout_ms;
                world.containers.values_mut().for_each(|container| container.up = false);
                self.start(world, StoreCondition::Intact);
                self.settle_quick(world);
            }
            Disturbance::Guard => {
                world.boot.happen(&Effect::RejectSlot);
                self.boot(world, StoreCondition::Intact);
            }
            Disturbance::AgentCrash => {
                world.underway.clone().values().for_each(|effect| world.half_happen(effect));
                self.start(world, StoreCondition::Intact);
                self.settle_quick(world);
            }
            Disturbance::Unmanaged => {
                world.unmanaged = true;
                world.boot.marks[world.boot.booted] = Mark::Good;
                self.feed(world, &Event::BootObserved { boot: None }, T0);
            }
            other => {
                if let Some(event) = by_hand(other) {
                    self.feed(world, &event, T0);
                }
            }
        }
    }
}

/// What an operator asks for.
fn by_hand(what: Disturbance) -> Option<Event> {
    match what {
        Disturbance::InstallByHand => Some(Event::FirmwareRequested { location: "7".to_owned() }),
        Disturbance::RollBack => Some(Event::FirmwareRollbackRequested),
        Disturbance::JudgeGood => Some(Event::FirmwareJudged { good: true }),
        Disturbance::JudgeBad => Some(Event::FirmwareJudged { good: false }),
        _ => None,
    }
}
