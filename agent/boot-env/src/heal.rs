//! The repair at boot: what the boot environment should be, given what was found.
//!
//! Decides only; [`crate::copies::write`] carries it out. What it cannot know it does not invent: a slot is called good
//! only if something that can be read says so.

use crate::cmdline::Cmdline;
use crate::copies::Found;
use crate::disk::Copy;
use crate::env::{Env, Slot, State};

/// What the repair wants, and what it has to say about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The content both copies should have.
    pub env: Env,
    /// What was wrong and what was done about it, one sentence each.
    pub damage: Vec<String>,
    /// What was done though nothing was wrong.
    pub notes: Vec<String>,
}

/// What both copies should say. `machine_id` is the running system's, for the first boot.
#[must_use]
pub fn plan(found: &Found, cmdline: Cmdline, machine_id: Option<String>) -> Plan {
    let mut damage: Vec<String> =
        Copy::ALL.into_iter().filter_map(|copy| found.damage(copy)).collect();
    let mut notes = Vec::new();
    let mut env = if let Ok((env, from)) = found.current() {
        let done = format!("made both copies say what {} says", from.file_name());
        if !damage.is_empty() {
            damage.push(done);
        } else if !found.is_in_step() {
            // GRUB counts a try in the copy it read, and in no other.
            notes.push(done);
        }
        env.clone()
    } else {
        let env = from_nothing(cmdline);
        let [first, second] = env.order();
        damage.push(format!(
            "made both copies anew: first slot {first}, {}, then slot {second}, {}",
            env.state(first).name(),
            env.state(second).name()
        ));
        env
    };
    if env.machine_id.is_none() && machine_id.is_some() {
        env.machine_id = machine_id;
        notes.push("stored the machine id".to_owned());
    }
    Plan { env, damage, notes }
}

/// An environment for a device that lost both copies.
///
/// The slot that runs comes first. What it is depends on what GRUB still knew when it started it:
/// - GRUB could read the environment, and counted no try: the slot was committed and stays so. The other one is not
///   known to be anything and is called bad, which leaves it as the last resort.
/// - GRUB counted a try: a trial is running and goes on. Calling its slot good would commit what nobody judged. The
///   other slot is the one the trial was to be measured against, the only committed one.
/// - GRUB guessed: either could be half of an unfinished update. So both are trials, the running slot first: the agent
///   commits it once it is healthy; if it never is, GRUB tries the other one three times and then stays with this one.
fn from_nothing(cmdline: Cmdline) -> Env {
    let booted = cmdline.booted.unwrap_or(Slot::A);
    let (this, other) = if cmdline.booted.is_none() || cmdline.is_guess {
        (State::FRESH_TRIAL, State::FRESH_TRIAL)
    } else if cmdline.is_trial {
        // The number of tries went with the copies. None are left, so that this start is the last one.
        (State::Trial { tries: 0 }, State::Good)
    } else {
        (State::Good, State::Bad)
    };
    let mut env = Env { first: booted, ..Env::fresh() };
    env.put(booted, this);
    env.put(booted.other(), other);
    env
}

#[cfg(test)]
mod tests {
    use super::from_nothing;
    use crate::choice::{Reason, World, would_boot};
    use crate::cmdline::Cmdline;
    use crate::env::{Env, Slot, State};

    fn lost(words: &str) -> Env {
        from_nothing(Cmdline::parse(words))
    }

    /// The slots of the next starts when nobody ever changes anything.
    fn starts(mut env: Env, count: usize) -> Vec<(Slot, Reason)> {
        let mut slots = Vec::new();
        for _ in 0..count {
            let bytes = env.to_bytes().unwrap();
            let choice = would_boot(Some(&bytes), Some(&bytes), World::SOUND);
            slots.push(choice.started.unwrap());
            env = choice.after;
        }
        slots
    }

    #[test]
    fn a_committed_slot_stays_committed() {
        let env = lost("rauc.slot=B margo.boot=committed margo.env=first");
        assert_eq!((env.first, env.b, env.a), (Slot::B, State::Good, State::Bad));
        assert_eq!(starts(env, 3), [(Slot::B, Reason::Committed); 3]);
    }

    #[test]
    fn a_trial_goes_on_and_is_left_if_nobody_commits_it() {
        let env = lost("rauc.slot=B margo.boot=trial margo.env=second");
        assert_ne!(env.b, State::Good, "nobody judged slot B");
        assert_eq!(starts(env, 2), [(Slot::A, Reason::Committed); 2]);
    }

    #[test]
    fn after_a_guess_nothing_is_called_good_and_the_starts_settle() {
        for words in ["rauc.slot=B margo.boot=committed margo.env=defaults", "quiet"] {
            let env = lost(words);
            assert_ne!(env.a, State::Good);
            assert_ne!(env.b, State::Good);
            let first = env.first;
            let slots = starts(env, 9);
            assert_eq!(slots[..3], [(first, Reason::Trial); 3]);
            assert_eq!(slots[3..6], [(first.other(), Reason::Trial); 3]);
            assert_eq!(slots[6..], [(first, Reason::LastResort); 3], "for good, without a guard");
        }
    }
}
