//! What is wrong with a compose file: every problem, each with the path of its key, never just the first.

use serde::Serialize;
use state_machine::failure::{Code, Failure};
use std::collections::BTreeSet;
use std::fmt;

/// Most problems kept of one file; the rest are counted only (I11).
pub const PROBLEMS_MAX: usize = 200;

/// Longest message of one problem, in bytes.
const MESSAGE_BYTES_MAX: usize = 400;

/// Why a key or value is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// No Compose implementation would take it.
    Invalid,
    /// Compose knows it, this device does not.
    Unsupported,
    /// The device's policy, or a rule of Margo, forbids it.
    NotPermitted,
}

impl ProblemKind {
    const fn words(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsupported => "not supported",
            Self::NotPermitted => "not permitted",
        }
    }
}

/// One problem, or one warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path of the key, such as `services.web.ports[1]`; empty for the file as a whole.
    pub path: String,
    /// Line in the file, counted from 1; 0 when there is none.
    pub line: u32,
    /// Column in the file, counted from 1; 0 when there is none.
    pub column: u32,
    /// Why it is not accepted. A warning has a kind too: what it would be on a stricter device.
    pub kind: ProblemKind,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    /// A problem without a place in the file. Cuts overlong messages.
    pub fn new(path: impl Into<String>, kind: ProblemKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { path: path.into(), line: 0, column: 0, kind, message }
    }

    /// The same problem, at a place in the file.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = line;
        self.column = column;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str("compose file")?;
        } else {
            f.write_str(&self.path)?;
        }
        if self.line > 0 {
            write!(f, " (line {}, column {})", self.line, self.column)?;
        }
        write!(f, ": {}: {}", self.kind.words(), self.message)
    }
}

/// All problems of one file, in the order found; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The one failure the state machine hears of: `COMPOSE_INVALID` when anything is invalid, else
    /// `COMPOSE_UNSUPPORTED`. Its message is bounded; `margoctl check-app` shows the whole list.
    pub fn to_failure(&self) -> Failure {
        let is_invalid = self.0.iter().any(|problem| problem.kind == ProblemKind::Invalid);
        let code = if is_invalid { Code::ComposeInvalid } else { Code::ComposeUnsupported };
        let mut message = match self.0.len() {
            1 => String::new(),
            count => format!("{count} problems; "),
        };
        // Those that decide the code come first: the end of the text may be cut.
        let (first, rest): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|problem| !is_invalid || problem.kind == ProblemKind::Invalid);
        for (position, problem) in first.into_iter().chain(rest).take(8).enumerate() {
            if position > 0 {
                message.push_str("; ");
            }
            message.push_str(&problem.to_string());
        }
        Failure::new(code, message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems and warnings while a file is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Paths that could not be interpolated or have a wrong type: they are not judged again.
    pub(super) spoilt: BTreeSet<String>,
}

impl Report {
    pub(super) fn problem(&mut self, problem: Problem) {
        if self.spoilt.contains(&problem.path) {
            return;
        }
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    pub(super) fn warning(&mut self, problem: Problem) {
        if self.warnings.len() < PROBLEMS_MAX && !self.warnings.contains(&problem) {
            self.warnings.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use state_machine::failure::FailureClass;

    #[test]
    fn the_failure_names_the_worst_kind() {
        let unsupported = Problem::new("services.a.build", ProblemKind::Unsupported, "no builds");
        let invalid = Problem::new("services.a.image", ProblemKind::Invalid, "missing").at(3, 5);
        let one = Problems(vec![unsupported.clone()]).to_failure();
        assert_eq!(one.code, Code::ComposeUnsupported);
        assert_eq!(one.message, "services.a.build: not supported: no builds");
        let two = Problems(vec![unsupported, invalid]).to_failure();
        assert_eq!((two.code, two.class), (Code::ComposeInvalid, FailureClass::Refused));
        assert!(
            two.message.starts_with(
                "2 problems; services.a.image (line 3, column 5): invalid: missing; services.a.build"
            ),
            "{}",
            two.message
        );
    }

    #[test]
    fn messages_and_lists_are_bounded() {
        let long = Problem::new("a", ProblemKind::Invalid, "é".repeat(1000));
        assert!(long.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
        let mut report = Report::default();
        for _ in 0..PROBLEMS_MAX + 50 {
            report.problem(long.clone());
        }
        assert_eq!(report.problems.len(), PROBLEMS_MAX);
        assert!(Problems(report.problems).to_failure().message.len() <= 512);
    }

    #[test]
    fn display_lists_all() {
        let text = Problems(vec![
            Problem::new("", ProblemKind::Invalid, "empty"),
            Problem::new("x", ProblemKind::NotPermitted, "no"),
        ])
        .to_string();
        assert_eq!(text, "compose file: invalid: empty\nx: not permitted: no");
    }
}
