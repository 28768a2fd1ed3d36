//! What the agent takes of the device's memory.

use crate::error::{Outcome, Trouble};
use crate::run::world::World;

/// Prints the boot slot's state before and after, and the kernel's account of the agent in between.
const ASK: &str = "slot=$(sed -n 's/.*rauc.slot=\\([AB]\\).*/\\1/p' /proc/cmdline); \
    grep \"^${slot}_STATE=\" /boot/env/grubenv; \
    cat /proc/$(systemctl show -P MainPID margo-agent.service)/smaps_rollup; \
    grep \"^${slot}_STATE=\" /boot/env/grubenv";

/// Memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Its share of what is shared and all of what is not.
    pub(super) pss_kib: u64,
    /// The part of it that no file backs, which the kernel cannot drop.
    pub(super) anonymous_kib: u64,
}

/// The agent's memory now; the slot must be in this state all the time.
pub(super) fn of_agent(world: &mut World, state: &str) -> Outcome<Memory> {
    let text = world.sh(ASK)?;
    parse(&text, state)
        .ok_or_else(|| Trouble::new(format!("no memory of the agent in a {state} slot: {text}")))
}

fn parse(text: &str, state: &str) -> Option<Memory> {
    let mut states = text.lines().filter_map(|line| line.split_once("_STATE="));
    let is_it = |found: Option<(&str, &str)>| found.is_some_and(|(_, found)| found == state);
    if !is_it(states.next()) || !is_it(states.next()) {
        return None;
    }
    Some(Memory { pss_kib: field(text, "Pss:")?, anonymous_kib: field(text, "Pss_Anon:")? })
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_only_in_the_state_that_was_asked_for() {
        let rollup =
            "55d-7ff ---p 0 00:00 0 [rollup]\nRss: 9 kB\nPss:    4321 kB\nPss_Anon:  12 kB\n";
        let trial = format!("B_STATE=trial\n{rollup}B_STATE=trial\n");
        let memory = Memory { pss_kib: 4321, anonymous_kib: 12 };
        assert_eq!(parse(&trial, "trial"), Some(memory));
        assert_eq!(parse(&trial, "good"), None);
        let committed_meanwhile = format!("B_STATE=trial\n{rollup}B_STATE=good\n");
        assert_eq!(parse(&committed_meanwhile, "trial"), None);
        assert_eq!(parse("A_STATE=good\nA_STATE=good\n", "good"), None, "no agent");
    }
}
