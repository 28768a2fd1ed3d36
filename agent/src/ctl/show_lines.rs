//! Events and log lines for people, one line each.

use super::terminal::{Style, Tone, clean};
use crate::clock::format_utc;
use crate::local_api::{Event, LogLine, LogStream};

/// `margoctl events`.
pub(super) fn event(style: Style, event: &Event) -> String {
    let time = event.time_unix_ms.map_or_else(|| "-".repeat(20), format_utc);
    let subject =
        if event.subject.is_empty() { String::new() } else { format!(" {}", event.subject) };
    let head = format!("{}{subject}:", event.machine);
    let next = style.paint(Tone::of_state(&event.next), &clean(&event.next));
    let detail =
        if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
    format!(
        "{} {:>5} {} {} -> {next} ({}){}\n",
        style.paint(Tone::Quiet, &time),
        event.seq,
        clean(&head),
        clean(&event.prev),
        clean(&event.why),
        clean(&detail),
    )
}

/// `margoctl logs`.
pub(super) fn log(style: Style, line: &LogLine) -> String {
    let tone = match line.stream {
        LogStream::Stdout => Tone::Quiet,
        LogStream::Stderr => Tone::Warning,
    };
    let source = clean(&format!("{}/{}", line.component, line.service)).into_owned();
    format!("{} {}\n", style.paint(tone, &format!("{source} |")), style.output(&line.text))
}
