//! The commands: each reads the copies under the lock, changes them at most once, and gives an answer.

use crate::args::{Command, Place};
use crate::show;
use margo_boot_env::cmdline::Cmdline;
use margo_boot_env::copies::{self, Found, Written};
use margo_boot_env::disk::RealDisk;
use margo_boot_env::env::{self, Env, State};
use margo_boot_env::error::CopiesError;
use margo_boot_env::heal;
use margo_boot_env::lock::{Lock, WAIT_MAX};
use margo_boot_env::reboot::{self, ORDERLY_MAX, Verdict};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For people.
    pub(crate) text: String,
    /// 1, or 2 for wrong usage, or 3 for nothing to reject.
    pub(crate) exit_code: u8,
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { text: chain(&error), exit_code: 1 }
    }
}

/// Tells the journal (or a person), with a priority systemd understands: 3 error, 4 warning, 6 information.
pub(crate) fn log(priority: u8, text: &str) {
    // Nothing can be told when standard error is gone.
    let _ = writeln!(std::io::stderr(), "<{priority}>margo-boot-env: {text}");
}

/// Does what was asked; the answer is for standard output.
///
/// # Errors
/// A [`Failure`] that names the file and the next step.
pub(crate) fn run(place: &Place, command: &Command) -> Result<String, Failure> {
    match command {
        Command::Say(text) => Ok(text.clone()),
        Command::GetCurrent => {
            let booted = cmdline(place)?.booted;
            let slot = booted.ok_or_else(|| no_slot(place))?;
            Ok(format!("{slot}\n"))
        }
        Command::GetPrimary => Ok(format!("{}\n", current(place)?.primary())),
        Command::GetState(slot) => {
            let committed = current(place)?.state(*slot) == State::Good;
            Ok(if committed { "good\n" } else { "bad\n" }.to_owned())
        }
        Command::SetPrimary(slot) => {
            let booted = cmdline(place)?.booted;
            change(place, |env| env.make_first(*slot, booted))
        }
        Command::SetState(slot, true) => change(place, |env| env.commit(*slot)),
        Command::SetState(slot, false) => change(place, |env| env.spoil(*slot)),
        Command::Show { json } => {
            let found = copies::read(&RealDisk::new(&place.env_dir))?;
            let booted = cmdline(place).unwrap_or_default().booted;
            Ok(if *json { show::json(&found, booted) } else { show::text(&found, booted) })
        }
        Command::Heal => heal(place),
        Command::Reject => reject(place),
        Command::Guard { dry_run } => guard(place, *dry_run),
        Command::Init(file) => init(file),
    }
}

/// What counts at the moment.
fn current(place: &Place) -> Result<Env, Failure> {
    let _lock = Lock::take(&place.lock, WAIT_MAX)?;
    let found = copies::read(&RealDisk::new(&place.env_dir))?;
    Ok(found.current()?.0.clone())
}

/// Reads, changes, writes; nothing is written if nothing changes.
fn change(place: &Place, how: impl FnOnce(&mut Env)) -> Result<String, Failure> {
    let _lock = Lock::take(&place.lock, WAIT_MAX)?;
    let mut disk = RealDisk::new(&place.env_dir);
    let found = copies::read(&disk)?;
    let mut env = found.current()?.0.clone();
    how(&mut env);
    write(&mut disk, &found, &env)?;
    Ok(String::new())
}

fn write(disk: &mut RealDisk, found: &Found, env: &Env) -> Result<(), Failure> {
    let written = copies::write(disk, found, env)?;
    if let Written::FirstOnly(error) = &written {
        // The change counts, so its caller must not be told that it failed.
        log(
            4,
            &format!(
                "the first copy is written and counts, but the second is not: {}",
                chain(error)
            ),
        );
    }
    Ok(())
}

fn heal(place: &Place) -> Result<String, Failure> {
    let _lock = Lock::take(&place.lock, WAIT_MAX)?;
    let mut disk = RealDisk::new(&place.env_dir);
    let found = copies::read(&disk)?;
    let machine_id = fs::read(&place.machine_id).ok();
    let machine_id = machine_id.and_then(|text| env::machine_id(text.trim_ascii()));
    let plan = heal::plan(&found, cmdline(place).unwrap_or_default(), machine_id);
    // Told before it is done: should the write hang, the journal knows what was found.
    for text in &plan.damage {
        log(4, text);
    }
    write(&mut disk, &found, &plan.env)?;
    for text in &plan.notes {
        log(6, text);
    }
    Ok(String::new())
}

fn reject(place: &Place) -> Result<String, Failure> {
    let booted = cmdline(place)?.booted.ok_or_else(|| no_slot(place))?;
    let mut state = State::Bad;
    change(place, |env| {
        state = env.state(booted);
        if matches!(state, State::Trial { .. }) {
            env.spoil(booted);
        }
    })?;
    if matches!(state, State::Trial { .. }) {
        log(4, &format!("rejected slot {booted}: the next boot takes the other one if it can"));
        return Ok(String::new());
    }
    let text =
        format!("slot {booted} runs and is {}, not a trial: nothing was changed", state.name());
    Err(Failure { text, exit_code: 3 })
}

/// Ends well in every case of doubt: its unit takes a failure for "cannot even run" and reboots.
fn guard(place: &Place, dry_run: bool) -> Result<String, Failure> {
    // Read without the lock: a writer that hangs must not keep a trial running.
    let found = copies::read(&RealDisk::new(&place.env_dir));
    let env = found.as_ref().ok().and_then(|found| found.current().ok()).map(|(env, _)| env);
    match reboot::verdict(env, cmdline(place).unwrap_or_default()) {
        Verdict::Stay => {
            log(6, "the slot that runs is not a trial: nothing to do");
            Ok(String::new())
        }
        Verdict::Unknown => {
            log(4, "it cannot be told whether the slot that runs is a trial: it is left running");
            Ok(String::new())
        }
        Verdict::Leave(slot) if dry_run => Ok(format!("would reject slot {slot} and reboot\n")),
        Verdict::Leave(slot) => {
            log(4, &format!("nobody committed slot {slot} in time: rejecting it and rebooting"));
            match reject(place) {
                Ok(_) => {}
                // Committed at the very last moment.
                Err(failure) if failure.exit_code == 3 => {
                    log(6, &failure.text);
                    return Ok(String::new());
                }
                // GRUB's count of tries ends the trial then.
                Err(failure) => log(3, &format!("{}; rebooting all the same", failure.text)),
            }
            reboot::reboot(ORDERLY_MAX)?;
            Ok(String::new())
        }
    }
}

/// A new file for an image. An existing one is not touched: it could be a device's.
fn init(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure {
        text: format!("cannot make {}: {error}; remove it first if it is there", file.display()),
        exit_code: 1,
    };
    let bytes = Env::fresh().to_bytes()?;
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    let mut made = made.map_err(failed)?;
    made.write_all(&bytes).map_err(failed)?;
    made.sync_all().map_err(failed)?;
    Ok(String::new())
}

fn cmdline(place: &Place) -> Result<Cmdline, Failure> {
    let text = fs::read(&place.cmdline).map_err(|source| CopiesError::File {
        doing: "read",
        path: place.cmdline.clone(),
        source,
    })?;
    Ok(Cmdline::parse(&String::from_utf8_lossy(&text)))
}

fn no_slot(place: &Place) -> Failure {
    let path = place.cmdline.display();
    Failure {
        text: format!(
            "{path} does not say which slot runs: grub-slot.cfg must pass rauc.slot=A or rauc.slot=B"
        ),
        exit_code: 1,
    }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
