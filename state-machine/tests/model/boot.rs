//! The two slots, the boot loader with its three tries, and what RAUC makes of them: as the device's boot environment
//! has it (a slot is good, on trial, or bad), seen from outside.

use state_machine::effect::{Effect, Outcome};
use state_machine::event::BootSlot;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{BootId, SlotName};

/// Times the boot loader tries a slot on trial.
const TRIES: u8 = 3;

/// A slot's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    Good,
    Trial(u8),
    Bad,
}

/// What comes of a version of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Sound,
    /// No workload starts under it.
    BreaksWorkloads,
    /// The system is ill under it.
    BreaksSystem,
    /// It hangs before the agent starts, and the watchdog bites.
    DoesNotBoot,
}

/// The disk and the boot environment, as far as firmware goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Boot {
    pub(crate) booted: usize,
    pub(crate) primary: usize,
    pub(crate) marks: [Mark; 2],
    pub(crate) versions: [u8; 2],
    /// The name of this boot; three are enough to tell one from the one before and from that before it.
    pub(crate) boot: u8,
    /// When a trial has to be over, as the machine's clock has it; set by `normal`.
    pub(crate) deadline: u64,
}

impl Default for Boot {
    fn default() -> Self {
        let marks = [Mark::Good, Mark::Bad];
        Self { booted: 0, primary: 0, marks, versions: [1, 0], boot: 0, deadline: 0 }
    }
}

impl Boot {
    pub(crate) fn other(&self) -> usize {
        1 - self.booted
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        self.marks[self.booted] != Mark::Good
    }

    pub(crate) fn version(&self) -> u8 {
        self.versions[self.booted]
    }

    /// Power comes, or the reset line goes: the boot loader chooses, until something runs.
    pub(crate) fn start(&mut self, nature: fn(u8) -> Nature) {
        self.boot = (self.boot + 1) % 3;
        for _ in 0..8 {
            let slot = self.choose();
            if nature(self.versions[slot]) != Nature::DoesNotBoot {
                self.booted = slot;
                return;
            }
        }
        // A kernel that cannot be loaded at all is left for the other slot's.
        self.booted = 1 - self.choose();
    }

    fn choose(&mut self) -> usize {
        for slot in [self.primary, 1 - self.primary] {
            match &mut self.marks[slot] {
                Mark::Good => return slot,
                Mark::Trial(tries) if *tries > 0 => {
                    *tries -= 1;
                    return slot;
                }
                Mark::Trial(_) | Mark::Bad => {}
            }
        }
        self.primary
    }

    /// What an effect does when it succeeds. Repeating it changes nothing that matters.
    pub(crate) fn happen(&mut self, effect: &Effect) {
        let (booted, other) = (self.booted, self.other());
        match effect {
            Effect::InstallFirmware { bundle, .. } => {
                self.marks[other] = Mark::Trial(TRIES);
                self.versions[other] = bundle.version.parse().unwrap_or(0);
                self.primary = other;
            }
            Effect::DiscardFirmware => {
                self.marks[other] = Mark::Bad;
                self.primary = booted;
            }
            Effect::CommitSlot => self.marks[booted] = Mark::Good,
            Effect::RejectSlot => self.marks[booted] = Mark::Bad,
            Effect::ActivateOther => {
                self.primary = other;
                if let Mark::Trial(tries) = &mut self.marks[other] {
                    *tries = TRIES;
                }
            }
            _ => {}
        }
    }

    /// An installation that was cut off: the slot was marked bad before the first byte was written.
    pub(crate) fn half_happen(&mut self, effect: &Effect) {
        if matches!(effect, Effect::InstallFirmware { .. }) {
            let other = self.other();
            self.marks[other] = Mark::Bad;
            self.versions[other] = 0;
            self.primary = self.booted;
        }
    }

    /// Why an effect cannot succeed now.
    pub(crate) fn obstacle(&self, effect: &Effect) -> Option<Code> {
        let is_refused = match effect {
            Effect::RejectSlot => !self.is_on_trial(),
            Effect::ActivateOther => self.marks[self.other()] == Mark::Bad,
            _ => false,
        };
        is_refused.then_some(Code::FirmwareRejected)
    }

    /// Somebody else installs to the other slot, and restarts.
    pub(crate) fn install_foreign(&mut self) {
        let other = self.other();
        self.marks[other] = Mark::Trial(TRIES);
        self.versions[other] = 8;
        self.primary = other;
    }

    /// What the agent sees of it.
    pub(crate) fn observed(&self) -> BootSlot {
        let name = |slot: usize| SlotName::new(format!("rootfs.{slot}"));
        BootSlot {
            slot: name(self.booted),
            other: Some(name(self.other())),
            committed: !self.is_on_trial(),
            boot: BootId::new(format!("boot-{}", self.boot)),
            version: Some(self.version().to_string()),
            note: None,
        }
    }

    /// A look at the system.
    pub(crate) fn check(&self, nature: fn(u8) -> Nature) -> Outcome {
        let is_ill = nature(self.version()) == Nature::BreaksSystem;
        let ill = || Failure::new(Code::Internal, "a unit failed");
        Outcome::SystemChecked { failures: is_ill.then(ill).into_iter().collect() }
    }
}
