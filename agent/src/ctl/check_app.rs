//! `margoctl check-app`: would this device run that application? Needs no agent and changes nothing.
//!
//! The judgement itself is the compose loader's, handed in as a function, so that what is checked here is
//! exactly what the agent refuses later.

use super::terminal::{Style, Tone, clean};
use crate::compose::model::{HostPolicy, Project, Service};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Judges a compose file, or a directory that holds one, with parameters and what the device permits.
pub type AppChecker = fn(&Path, &BTreeMap<String, String>, &HostPolicy) -> AppReport;

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AppReport {
    /// What would run; absent when refused.
    pub project: Option<Project>,
    /// Everything that is refused.
    pub problems: Vec<AppProblem>,
    /// What has no effect, or is probably not meant.
    pub warnings: Vec<AppProblem>,
}

impl AppReport {
    /// Whether the device would run it.
    pub fn is_accepted(&self) -> bool {
        self.problems.is_empty() && self.project.is_some()
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppProblem {
    /// Path of the key, like `services.web.ports[1]`; empty for the file as a whole.
    pub key: String,
    /// Line in the file, from 1; `None` when there is none.
    pub line: Option<u32>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// The verdict for people.
pub(super) fn show(style: Style, report: &AppReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&line(style, Tone::Bad, "refused", problem));
    }
    for warning in &report.warnings {
        text.push_str(&line(style, Tone::Warning, "warning", warning));
    }
    // Writing to a String cannot fail.
    match &report.project {
        Some(project) if report.is_accepted() => {
            for (name, service) in &project.services {
                let _ = writeln!(text, "service {}\n{}", clean(name), effective(service));
            }
            let _ = writeln!(text, "{}", style.paint(Tone::Good, "accepted"));
        }
        _ => {
            let count = report.problems.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            let verdict = style.paint(Tone::Bad, &format!("refused: {count} {noun}"));
            let _ = writeln!(text, "{verdict}");
        }
    }
    text
}

fn line(style: Style, tone: Tone, word: &str, problem: &AppProblem) -> String {
    let key = if problem.key.is_empty() { "the file" } else { &problem.key };
    let place = problem.line.map_or_else(String::new, |line| format!(" (line {line})"));
    let rest = format!("{key}{place}: {}", problem.message);
    format!("{} {}\n", style.paint(tone, word), clean(&rest))
}

/// What a service comes to, without what it does not say.
fn effective(service: &Service) -> String {
    let mut text = String::new();
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(service) else { return text };
    for (name, value) in fields {
        let is_unsaid = match &value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => true,
            serde_json::Value::Array(items) => items.is_empty(),
            serde_json::Value::Object(fields) => {
                fields.is_empty() || fields.values().all(serde_json::Value::is_null)
            }
            serde_json::Value::String(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::Bool(true) => false,
        };
        if !is_unsaid {
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    text.truncate(text.trim_end().len());
    text
}
