//! What GRUB does with a boot environment: the same rules as `meta-margo/os/boot/grub.cfg`, in Rust.
//!
//! Exists so that the two cannot drift: `tests/grub.rs` runs the real grub.cfg in real GRUB and compares. Whoever changes
//! one changes the other.

use crate::env::{Env, Slot, State};

/// Which copy GRUB took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `/grubenv`
    First,
    /// `/grubenv.bak`
    Second,
    /// Neither could be read.
    Defaults,
}

/// Why a slot was started. Handed to the kernel as `margo.boot=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its state is good.
    Committed,
    /// It is being tried, and the try was counted.
    Trial,
    /// Nothing better was left; no try was counted.
    LastResort,
}

impl Reason {
    /// The word on the kernel's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Trial => "trial",
            Self::LastResort => "last-resort",
        }
    }
}

/// The outside conditions of a start.
#[derive(Debug, Clone, Copy)]
pub struct World {
    /// Whether the kernel of slot A can be loaded.
    pub kernel_a: bool,
    /// Whether the kernel of slot B can be loaded.
    pub kernel_b: bool,
    /// Whether GRUB can write the environment.
    pub writable: bool,
}

impl World {
    /// Nothing is wrong.
    pub const SOUND: Self = Self { kernel_a: true, kernel_b: true, writable: true };

    /// Whether a slot's kernel can be loaded.
    const fn kernel(&self, slot: Slot) -> bool {
        match slot {
            Slot::A => self.kernel_a,
            Slot::B => self.kernel_b,
        }
    }
}

/// What GRUB does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The slot that is started; `None` when no kernel can be loaded, and GRUB starts the machine over.
    pub started: Option<(Slot, Reason)>,
    /// The copy that was taken.
    pub source: Source,
    /// The environment afterwards, as in that copy; the other copy is never touched.
    pub after: Env,
}

/// What GRUB does with these two copies.
#[must_use]
pub fn would_boot(first: Option<&[u8]>, second: Option<&[u8]>, world: World) -> Choice {
    let read = |copy: Option<&[u8]>| copy.and_then(|bytes| Env::parse(bytes).ok());
    let (source, mut after) = if let Some(env) = read(first) {
        (Source::First, env)
    } else if let Some(env) = read(second) {
        (Source::Second, env)
    } else {
        (Source::Defaults, Env::grub_defaults())
    };
    for slot in after.order() {
        let reason = match after.state(slot) {
            State::Good => Reason::Committed,
            // A try that cannot be counted would be a try without end.
            State::Trial { tries: 0 } | State::Bad => continue,
            State::Trial { .. } if !world.writable => continue,
            State::Trial { tries } => {
                // Counted before the kernel is touched: loading it may hang.
                after.put(slot, State::Trial { tries: tries.saturating_sub(1) });
                Reason::Trial
            }
        };
        if world.kernel(slot) {
            return Choice { started: Some((slot, reason)), source, after };
        }
    }
    let last = after.order().into_iter().find(|slot| world.kernel(*slot));
    Choice { started: last.map(|slot| (slot, Reason::LastResort)), source, after }
}
