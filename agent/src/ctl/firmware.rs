//! `margoctl firmware`: status, orders, and waiting for an installation.

use super::args::{FirmwareCommand, Verdict};
use super::error::{CtlError, Exit};
use super::run::Ctl;
use super::show_firmware;
use crate::local_api::{ClientError, FirmwareStatus, Request, Response};
use std::path::Path;
use std::time::Duration;

/// Between two looks while waiting.
const LOOK: Duration = Duration::from_millis(500);

/// Looks after which an order that nothing came of is called refused.
const LOOKS_TO_BEGIN_MAX: u32 = 10;

/// How far the waiting has come.
#[derive(Default)]
struct Watched {
    /// The attempt that is waited for.
    transaction: Option<String>,
    /// Its bundle is in the slot: the next thing is the restart.
    is_installed: bool,
    /// Looks that showed nothing under way.
    looks: u32,
    /// What was last shown.
    shown: String,
}

impl Ctl<'_> {
    pub(super) fn firmware(&mut self, command: FirmwareCommand) -> Result<Exit, CtlError> {
        match command {
            FirmwareCommand::Status => {
                let status = self.firmware_status()?;
                self.print(&status, |style| show_firmware::status(style, &status))
            }
            FirmwareCommand::Install { bundle, wait } => {
                let failed_before = self.firmware_status()?.history;
                self.order(Request::FirmwareInstall { location: location(&bundle) })?;
                if !wait {
                    return Ok(Exit::Done);
                }
                let known = failed_before.iter().map(|one| one.transaction.clone()).collect();
                self.wait_for_installation(known)
            }
            FirmwareCommand::Rollback => self.order(Request::FirmwareRollback),
            FirmwareCommand::Mark { verdict } => {
                self.order(Request::FirmwareMark { good: verdict == Verdict::Good })
            }
        }
    }

    fn firmware_status(&self) -> Result<FirmwareStatus, CtlError> {
        match self.ask(Request::Firmware)? {
            Response::Firmware(status) => Ok(*status),
            _ => Err(CtlError::Unexpected),
        }
    }

    /// Until the device restarts, or the attempt has failed. `known`: attempts that failed before.
    fn wait_for_installation(&mut self, known: Vec<String>) -> Result<Exit, CtlError> {
        let mut watched = Watched::default();
        loop {
            let status = match self.firmware_status() {
                Ok(status) => status,
                // The agent goes down with the device.
                Err(CtlError::Client(
                    ClientError::NotRunning { .. } | ClientError::Broken { .. },
                )) if watched.is_installed => return self.say("the device restarts now"),
                Err(error) => return Err(error),
            };
            let failed = status.history.iter().find(|one| !known.contains(&one.transaction));
            if let Some(failed) = failed {
                let failure = Box::new(failed.failure.clone());
                return Err(CtlError::FirmwareFailed(failure));
            }
            match (&status.update, &watched.transaction) {
                (Some(update), _) => {
                    watched.transaction = Some(update.transaction.clone());
                    watched.is_installed = update.phase == "installed";
                    let line = show_firmware::progress(update);
                    if line != watched.shown {
                        self.say(&line)?;
                        watched.shown = line;
                    }
                }
                (None, Some(_)) => return self.say("done"),
                // Refused at once, or not begun yet.
                (None, None) => match status.last_failure {
                    Some(failure) if watched.looks > LOOKS_TO_BEGIN_MAX => {
                        return Err(CtlError::FirmwareFailed(Box::new(failure)));
                    }
                    None if watched.looks > LOOKS_TO_BEGIN_MAX => return self.say("done"),
                    Some(_) | None => watched.looks = watched.looks.saturating_add(1),
                },
            }
            std::thread::sleep(LOOK);
        }
    }

    fn say(&mut self, line: &str) -> Result<Exit, CtlError> {
        let printed = if self.json {
            self.terminal.json_line(&serde_json::json!({ "message": line }))
        } else {
            self.terminal.text(&format!("{}\n", super::terminal::clean(line)))
        };
        printed.map(|()| Exit::Done).map_err(CtlError::Output)
    }
}

/// The agent and RAUC run in other directories than the person who asks.
fn location(bundle: &str) -> String {
    if bundle.contains("://") {
        return bundle.to_owned();
    }
    std::path::absolute(Path::new(bundle))
        .map_or_else(|_| bundle.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_urls_stay() {
        assert_eq!(location("https://x.example/a.raucb"), "https://x.example/a.raucb");
        assert_eq!(location("/data/a.raucb"), "/data/a.raucb");
        assert!(location("a.raucb").starts_with('/'));
    }
}
