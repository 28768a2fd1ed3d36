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
    /// One sentence for each thing that was wrong.
    pub remarks: Vec<String>,
}

/// What both copies should say. `machine_id` is the running system's, for the first boot.
#[must_use]
pub fn plan(found: &Found, cmdline: Cmdline, machine_id: Option<String>) -> Plan {
    let damage = Copy::ALL.into_iter().filter_map(|copy| found.damage(copy));
    let mut remarks: Vec<String> = damage.collect();
    let mut env = if let Ok((env, from)) = found.current() {
        if remarks.is_empty() && !found.is_in_step() {
            // Normal after a try: GRUB counts in the copy it read.
            remarks.push("the copies differed".to_owned());
        }
        if !remarks.is_empty() {
            remarks.push(format!("made both copies say what {} says", from.file_name()));
        }
        env.clone()
    } else {
        let env = from_nothing(cmdline);
        let [first, second] = env.order();
        remarks.push(format!(
            "made both copies anew: slot {first} {}, then slot {second} {}",
            env.state(first).name(),
            env.state(second).name()
        ));
        env
    };
    if env.machine_id.is_none() && machine_id.is_some() {
        env.machine_id = machine_id;
        remarks.push("stored the machine id".to_owned());
    }
    Plan { env, remarks }
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
