//! Waiting for a moment: the point at which the plug is pulled.

use super::world::World;
use crate::error::{Outcome, Trouble};
use crate::guest::journal::Mark;
use crate::scenario::action::Moment;
use margo_agent::logging::catalog;
use std::time::{Duration, Instant};

/// A moment must be hit quickly; looking costs the device nothing, but for questions to itself.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// What a program says when it stops at its hold.
pub(crate) const HELD_MESSAGE_ID: &str = "6d6172676f2d68656c6400000000f001";

/// The id of a catalog message.
pub(crate) fn message_id(name: &str) -> Outcome<&'static str> {
    let found = catalog::ALL.iter().find(|message| message.name == name);
    found
        .map(|message| message.id)
        .ok_or_else(|| Trouble::new(format!("there is no message {name}")))
}

impl World {
    /// Returns when the moment has come.
    pub(crate) fn await_moment(&mut self, moment: &Moment, timeout: Duration) -> Outcome {
        let mark = self.journal.mark();
        let resets = self.vm()?.resets();
        let requests = self.requests(moment)?;
        let deadline = Instant::now() + timeout;
        if let Moment::After(time) = moment {
            std::thread::sleep(*time);
            return Ok(());
        }
        loop {
            let looked = Instant::now();
            if self.has_come(moment, mark, requests, resets)? {
                return Ok(());
            }
            let took = looked.elapsed();
            if Instant::now() > deadline {
                let text = format!("waited {timeout:?} in vain for the moment {moment:?}");
                return Err(Trouble::new(text));
            }
            if !self.vm()?.is_running() {
                return Err(Trouble::new(format!("QEMU ended before the moment {moment:?}")));
            }
            std::thread::sleep(LOOK_AGAIN.max(took));
        }
    }

    fn has_come(
        &mut self,
        moment: &Moment,
        mark: Mark,
        requests: usize,
        resets: usize,
    ) -> Outcome<bool> {
        Ok(match moment {
            Moment::Now | Moment::After(_) => true,
            Moment::Message { name, field } => {
                let id = message_id(name)?;
                self.journal.find(mark, |entry| entry.is(id, field.as_ref())).is_some()
            }
            Moment::Request { count, .. } => {
                let wanted = usize::try_from(*count).unwrap_or(usize::MAX);
                self.requests(moment)?.saturating_sub(requests) >= wanted
            }
            Moment::Progress(percent) => self.firmware_progress()? >= *percent,
            // A hold that was reached before this step counts as well.
            Moment::Held => {
                let is_held = self.journal.find(self.boot_mark, |e| e.is(HELD_MESSAGE_ID, None));
                is_held.is_some()
            }
            Moment::Reset => self.vm()?.resets() > resets,
        })
    }

    fn requests(&self, moment: &Moment) -> Outcome<usize> {
        let Moment::Request { operation, .. } = moment else { return Ok(0) };
        let is_it = |request: &margo_lab::RequestRecord| {
            request.operation.is_some_and(|found| found.name() == operation.as_str())
        };
        Ok(self.lab()?.requests().iter().filter(|request| is_it(request)).count())
    }
}
