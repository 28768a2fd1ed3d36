//! A running device put aside: its memory in a file, its disk frozen, to go on from any number of times.

use super::machine::Vm;
use crate::error::{Outcome, Trouble};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Writing or reading the memory of a device.
const COPY_MAX: Duration = Duration::from_secs(180);

/// Stops the machine and writes its memory; its disk must not be written afterwards.
pub(crate) fn save(vm: &mut Vm, file: &Path) -> Outcome {
    vm.qmp.ask("stop", json!({}))?;
    vm.qmp.ask("migrate", json!({"uri": format!("file:{}", file.display())}))?;
    vm.qmp.ask_until("query-migrate", COPY_MAX, is_done)
}

/// Waits until the memory given at the start is in place.
pub(crate) fn loaded(vm: &mut Vm) -> Outcome {
    vm.qmp.ask_until("query-migrate", COPY_MAX, is_done)
}

fn is_done(answer: &Value) -> Outcome<bool> {
    match answer.get("status").and_then(Value::as_str) {
        Some("completed") => Ok(true),
        Some("failed" | "cancelled") => Err(Trouble::new(format!("the snapshot: {answer}"))),
        _ => Ok(false),
    }
}
