//! What came of a device's write log, for people and as JSON.

use super::spans::Span;
use crate::log::Entry;
use crate::store_judge::StoreFigures;
use serde::Serialize;
use std::fmt::Write as _;

/// Faults that are told; all are counted.
pub const FAULTS_SHOWN: usize = 10;

/// All of it.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Writes in the log.
    pub writes: usize,
    /// Megabytes (10^6 bytes) that they carry.
    pub written_mb: u64,
    /// Flushes in the log.
    pub flushes: usize,
    /// Spans between flushes with a write.
    pub spans: usize,
    /// The boot environment and the slots.
    pub boot: BootFigures,
    /// The agent's store.
    pub store: StoreOfDeviceFigures,
    /// Whether the replayed disk is the one the device left; `None` when that was not asked.
    pub same_disk: Option<bool>,
}

/// Of the boot environment and the slots.
#[derive(Debug, Default, Serialize)]
pub struct BootFigures {
    /// Spans in which the environment or a slot is written.
    pub spans: usize,
    /// Of these, looked at completely.
    pub spans_complete: usize,
    /// States judged.
    pub states: usize,
    /// Different situations among them, each read by GRUB.
    pub situations: usize,
    /// States in which the first copy cannot be used.
    pub first_unreadable: usize,
    /// States in which neither can.
    pub unreadable: usize,
    /// States in which the slot that is started, or would be if its kernel could be loaded, is not complete.
    pub half_written: usize,
    /// States in which GRUB does other than our library says.
    pub disagreements: usize,
    /// What GRUB does, in the order in which it came up, with the number of states.
    pub decisions: Vec<(String, usize)>,
    /// The first faults.
    pub faults: Vec<String>,
}

/// Of the agent's store.
#[derive(Debug, Default, Serialize)]
pub struct StoreOfDeviceFigures {
    /// Spans in which the data partition is written.
    pub spans: usize,
    /// Of these, those that have to do with the store; all are looked at.
    pub spans_of_store: usize,
    /// Spans that were looked at.
    pub spans_judged: usize,
    /// Of these, completely.
    pub spans_complete: usize,
    /// States made.
    pub states: usize,
    /// Different ones, all read by the store.
    pub distinct: usize,
    /// States that are older than what a flush had settled.
    pub forgotten: usize,
    /// What the store found.
    #[serde(flatten)]
    pub found: StoreFigures,
    /// The first faults.
    pub faults: Vec<String>,
}

impl Figures {
    /// Takes down what the log itself says.
    pub fn count(&mut self, entries: &[Entry], spans: &[Span]) {
        self.writes = entries.iter().filter(|entry| entry.size_bytes > 0).count();
        self.written_mb = entries.iter().map(|entry| entry.size_bytes).sum::<u64>() / 1_000_000;
        self.flushes = entries.iter().filter(|entry| entry.flush).count();
        self.spans = spans.len();
        self.store.spans = spans.iter().filter(|span| span.has_data).count();
        self.store.spans_of_store = spans.iter().filter(|span| span.is_of_store).count();
    }

    /// Whether every cut leaves a device that starts a complete slot and knows what it knew; and whether something was
    /// looked at.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let boot = &self.boot;
        let store = &self.store;
        boot.states > 0
            && boot.first_unreadable + boot.unreadable == 0
            && boot.half_written + boot.disagreements == 0
            && store.distinct > 0
            && store.found.unreadable + store.found.healed + store.forgotten == 0
            && self.same_disk != Some(false)
    }

    /// A table.
    #[must_use]
    pub fn table(&self) -> String {
        let (boot, store) = (&self.boot, &self.store);
        let mut text = format!(
            "the log: {} writes ({} MB), {} flushes, {} spans between flushes with a write\n\n",
            self.writes, self.written_mb, self.flushes, self.spans
        );
        let mut row = |name: &str, boot: &str, store: &str| {
            let _ = writeln!(text, "{name:44}  {boot:>18}  {store:>14}");
        };
        let number = |number: usize| number.to_string();
        row("", "environment, slots", "agent's store");
        row("spans with a write to it", &number(boot.spans), &number(store.spans));
        row("  of these, looked at", &number(boot.spans), &number(store.spans_judged));
        row(
            "  of these, every subset of the sectors",
            &number(boot.spans_complete),
            &number(store.spans_complete),
        );
        row("states made", &number(boot.states), &number(store.states));
        row(
            "  different ones, read by the real reader",
            &number(boot.situations),
            &number(store.distinct),
        );
        row("unreadable", &number(boot.unreadable), &number(store.found.unreadable));
        row(
            "one of the two copies damaged",
            &number(boot.first_unreadable),
            &number(store.found.healed),
        );
        row("a slot offered that is not complete", &number(boot.half_written), "");
        row("GRUB does other than margo_boot_env::choice", &number(boot.disagreements), "");
        row("older than what was flushed", "", &number(store.forgotten));
        row("of a new device, before the first save", "", &number(store.found.fresh));
        row("file system repaired, not only replayed", "", &number(store.found.unclean));
        let _ = writeln!(
            text,
            "\nspans of the store: {}; generations read: {}",
            store.spans_of_store,
            store.found.generations.len()
        );
        if let Some(same) = self.same_disk {
            let _ = writeln!(
                text,
                "the replayed disk is the device's, byte for byte: {}",
                if same { "yes" } else { "NO" }
            );
        }
        let _ = writeln!(text, "\nwhat GRUB does, in order, with the number of states");
        for (decision, states) in &boot.decisions {
            let _ = writeln!(text, "{states:8}  {decision}");
        }
        for fault in boot.faults.iter().chain(&store.faults) {
            let _ = writeln!(text, "fault: {fault}");
        }
        text
    }
}
