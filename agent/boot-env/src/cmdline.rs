//! What the boot loader told the kernel: the slot that was started, and why.
//!
//! Values are looked up among the words of `/proc/cmdline`; nothing else is read and nothing is changed.

use crate::env::Slot;

/// The words that concern the boot environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cmdline {
    /// `rauc.slot=`: the slot that runs.
    pub booted: Option<Slot>,
    /// Whether GRUB counted a try for this start (`margo.boot=trial`).
    pub is_trial: bool,
    /// Whether GRUB knew nothing and guessed (`margo.env=defaults`).
    pub is_guess: bool,
}

impl Cmdline {
    /// Reads the words. Of several with one name the last counts, as for the kernel.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let last = |name: &str| {
            text.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(name))
        };
        Self {
            booted: last("rauc.slot=").and_then(Slot::parse),
            is_trial: last("margo.boot=") == Some("trial"),
            is_guess: last("margo.env=") == Some("defaults"),
        }
    }
}
