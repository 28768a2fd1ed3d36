//! Leaving a trial: whether the guard must, and rebooting also when nothing else works any more.
//!
//! Starts `systemctl`, which talks to systemd's own socket, and calls the kernel itself when that does not help.

use crate::cmdline::Cmdline;
use crate::env::{Env, Slot, State};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest wait for an orderly shutdown: a container's 10 s and systemd's 90 s for a service fit in.
pub const ORDERLY_MAX: Duration = Duration::from_secs(180);

/// Longest wait for disks to take what is cached: one of them may be dead.
const SYNC_MAX: Duration = Duration::from_secs(10);

/// What the guard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The slot that runs is an uncommitted trial: it must be left.
    Leave(Slot),
    /// The slot that runs is not a trial, or not any more.
    Stay,
    /// It is not known which slot runs, or what it is. A committed slot must never be left by mistake, so: stay.
    Unknown,
}

/// Decides at the trial's deadline. `env` is `None` when it cannot be read.
#[must_use]
pub fn verdict(env: Option<&Env>, cmdline: Cmdline) -> Verdict {
    match (env, cmdline.booted) {
        (Some(env), Some(slot)) => match env.state(slot) {
            State::Trial { .. } => Verdict::Leave(slot),
            State::Good | State::Bad => Verdict::Stay,
        },
        _ => Verdict::Unknown,
    }
}

/// Asks systemd for an orderly reboot, and forces one when the machine is still up after `orderly_max`. Comes back only
/// when even that fails.
///
/// # Errors
/// What the kernel said.
pub fn reboot(orderly_max: Duration) -> std::io::Result<()> {
    let started = Instant::now();
    let mut child = ask_systemd();
    while started.elapsed() < orderly_max && !has_failed(child.as_mut()) {
        std::thread::sleep(Duration::from_millis(200));
    }
    force()
}

/// Puts the reboot at the head of systemd's work. No D-Bus is needed: root has systemd's own socket.
fn ask_systemd() -> Option<Child> {
    let mut command = Command::new("systemctl");
    command.args(["--no-block", "--no-ask-password", "--job-mode=replace-irreversibly"]);
    command.args(["start", "reboot.target"]).stdin(Stdio::null()).spawn().ok()
}

/// Whether systemd cannot be asked. One that was asked, or has not answered yet, is waited for.
fn has_failed(child: Option<&mut Child>) -> bool {
    child.is_none_or(|child| match child.try_wait() {
        Ok(Some(status)) => !status.success(),
        Ok(None) => false,
        Err(_) => true,
    })
}

/// The kernel reboots, whatever still runs.
fn force() -> std::io::Result<()> {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        rustix::fs::sync();
        // Nobody listens any more when this took too long.
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(SYNC_MAX);
    rustix::system::reboot(rustix::system::RebootCommand::Restart).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdict};
    use crate::cmdline::Cmdline;
    use crate::env::{Env, Slot, State};

    #[test]
    fn only_an_uncommitted_trial_is_left() {
        let on_b = Cmdline::parse("quiet rauc.slot=B margo.boot=trial");
        let with = |b| Env { b, ..Env::fresh() };
        for tries in 0..=3 {
            let env = with(State::Trial { tries });
            assert_eq!(verdict(Some(&env), on_b), Verdict::Leave(Slot::B));
        }
        assert_eq!(verdict(Some(&with(State::Good)), on_b), Verdict::Stay);
        assert_eq!(verdict(Some(&with(State::Bad)), on_b), Verdict::Stay);
    }

    #[test]
    fn in_doubt_the_device_stays_up() {
        let trial = Env { b: State::FRESH_TRIAL, ..Env::fresh() };
        let on_a = Cmdline::parse("rauc.slot=A");
        assert_eq!(verdict(Some(&trial), on_a), Verdict::Stay, "another slot's trial");
        assert_eq!(verdict(Some(&trial), Cmdline::parse("rauc.slot=C")), Verdict::Unknown);
        assert_eq!(verdict(None, on_a), Verdict::Unknown);
    }
}
