//! Scenario files to steps. Every error names the file, the line and what to do.

use super::line::{Word, words};
use super::table::{ROWS, Row};
use super::{Scenario, Step, coverage};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long a step may take when the line does not say. Generous: emulated machines are slow.
const WITHIN_DEFAULT: Duration = Duration::from_secs(90);
/// Largest file, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// What `needs` can name.
const NEEDS: &[&str] = &["firmware", "guard", "boot-env", "provisioning", "watchdog"];

/// What a line gave for the placeholders of its pattern.
#[derive(Debug, Default)]
pub(crate) struct Args(BTreeMap<String, String>);

impl Args {
    pub(crate) fn word(&self, key: &str) -> Result<String, String> {
        self.0.get(key).cloned().ok_or_else(|| format!("{key}= is missing"))
    }

    pub(crate) fn optional(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    pub(crate) fn number(&self, key: &str) -> Result<u64, String> {
        let text = self.word(key)?;
        text.parse().map_err(|_| format!("{key} is a whole number, not {text:?}"))
    }

    pub(crate) fn number_or(&self, key: &str, default: u64) -> Result<u64, String> {
        if self.0.contains_key(key) { self.number(key) } else { Ok(default) }
    }

    pub(crate) fn duration(&self, key: &str) -> Result<Duration, String> {
        duration(&self.word(key)?)
    }

    pub(crate) fn one_of(&self, key: &str, known: &[&str]) -> Result<String, String> {
        let text = self.word(key)?;
        if known.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(format!("{key} is one of {}, not {text:?}", known.join(", ")))
    }
}

/// `90s`, `1500ms`, `2min`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text:?} is no time; write 90s, 1500ms or 2min");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

/// Reads a file's text.
pub(crate) fn scenario(path: &Path, text: &str) -> Result<Scenario, String> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut scenario = Scenario {
        name: name.unwrap_or_default(),
        path: path.to_owned(),
        title: String::new(),
        covers: Vec::new(),
        needs: Vec::new(),
        is_nightly: false,
        steps: Vec::new(),
    };
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("{}: larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let at = |why: String| format!("{}:{number}: {why}", path.display());
        take_line(&mut scenario, number, line).map_err(at)?;
    }
    let whole = |why: &str| Err(format!("{}: {why}", path.display()));
    if scenario.title.is_empty() {
        return whole("no title; begin with: scenario \"What it shows\"");
    }
    if scenario.steps.is_empty() {
        return whole("no steps; qemu/scenarios/README.md lists them");
    }
    Ok(scenario)
}

fn take_line(scenario: &mut Scenario, number: usize, line: &str) -> Result<(), String> {
    let words = words(line)?;
    let Some(first) = words.first() else { return Ok(()) };
    let rest = || words.iter().skip(1).map(|word| word.text.clone());
    match first.text.as_str() {
        "scenario" => match words.as_slice() {
            [_, title] if title.is_quoted => scenario.title.clone_from(&title.text),
            _ => return Err("write: scenario \"What it shows\"".to_owned()),
        },
        "nightly" if words.len() == 1 => scenario.is_nightly = true,
        "covers" => {
            for point in rest() {
                coverage::check_name(&point)?;
                scenario.covers.push(point);
            }
        }
        "needs" => {
            for need in rest() {
                if !NEEDS.contains(&need.as_str()) {
                    return Err(format!("needs {need:?}: one of {}", NEEDS.join(", ")));
                }
                scenario.needs.push(need);
            }
        }
        _ => {
            let (action_words, within) = split_within(&words)?;
            let action = find(action_words)?;
            if within.is_some() && !action.waits() {
                return Err("this step waits for nothing: leave `within` out".to_owned());
            }
            let within = within.unwrap_or(WITHIN_DEFAULT);
            let text = line.trim().to_owned();
            scenario.steps.push(Step { line: number, text, action, within });
        }
    }
    Ok(())
}

/// Takes `within 90s` or `within 90 s` off the end.
fn split_within(words: &[Word]) -> Result<(&[Word], Option<Duration>), String> {
    let is_within = |word: &Word| !word.is_quoted && word.text == "within";
    let Some(place) = words.iter().rposition(is_within) else {
        return Ok((words, None));
    };
    let (action, tail) = words.split_at(place);
    let time: String = tail.iter().skip(1).map(|word| word.text.as_str()).collect();
    Ok((action, Some(duration(&time)?)))
}

fn find(words: &[Word]) -> Result<super::action::Action, String> {
    let mut best: Option<String> = None;
    for row in ROWS {
        match fit(row, words) {
            Fit::Yes(args) => return (row.build)(&args),
            Fit::No => {}
            Fit::Nearly(why) => best = Some(why),
        }
    }
    let first = words.first().map_or("", |word| word.text.as_str());
    let near: Vec<String> = ROWS
        .iter()
        .filter(|row| row.pattern.split(' ').next() == Some(first))
        .map(|row| format!("\n    {}", row.pattern))
        .collect();
    match best {
        Some(why) => Err(why),
        None if near.is_empty() => {
            Err(format!("there is no step {first:?}; qemu/scenarios/README.md lists them"))
        }
        None => Err(format!("no step is written like this; there is:{}", near.concat())),
    }
}

enum Fit {
    Yes(Args),
    /// The fixed words are these, the settings are not.
    Nearly(String),
    No,
}

/// Whether a line is written as a row says.
fn fit(row: &Row, line: &[Word]) -> Fit {
    let mut args = Args::default();
    let mut optional = Vec::new();
    let mut required = Vec::new();
    let mut fixed = Vec::new();
    for part in row.pattern.split(' ') {
        let inner = part.trim_start_matches('[').trim_end_matches(']');
        match inner.split_once('=') {
            Some((key, _)) if part.starts_with('[') => optional.push(key),
            Some((key, _)) => required.push(key),
            None => fixed.push(part),
        }
    }
    let mut plain = Vec::new();
    let mut strange = None;
    for word in line {
        let setting = word.text.split_once('=').filter(|(key, _)| is_key(key));
        match setting {
            Some((key, value)) if optional.contains(&key) || required.contains(&key) => {
                args.0.insert(key.to_owned(), value.to_owned());
            }
            Some((key, _)) if !word.is_quoted => strange = Some(key.to_owned()),
            _ => plain.push(word),
        }
    }
    if plain.len() != fixed.len() {
        return Fit::No;
    }
    for (part, word) in fixed.iter().zip(plain) {
        match part.strip_prefix('<').and_then(|part| part.strip_suffix('>')) {
            Some(name) => {
                args.0.insert(name.to_owned(), word.text.clone());
            }
            None if *part == word.text && !word.is_quoted => {}
            None => return Fit::No,
        }
    }
    if let Some(key) = strange {
        return Fit::Nearly(format!("{key}= is not known here; it is written: {}", row.pattern));
    }
    match required.into_iter().find(|key| !args.0.contains_key(*key)) {
        Some(key) => Fit::Nearly(format!("{key}= is missing; it is written: {}", row.pattern)),
        None => Fit::Yes(args),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_lowercase())
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
