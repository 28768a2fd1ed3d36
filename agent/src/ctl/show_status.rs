//! The state of the agent for people.

use super::terminal::{Style, Tone, clean, duration};
use crate::clock::format_utc;
use crate::local_api::{FailureStatus, Stage, Status, StoreStatus};
use crate::provision::Outcome;
use std::fmt::Write as _;

/// Label and value; an empty label continues the line above.
struct Lines {
    style: Style,
    text: String,
}

impl Lines {
    fn add(&mut self, label: &str, tone: Tone, value: &str) {
        let value = self.style.paint(tone, &clean(value));
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{label:<11}{value}");
    }

    fn failure(&mut self, failure: &FailureStatus) {
        self.add("", Tone::Bad, &format!("{}: {}", failure.code, failure.message));
        self.add("", Tone::Quiet, &format!("next: {}", failure.next_action));
    }
}

/// `margoctl status`.
pub(super) fn status(style: Style, status: &Status) -> String {
    let now_ms = status.clock.wall_unix_ms;
    let mut lines = Lines { style, text: String::new() };
    lines.add("Agent", Tone::Plain, &format!("margo-agent {}", status.agent_version));
    stage(&mut lines, status);
    provisioning(&mut lines, status);
    lines.add("Device", Tone::Plain, &status.device_id);
    identity(&mut lines, status, now_ms);
    wfm(&mut lines, status, now_ms);
    let manifest = status
        .manifest_version
        .map_or_else(|| "none accepted yet".to_owned(), |version| format!("version {version}"));
    lines.add("Manifest", Tone::Plain, &manifest);
    workloads(&mut lines, status);
    if let Some(firmware) = &status.firmware {
        let (tone, text) = super::show_firmware::summary(firmware);
        lines.add("Firmware", tone, &text);
        if let Some(update) = &firmware.update {
            lines.add("", Tone::Warning, &super::show_firmware::progress(update));
        }
    }
    let reports = match status.outbox_len {
        0 => "all sent".to_owned(),
        waiting => format!("{waiting} waiting to be sent"),
    };
    lines.add("Reports", Tone::Plain, &reports);
    store(&mut lines, &status.store);
    let (tone, clock) = if status.clock.is_trusted {
        (Tone::Plain, format_utc(now_ms))
    } else {
        (Tone::Bad, format!("{} is before a time already passed; not trusted", format_utc(now_ms)))
    };
    lines.add("Clock", tone, &clock);
    if let Some(next_wake_ms) = status.next_wake_ms {
        lines.add("Next", Tone::Plain, &format!("something to do in {}", duration(next_wake_ms)));
    }
    lines.text
}

fn stage(lines: &mut Lines, status: &Status) {
    let reached = Stage::ALL.iter().filter(|stage| **stage <= status.stage).count();
    let tone = if status.stage == Stage::Synced { Tone::Good } else { Tone::Warning };
    let text = format!("{} ({reached} of {})", status.stage.as_str(), Stage::ALL.len());
    lines.add("Stage", tone, &text);
    if let Some(lacking) = &status.lacking {
        lines.add("", Tone::Warning, &format!("lacking: {lacking}"));
    }
}

/// A refusal is news until the device is provisioned by other means or boots again.
fn provisioning(lines: &mut Lines, status: &Status) {
    let Some(attempt) = &status.provisioning else { return };
    let when = format_utc(attempt.at_unix_ms);
    let tone = match attempt.outcome {
        Outcome::Refused => Tone::Bad,
        Outcome::Installed | Outcome::Unchanged | Outcome::Kept | Outcome::Valid => Tone::Plain,
    };
    let text = format!("{} at {when}, from {}", attempt.outcome.as_str(), attempt.source);
    lines.add("Provision", tone, &text);
    for defect in &attempt.defects {
        lines.add("", Tone::Bad, &defect.to_string());
        lines.add("", Tone::Quiet, &format!("next: {}", defect.code.next_action()));
    }
}

fn identity(lines: &mut Lines, status: &Status, now_ms: u64) {
    let identity = &status.identity;
    lines.add("Identity", Tone::Plain, identity.spiffe_id.as_deref().unwrap_or("none"));
    if let Some(not_after) = identity.not_after_unix_ms {
        let (tone, rest) = match not_after.checked_sub(now_ms) {
            Some(rest) => (Tone::Plain, format!("{} left", duration(rest))),
            None => (Tone::Bad, "expired".to_owned()),
        };
        lines.add("", tone, &format!("valid until {}, {rest}", format_utc(not_after)));
    }
    if let Some(error) = &identity.error {
        lines.add("", Tone::Bad, error);
    }
}

fn wfm(lines: &mut Lines, status: &Status, now_ms: u64) {
    let wfm = &status.wfm;
    lines.add("WFM", Tone::Plain, wfm.url.as_deref().unwrap_or("not configured (wfm.url)"));
    if let Some(contact) = wfm.last_contact_unix_ms {
        let ago = duration(now_ms.saturating_sub(contact));
        lines.add("", Tone::Plain, &format!("last answered {ago} ago"));
    } else if wfm.url.is_some() {
        lines.add("", Tone::Warning, "never answered since the agent started");
    }
    if let Some(failure) = &wfm.last_error {
        lines.failure(failure);
    }
}

fn workloads(lines: &mut Lines, status: &Status) {
    let count = status.workloads;
    let tone = if count.failed > 0 {
        Tone::Bad
    } else if count.changing > 0 {
        Tone::Warning
    } else {
        Tone::Good
    };
    let text = match count.desired {
        0 => "none desired".to_owned(),
        desired => format!(
            "{desired} desired: {} installed, {} changing, {} failed",
            count.installed, count.changing, count.failed
        ),
    };
    lines.add("Workloads", tone, &text);
}

fn store(lines: &mut Lines, store: &StoreStatus) {
    let (tone, text) = match store {
        StoreStatus::Fresh => (Tone::Plain, "new: nothing was saved before this start".to_owned()),
        StoreStatus::Intact => (Tone::Plain, "intact".to_owned()),
        StoreStatus::Healed { detail } => (Tone::Warning, format!("healed: {detail}")),
        StoreStatus::Unhealed { detail } => (Tone::Bad, format!("one copy is damaged: {detail}")),
        StoreStatus::Lost { detail } => (Tone::Bad, format!("was lost: {detail}")),
    };
    lines.add("State", tone, &text);
}
