//! The words of the command line. No library: five bytes of syntax, in a program that is in every boot.

use crate::commands::Failure;
use margo_boot_env::env::Slot;
use std::path::PathBuf;

/// What `--help` says.
pub(crate) const HELP: &str = "\
margo-boot-env: which slot the device starts, in two copies that a power cut cannot break

Usage: margo-boot-env [OPTION...] COMMAND

For RAUC (bootloader=custom):
  get-primary            the slot that is started next
  set-primary SLOT       starts SLOT first from now on; if it was bad, as a trial with 3 tries
  get-state SLOT         good if the slot is committed, else bad
  set-state SLOT STATE   good commits the slot, bad keeps it from being started
  get-current            the slot that runs

For the device:
  show [--json]          both copies and what follows from them
  heal                   repairs damaged copies, stores the machine id; runs at every boot
  reject                 calls the slot that runs bad if it is an uncommitted trial
  guard [--dry-run]      rejects such a slot and reboots; runs at the trial's deadline
  init FILE              makes a new environment for an image: slot A good and first, slot B bad

Options:
  --env-dir DIR          where the copies are (default: /boot/env)
  --cmdline FILE         the kernel's command line (default: /proc/cmdline)
  --machine-id FILE      the running system's machine id (default: /etc/machine-id)
  --lock FILE            keeps writers apart (default: /run/margo-boot-env.lock)
  --help, --version

SLOT is A or B. Exit status: 0 done, 1 failed, 2 wrong usage, 3 the slot that runs is not a trial (reject).
";

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Directory of the copies.
    pub(crate) env_dir: PathBuf,
    /// The kernel's command line.
    pub(crate) cmdline: PathBuf,
    /// The running system's machine id.
    pub(crate) machine_id: PathBuf,
    /// The lock file.
    pub(crate) lock: PathBuf,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    GetPrimary,
    SetPrimary(Slot),
    GetState(Slot),
    SetState(Slot, bool),
    GetCurrent,
    Show { json: bool },
    Heal,
    Reject,
    Guard { dry_run: bool },
    Init(PathBuf),
    Say(String),
}

/// Reads the words.
///
/// # Errors
/// A [`Failure`] with exit code 2 that names the word.
pub(crate) fn parse(words: &[String]) -> Result<(Place, Command), Failure> {
    let mut place = Place {
        env_dir: "/boot/env".into(),
        cmdline: "/proc/cmdline".into(),
        machine_id: "/etc/machine-id".into(),
        lock: "/run/margo-boot-env.lock".into(),
    };
    let mut rest = words.iter().map(String::as_str);
    let mut plain = Vec::new();
    while let Some(word) = rest.next() {
        let target = match word {
            "--env-dir" => &mut place.env_dir,
            "--cmdline" => &mut place.cmdline,
            "--machine-id" => &mut place.machine_id,
            "--lock" => &mut place.lock,
            "--help" | "-h" => return Ok((place, Command::Say(HELP.to_owned()))),
            "--version" => {
                let version = concat!("margo-boot-env ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok((place, Command::Say(version.to_owned())));
            }
            other => {
                plain.push(other);
                continue;
            }
        };
        *target = rest.next().ok_or_else(|| wrong(&format!("{word} needs a value")))?.into();
    }
    command(&plain).map(|command| (place, command))
}

fn command(words: &[&str]) -> Result<Command, Failure> {
    Ok(match words {
        ["get-primary"] => Command::GetPrimary,
        ["set-primary", name] => Command::SetPrimary(slot(name)?),
        ["get-state", name] => Command::GetState(slot(name)?),
        ["set-state", name, "good"] => Command::SetState(slot(name)?, true),
        ["set-state", name, "bad"] => Command::SetState(slot(name)?, false),
        ["get-current"] => Command::GetCurrent,
        ["show"] => Command::Show { json: false },
        ["show", "--json"] => Command::Show { json: true },
        ["heal"] => Command::Heal,
        ["reject"] => Command::Reject,
        ["guard"] => Command::Guard { dry_run: false },
        ["guard", "--dry-run"] => Command::Guard { dry_run: true },
        ["init", file] => Command::Init(file.into()),
        [] => return Err(wrong("a command is missing")),
        [other, ..] => {
            return Err(wrong(&format!("\"{}\" is not understood", words_of(other, words))));
        }
    })
}

/// What was given, for the message; the command alone if it is long.
fn words_of(command: &str, words: &[&str]) -> String {
    let all = words.join(" ");
    if all.len() > 60 { command.chars().take(60).collect() } else { all }
}

fn slot(name: &str) -> Result<Slot, Failure> {
    Slot::parse(name).ok_or_else(|| wrong(&format!("\"{name}\" is no slot: A or B")))
}

fn wrong(what: &str) -> Failure {
    Failure { text: format!("{what}; margo-boot-env --help lists the commands"), exit_code: 2 }
}
