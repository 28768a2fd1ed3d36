//! What the device's own `margoctl` says, read from its JSON.

use super::probe::Probe;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::run::steps::patience;
use serde_json::Value;
use std::time::Duration;

const TIME_MAX: Duration = Duration::from_secs(20);

/// Runs `margoctl --json` with these words.
pub(crate) fn ask(probe: &mut Probe, words: &str) -> Outcome<Value> {
    let ran = probe.run(&format!("margoctl --json {words}"), TIME_MAX * patience())?;
    if ran.exit != 0 {
        return Err(Trouble::new(format!("margoctl {words}: {}", ran.output.trim())));
    }
    serde_json::from_str(&ran.output).doing(format!("margoctl {words} printed no JSON"))
}

/// Text at a path such as `wfm.last_error.code`; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    let found = path.split('.').try_fold(value, |value, key| value.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}
