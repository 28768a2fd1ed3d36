//! `$VAR`, `${VAR}` and the forms with a default, as compose's template engine expands them.
//!
//! The only environment is the one given: never the agent's own. Parts that are not used (`${A:-…}` when A is set)
//! must be well-formed, but their unset variables do not count.

use super::problems::{Problem, ProblemKind, Report};
use super::yaml::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Largest result of one string, in bytes.
pub(super) const STRING_BYTES_MAX: usize = 1 << 20;
/// Largest sum of the results of one file, in bytes.
const TOTAL_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting of defaults.
const NESTING_MAX: usize = 16;

/// Why a string cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// Not a well-formed reference; what is wrong with it.
    Malformed(String),
    /// `${NAME:?reason}` and there is no value.
    Missing { name: String, reason: String },
    /// The result is too long.
    TooLong,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => {
                write!(f, "{what}; write `$$` for a dollar sign")
            }
            Self::Missing { name, reason } if reason.is_empty() => {
                write!(f, "the parameter `{name}` has no value: the deployment must set it")
            }
            Self::Missing { name, reason } => {
                write!(f, "the parameter `{name}` has no value: {reason}")
            }
            Self::TooLong => write!(f, "longer than {STRING_BYTES_MAX} bytes after interpolation"),
        }
    }
}

/// The values names stand for.
pub(super) trait Lookup {
    fn lookup(&self, name: &str) -> Option<&str>;
}

impl Lookup for BTreeMap<String, String> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// Expands one string. Names without a value are empty and noted in `unset`.
pub(super) fn expand(
    text: &str,
    values: &dyn Lookup,
    unset: &mut BTreeSet<String>,
) -> Result<String, Error> {
    expand_nested(text, values, unset, 0)
}

/// What may follow the name in braces.
enum Operator {
    Default,
    Required,
    Replacement,
}

fn expand_nested(
    text: &str,
    values: &dyn Lookup,
    unset: &mut BTreeSet<String>,
    nesting: usize,
) -> Result<String, Error> {
    if nesting > NESTING_MAX {
        return Err(Error::Malformed(format!("defaults nested more than {NESTING_MAX} deep")));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing_brace(inside)
                .ok_or_else(|| Error::Malformed("`${` without its `}`".to_owned()))?;
            let (inside, behind) = inside.split_at(end);
            out.push_str(&braced(inside, values, unset, nesting)?);
            rest = behind.strip_prefix('}').unwrap_or(behind);
        } else {
            let (name, behind) = after.split_at(name_length(after));
            // A dollar sign before anything else stays one, as in compose.
            out.push_str(if name.is_empty() { "$" } else { value_or_empty(name, values, unset) });
            rest = behind;
        }
        if out.len() > STRING_BYTES_MAX {
            return Err(Error::TooLong);
        }
    }
    out.push_str(rest);
    if out.len() > STRING_BYTES_MAX { Err(Error::TooLong) } else { Ok(out) }
}

fn value_or_empty<'v>(name: &str, values: &'v dyn Lookup, unset: &mut BTreeSet<String>) -> &'v str {
    values.lookup(name).unwrap_or_else(|| {
        unset.insert(name.to_owned());
        ""
    })
}

fn name_length(text: &str) -> usize {
    text.bytes()
        .enumerate()
        .take_while(|(position, byte)| {
            *byte == b'_' || byte.is_ascii_alphabetic() || (*position > 0 && byte.is_ascii_digit())
        })
        .count()
}

/// Where the brace opened before `text` ends; braces inside count, whatever they belong to.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(position);
        }
    }
    None
}

fn braced(
    inside: &str,
    values: &dyn Lookup,
    unset: &mut BTreeSet<String>,
    nesting: usize,
) -> Result<String, Error> {
    let (name, rest) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return Err(Error::Malformed(format!("`${{{inside}}}` does not start with a name")));
    }
    if rest.is_empty() {
        return Ok(value_or_empty(name, values, unset).to_owned());
    }
    let (empty_is_unset, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut rest = rest.chars();
    let operator = match rest.next() {
        Some('-') => Operator::Default,
        Some('?') => Operator::Required,
        Some('+') => Operator::Replacement,
        _ => return Err(Error::Malformed(format!("`${{{inside}}}` is not a known form"))),
    };
    let value = values.lookup(name);
    let has_value = value.is_some_and(|value| !(empty_is_unset && value.is_empty()));
    let is_used = match operator {
        Operator::Default | Operator::Required => !has_value,
        Operator::Replacement => has_value,
    };
    let mut unset_inside = BTreeSet::new();
    let word = match expand_nested(rest.as_str(), values, &mut unset_inside, nesting + 1) {
        Err(Error::Missing { .. }) if !is_used => String::new(),
        other => other?,
    };
    if is_used {
        unset.append(&mut unset_inside);
    }
    match operator {
        Operator::Required if is_used => {
            Err(Error::Missing { name: name.to_owned(), reason: word })
        }
        Operator::Default | Operator::Replacement if is_used => Ok(word),
        _ => Ok(value.unwrap_or_default().to_owned()),
    }
}

/// Expands every string value of the tree in place; keys stay as they are.
pub(super) fn interpolate(root: &mut Node, values: &dyn Lookup, report: &mut Report) {
    let mut total_bytes = 0;
    walk(root, "", values, report, &mut total_bytes);
}

fn walk(
    node: &mut Node,
    path: &str,
    values: &dyn Lookup,
    report: &mut Report,
    total_bytes: &mut usize,
) {
    let (line, column) = (node.line, node.column);
    match &mut node.value {
        Value::Str(text) => {
            let mut unset = BTreeSet::new();
            let result = if text.contains('$') {
                expand(text, values, &mut unset)
            } else {
                Ok(std::mem::take(text))
            };
            match result {
                Ok(expanded) => {
                    *total_bytes = total_bytes.saturating_add(expanded.len());
                    if *total_bytes <= TOTAL_BYTES_MAX {
                        *text = expanded;
                    } else {
                        text.clear();
                        let message = format!(
                            "the file is longer than {TOTAL_BYTES_MAX} bytes after interpolation"
                        );
                        report.problem(
                            Problem::new(path, ProblemKind::Invalid, message).at(line, column),
                        );
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    report.problem(
                        Problem::new(path, ProblemKind::Invalid, message).at(line, column),
                    );
                    report.spoilt.insert(path.to_owned());
                }
            }
            for name in unset {
                let message = format!("`{name}` is not set: an empty text is used");
                report.warning(Problem::new(path, ProblemKind::Invalid, message).at(line, column));
            }
        }
        Value::Seq(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), values, report, total_bytes);
            }
        }
        Value::Map(entries) => {
            for (key, item) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(item, &path, values, report, total_bytes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

#[cfg(test)]
#[path = "interpolate/tests.rs"]
mod tests;
