//! The service manager's view of the agent: ready, status, watchdog, and the signals it sends.
//!
//! The watchdog is fed by the driver when it made progress, never by a timer of its own: a driver that hangs
//! is restarted.

use sd_notify::NotifyState;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Longest status line, in bytes (I11).
const STATUS_SIZE_BYTES_MAX: usize = 256;

/// Tells the service manager that the agent is up.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    let text = text.replace('\n', " ");
    send(&[NotifyState::Status(&crate::logging::clip(&text, STATUS_SIZE_BYTES_MAX))]);
}

/// Tells the service manager that the agent is going down on purpose.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Tells the service manager that the configuration is being read anew; follow with [`ready`].
pub fn reloading() {
    // The time is what `Type=notify-reload` asks for; without it the reload would count as failed.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        send(&[NotifyState::Reloading, now]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager, ignoring");
    }
}

/// The service manager's watchdog.
#[derive(Debug)]
pub struct Watchdog {
    /// `None` = nobody watches.
    interval_ms: Option<u64>,
    fed_ms: Option<u64>,
}

impl Watchdog {
    /// What the service manager asks for in `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self::from_variables(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        )
    }

    fn from_variables(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Self {
        let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
        let interval_ms = usec
            .filter(|_| is_ours)
            .and_then(|usec| usec.parse::<u64>().ok())
            .and_then(|usec| usec.checked_div(1000))
            .filter(|interval_ms| *interval_ms > 0);
        Self { interval_ms, fed_ms: None }
    }

    /// How long the driver may wait for something to happen before it calls [`Watchdog::progress`] again: half
    /// of the watchdog's time. `None` = as long as it likes.
    pub fn wait_max(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.interval_ms?.checked_div(2)?.max(1)))
    }

    /// Feeds the watchdog. Call it each time round the loop, only after the loop did what there was to do.
    pub fn progress(&mut self) {
        if self.is_due(crate::clock::monotonic_ms()) {
            send(&[NotifyState::Watchdog]);
        }
    }

    /// At most every quarter of the watchdog's time, so that a busy loop does not flood; with a wait of half of
    /// it, at most three quarters pass between two feeds.
    fn is_due(&mut self, now_ms: u64) -> bool {
        let Some(interval_ms) = self.interval_ms else { return false };
        let pause_ms = interval_ms.checked_div(4).unwrap_or_default();
        if self.fed_ms.is_some_and(|fed_ms| now_ms < fed_ms.saturating_add(pause_ms)) {
            return false;
        }
        self.fed_ms = Some(now_ms);
        true
    }
}

/// What the outside asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: the service manager stops the agent.
    Terminate,
    /// SIGINT: a person at a terminal does.
    Interrupt,
    /// SIGHUP: read the configuration anew.
    Reload,
}

/// The signals the agent answers to.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    reload: Stream,
}

impl Signals {
    /// Takes over the signals. Must be called inside the runtime, once, before anything slow.
    ///
    /// # Errors
    /// The system's error.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel-safe: a signal that is not taken stays.
    pub async fn next(&mut self) -> Signal {
        // Each arm is cancel-safe: receiving from a signal stream is.
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.reload.recv() => Signal::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog(usec: Option<&str>, pid: Option<&str>) -> Watchdog {
        Watchdog::from_variables(usec, pid, 7)
    }

    #[test]
    fn the_watchdog_follows_the_environment() {
        let wait = |usec, pid| watchdog(usec, pid).wait_max();
        assert_eq!(wait(Some("30000000"), None), Some(Duration::from_secs(15)));
        assert_eq!(wait(Some("30000000"), Some("7")), Some(Duration::from_secs(15)));
        assert_eq!(wait(Some("30000000"), Some("8")), None, "meant for another process");
        assert_eq!(wait(None, None), None);
        assert_eq!(wait(Some("soon"), None), None);
        assert_eq!(wait(Some("0"), None), None);
    }

    #[test]
    fn it_is_fed_at_once_and_then_at_most_every_quarter() {
        let mut watchdog = watchdog(Some("8000000"), None);
        let due: Vec<u64> = (0..=8000).step_by(500).filter(|ms| watchdog.is_due(*ms)).collect();
        assert_eq!(due, [0, 2000, 4000, 6000, 8000]);
    }

    #[test]
    fn nobody_watching_is_never_fed() {
        assert!(!watchdog(None, None).is_due(1_000_000));
    }

    #[tokio::test]
    async fn signals_arrive_by_their_meaning() {
        use rustix::process::{Pid, Signal as Sys, getpid, kill_process};
        let own: Pid = getpid();
        let mut signals = Signals::new().unwrap();
        for (sent, expected) in [
            (Sys::HUP, Signal::Reload),
            (Sys::TERM, Signal::Terminate),
            (Sys::INT, Signal::Interrupt),
        ] {
            kill_process(own, sent).unwrap();
            assert_eq!(signals.next().await, expected);
        }
    }
}
