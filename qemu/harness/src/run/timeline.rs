//! What happened when: shown as it happens and again at the end, and written as JSON.

use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// One line of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Seconds since the scenario began.
    pub(crate) at_s: f64,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
    pub(crate) text: String,
    /// A headline of the scenario.
    pub(crate) is_headline: bool,
}

/// The lines of one scenario.
#[derive(Debug)]
pub(crate) struct Timeline {
    name: String,
    began: Instant,
    is_shown: bool,
    pub(crate) lines: Vec<Line>,
}

impl Timeline {
    pub(crate) fn new(name: &str, is_shown: bool) -> Self {
        Self { name: name.to_owned(), began: Instant::now(), is_shown, lines: Vec::new() }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Something is about to be done.
    pub(crate) fn begin(&self, text: &str) {
        if self.is_shown {
            say(&format!("{:7.1} s  {}  {text}", self.seconds(), self.name));
        }
    }

    /// It is done.
    pub(crate) fn done(&mut self, began: Instant, text: &str, is_headline: bool) {
        let took_s = began.elapsed().as_secs_f64();
        let at_s = self.seconds() - took_s;
        self.lines.push(Line { at_s, took_s, text: text.to_owned(), is_headline });
        if self.is_shown && is_headline {
            say(&bold(&format!("\n{text}")));
        }
    }

    /// Everything once more.
    pub(crate) fn closing(&self) -> String {
        let line = |line: &Line| {
            if line.is_headline {
                return format!("\n           {}\n", bold(&line.text));
            }
            format!("{:7.1} s  {:6.1} s  {}\n", line.at_s, line.took_s, line.text)
        };
        format!("    when      took\n{}", self.lines.iter().map(line).collect::<String>())
    }
}

/// One line for people.
pub(crate) fn say(text: &str) {
    // A closed terminal does not stop a test.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn bold(text: &str) -> String {
    let is_wanted = std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal();
    if is_wanted { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
