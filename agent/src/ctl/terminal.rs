//! Output: text or JSON, colours where they are wanted, columns that line up, nothing that steers a terminal.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

/// Where output goes and how it may look.
pub struct Terminal {
    /// Answers.
    pub out: Box<dyn Write>,
    /// Errors and hints.
    pub err: Box<dyn Write>,
    /// Look of answers.
    pub style: Style,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Terminal {
    /// The process's own output; colours only on a terminal and without `NO_COLOR`.
    pub fn standard() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = Style { colours: is_terminal && !no_color, is_terminal };
        Self { out: Box::new(io::stdout()), err: Box::new(io::stderr()), style }
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// A document, indented.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.text(&format!("{text}\n"))
    }

    /// One object of a stream, on one line.
    pub(super) fn json_line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.text(&format!("{text}\n"))
    }
}

/// How answers may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours are welcome.
    pub colours: bool,
    /// A person's terminal is at the other end, so control characters from others are taken out.
    pub is_terminal: bool,
}

/// What a text means, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Quiet,
}

impl Tone {
    /// The tone of one of Margo's states.
    pub(super) fn of_state(state: &str) -> Self {
        match state {
            "installed" | "running" | "healthy" => Self::Good,
            "failed" | "unhealthy" | "dead" => Self::Bad,
            "pending" | "installing" | "removing" | "starting" | "restarting" => Self::Warning,
            _ => Self::Plain,
        }
    }
}

impl Style {
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Log output: left as it is for programs, made harmless for terminals.
    pub(super) fn output(self, text: &str) -> Cow<'_, str> {
        if self.is_terminal { clean(text) } else { Cow::Borrowed(text) }
    }
}

/// Text from elsewhere without control characters, which could steer the terminal.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| c.is_control() && c != '\t';
    if text.contains(is_bad) {
        Cow::Owned(text.replace(is_bad, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A cell of a table.
pub(super) type Cell = (Tone, String);

/// Rows under a header, each column as wide as its widest cell.
pub(super) fn columns(style: Style, header: &[&str], rows: &[Vec<Cell>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| width(text));
        let header = header.get(column).map_or(0, |text| width(text));
        cells.max().unwrap_or_default().max(header)
    };
    let widths: Vec<usize> = (0..header.len()).map(width_of).collect();
    let mut text = String::new();
    let header: Vec<Cell> = header.iter().map(|name| (Tone::Quiet, (*name).to_owned())).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (index, ((tone, cell), column)) in row.iter().zip(&widths).enumerate() {
            let is_last = index.saturating_add(1) == row.len();
            let padding =
                if is_last { 0 } else { column.saturating_sub(width(cell)).saturating_add(2) };
            // Painted before padding: colours have no width.
            let _ = write!(line, "{}{:padding$}", style.paint(*tone, cell), "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A time span as people say it: `42 s`, `3 min`, `5 h`, `12 days`.
pub(super) fn duration(ms: u64) -> String {
    let secs = ms.div_ceil(1000);
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}
