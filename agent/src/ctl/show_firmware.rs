//! The firmware for people.

use super::terminal::{Cell, Style, Tone, clean, columns, duration};
use crate::local_api::{FailureStatus, FirmwareSlot, FirmwareStatus, FirmwareUpdate};
use std::fmt::Write as _;

/// `margoctl firmware status`.
pub(super) fn status(style: Style, status: &FirmwareStatus) -> String {
    let mut text = String::new();
    let mut line = |label: &str, tone: Tone, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<11}{}", style.paint(tone, &clean(value)));
    };
    let (tone, first) = summary(status);
    line("Firmware", tone, &first);
    if let Some(compatible) = &status.compatible {
        line("Made for", Tone::Plain, compatible);
    }
    if let Some(update) = &status.update {
        line("Update", Tone::Warning, &progress(update));
        line(
            "",
            Tone::Quiet,
            &format!("wanted by {}, transaction {}", update.origin, update.transaction),
        );
        if let Some(failure) = &update.failure {
            line("", Tone::Bad, &told(failure));
        }
    }
    if let Some(failure) = &status.last_failure {
        line("Failure", Tone::Bad, &told(failure));
        line("", Tone::Quiet, &format!("next: {}", failure.next_action));
    }
    for attempt in status.history.iter().rev() {
        let version = attempt.version.as_deref().unwrap_or("unknown version");
        line("Failed", Tone::Plain, &format!("{version}: {}", told(&attempt.failure)));
    }
    if !status.slots.is_empty() {
        let rows: Vec<Vec<Cell>> = status.slots.iter().map(slot).collect();
        let header = ["SLOT", "BOOTNAME", "VERSION", "STATE", "BOOT LOADER", "CONTENT"];
        let _ = write!(text, "\n{}", columns(style, &header, &rows));
    }
    text
}

/// The line in `margoctl status`.
pub(super) fn summary(status: &FirmwareStatus) -> (Tone, String) {
    if !status.is_managed {
        return (Tone::Plain, "not managed by the agent (firmware.mode)".to_owned());
    }
    let version = status.version.as_deref().unwrap_or("unknown version");
    let Some(slot) = &status.slot else {
        return (Tone::Warning, format!("{version}, slot not known yet: RAUC has not answered"));
    };
    let (tone, committed) =
        if status.is_committed { (Tone::Good, "committed") } else { (Tone::Warning, "on trial") };
    (tone, format!("{version} in {slot}, {committed}"))
}

/// One line about an attempt.
pub(super) fn progress(update: &FirmwareUpdate) -> String {
    let version = update.version.as_deref().unwrap_or("unknown version");
    let target = update.target.as_deref().map(|slot| format!(" to {slot}")).unwrap_or_default();
    let mut text = format!("{version}{target}: {}", update.phase);
    // Writing to a String cannot fail.
    if let Some(progress) = &update.progress {
        let _ = write!(text, ", {} % ({})", progress.percent, progress.message);
    }
    if let Some(deadline) = update.deadline_in_ms {
        let _ = write!(text, ", must be healthy within {}", duration(deadline));
    }
    if let Some(healthy) = update.healthy_for_ms {
        let _ = write!(text, ", healthy for {}", duration(healthy));
    }
    if let Some(retry) = update.retry_in_ms {
        let _ = write!(text, ", tried again in {}", duration(retry));
    }
    text
}

fn told(failure: &FailureStatus) -> String {
    format!("{}: {}", failure.code, failure.message)
}

fn slot(slot: &FirmwareSlot) -> Vec<Cell> {
    let plain = |text: &str| (Tone::Plain, clean(text).into_owned());
    let state = match (slot.is_booted, slot.is_primary) {
        (true, true) => "booted, next",
        (true, false) => "booted",
        (false, true) => "next",
        (false, false) => "-",
    };
    let loader = match slot.is_good {
        Some(true) => (Tone::Good, "good".to_owned()),
        Some(false) => (Tone::Bad, "bad or on trial".to_owned()),
        None => (Tone::Plain, "-".to_owned()),
    };
    let or_dash = |text: &str| if text.is_empty() { plain("-") } else { plain(text) };
    vec![
        plain(&slot.name),
        or_dash(&slot.bootname),
        or_dash(slot.version.as_deref().unwrap_or_default()),
        plain(state),
        loader,
        or_dash(&slot.status),
    ]
}
