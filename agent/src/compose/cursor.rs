//! A node together with the path of its key, and the typed ways to read it.
//!
//! Every reader notes what is wrong and returns `None`, so that one run finds all problems. What is a string, a
//! number or a list here is what compose's schema says it is.

use super::problems::{Problem, ProblemKind, Report};
use super::scalar::float_text;
use super::size_duration::{parse_duration_ns, parse_size_bytes};
use super::yaml::{Node, Value};

/// Longest list read, in items (I11).
pub(super) const ITEMS_MAX: usize = 1024;

/// A node and its path.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node,
    pub(super) path: String,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    fn child(&self, key: &str, node: &'a Node) -> Self {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { node, path }
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        match &self.node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map(|(name, node)| self.child(name, node)),
            _ => None,
        }
    }

    /// Keys and values of a map; nothing for anything else.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        match &self.node.value {
            Value::Map(entries) => {
                entries.iter().map(|(name, node)| (name.as_str(), self.child(name, node))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Items of a list; nothing for anything else.
    pub(super) fn items(&self) -> Vec<Self> {
        match &self.node.value {
            Value::Seq(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Self { node, path: format!("{}[{index}]", self.path) })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn kind_word(&self) -> &'static str {
        match self.node.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// A scalar as text, the way Go prints it; `None` for null, lists and maps.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match &self.node.value {
            Value::Str(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(float_text(*value)),
            Value::Null | Value::Seq(_) | Value::Map(_) => None,
        }
    }
}

impl Report {
    fn add(&mut self, at: &Cursor<'_>, kind: ProblemKind, message: impl Into<String>) {
        self.problem(Problem::new(at.path.clone(), kind, message).at(at.node.line, at.node.column));
    }

    pub(super) fn invalid(&mut self, at: &Cursor<'_>, message: impl Into<String>) {
        self.add(at, ProblemKind::Invalid, message);
    }

    pub(super) fn unsupported(&mut self, at: &Cursor<'_>, message: impl Into<String>) {
        self.add(at, ProblemKind::Unsupported, message);
    }

    pub(super) fn not_permitted(&mut self, at: &Cursor<'_>, message: impl Into<String>) {
        self.add(at, ProblemKind::NotPermitted, message);
    }

    pub(super) fn warn(&mut self, at: &Cursor<'_>, message: impl Into<String>) {
        self.warning(
            Problem::new(at.path.clone(), ProblemKind::Unsupported, message)
                .at(at.node.line, at.node.column),
        );
    }

    fn wrong_type<T>(&mut self, at: &Cursor<'_>, wanted: &str) -> Option<T> {
        let hint = match at.node.value {
            Value::Null => ": give it a value or remove the key",
            Value::Int(_) | Value::Float(_) | Value::Bool(_) if wanted.contains("string") => {
                ": put it in quotes"
            }
            _ => "",
        };
        self.invalid(at, format!("must be {wanted}, not {}{hint}", at.kind_word()));
        self.spoilt.insert(at.path.clone());
        None
    }

    /// A string; numbers and booleans must be quoted, as in compose.
    pub(super) fn string(&mut self, at: &Cursor<'_>) -> Option<String> {
        match &at.node.value {
            Value::Str(text) if text.contains('\0') => {
                self.invalid(at, "contains a NUL character");
                None
            }
            Value::Str(text) => Some(text.clone()),
            _ => self.wrong_type(at, "a string"),
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&mut self, at: &Cursor<'_>) -> Option<String> {
        let text = self.string(at)?;
        if text.is_empty() {
            self.invalid(at, "is empty: give it a value or remove the key");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&mut self, at: &Cursor<'_>) -> Option<bool> {
        match &at.node.value {
            Value::Bool(value) => Some(*value),
            // Interpolation gives strings.
            Value::Str(text) => match text.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                "y" | "yes" | "on" => {
                    self.warn(at, format!("`{text}` is not a YAML 1.2 boolean: write `true`"));
                    Some(true)
                }
                "n" | "no" | "off" => {
                    self.warn(at, format!("`{text}` is not a YAML 1.2 boolean: write `false`"));
                    Some(false)
                }
                _ => self.wrong_type(at, "true or false"),
            },
            _ => self.wrong_type(at, "true or false"),
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &mut self,
        at: &Cursor<'_>,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = match &at.node.value {
            Value::Int(number) => i64::try_from(*number).ok(),
            Value::Str(text) => text.parse().ok(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "only whole numbers far below 2^53 get here"
            )]
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Some(*number as i64)
            }
            _ => None,
        };
        let Some(number) = number else { return self.wrong_type(at, "a whole number") };
        if !range.contains(&number) {
            let (low, high) = (range.start(), range.end());
            self.invalid(at, format!("{number} is not between {low} and {high}"));
            return None;
        }
        Some(number)
    }

    /// A number that is not negative, such as `0.5` or `"0.5"`.
    pub(super) fn decimal(&mut self, at: &Cursor<'_>) -> Option<f64> {
        let number = match &at.node.value {
            #[expect(clippy::cast_precision_loss, reason = "a CPU count: small")]
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Str(text)
                if text.starts_with(|first: char| first.is_ascii_digit() || first == '.') =>
            {
                text.parse().ok().filter(|number: &f64| number.is_finite())
            }
            _ => None,
        };
        match number {
            Some(number) if number >= 0.0 => Some(number),
            _ => self.wrong_type(at, "a number that is not negative"),
        }
    }

    /// A size: bytes, or a text such as `64m`.
    pub(super) fn size_bytes(&mut self, at: &Cursor<'_>) -> Option<i64> {
        let size = match &at.node.value {
            Value::Int(number) => i64::try_from(*number).ok().filter(|number| *number >= 0),
            Value::Str(text) => parse_size_bytes(text),
            _ => None,
        };
        if size.is_none() {
            self.invalid(at, "must be a size such as `64m`, `1gb` or a number of bytes");
        }
        size
    }

    /// A duration, such as `1m30s`, in nanoseconds.
    pub(super) fn duration_ns(&mut self, at: &Cursor<'_>) -> Option<i64> {
        let text = self.string(at)?;
        let duration = parse_duration_ns(&text);
        if duration.is_none() {
            self.invalid(at, format!("`{text}` is not a duration such as `1m30s` or `500ms`"));
        }
        duration
    }

    /// A map.
    pub(super) fn map<'a>(&mut self, at: &Cursor<'a>) -> Vec<(&'a str, Cursor<'a>)> {
        if !at.is_map() {
            self.wrong_type::<()>(at, "a map");
        }
        self.bounded(at, at.entries())
    }

    /// A map, or nothing at all (`data:` without a value).
    pub(super) fn map_or_null<'a>(&mut self, at: &Cursor<'a>) -> Vec<(&'a str, Cursor<'a>)> {
        if at.is_null() { Vec::new() } else { self.map(at) }
    }

    /// A list.
    pub(super) fn list<'a>(&mut self, at: &Cursor<'a>) -> Vec<Cursor<'a>> {
        if !matches!(at.node.value, Value::Seq(_)) {
            self.wrong_type::<()>(at, "a list");
        }
        self.bounded(at, at.items())
    }

    fn bounded<T>(&mut self, at: &Cursor<'_>, mut items: Vec<T>) -> Vec<T> {
        if items.len() > ITEMS_MAX {
            self.invalid(at, format!("{} entries; at most {ITEMS_MAX} are accepted", items.len()));
            items.truncate(ITEMS_MAX);
        }
        items
    }

    /// A list of strings; repeated ones are dropped, as compose does.
    pub(super) fn strings(&mut self, at: &Cursor<'_>) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for item in self.list(at) {
            if let Some(text) = self.string(&item)
                && !out.contains(&text)
            {
                out.push(text);
            }
        }
        out
    }

    /// A string or a list of strings.
    pub(super) fn string_or_list(&mut self, at: &Cursor<'_>) -> Vec<String> {
        match at.node.value {
            Value::Str(_) => self.string(at).into_iter().collect(),
            _ => self.strings(at),
        }
    }

    /// A map of scalars, or a list of `key=value`; `None` where no value is given. Each with its place.
    pub(super) fn key_values<'a>(
        &mut self,
        at: &Cursor<'a>,
    ) -> Vec<(String, Option<String>, Cursor<'a>)> {
        let mut out = Vec::new();
        match &at.node.value {
            Value::Map(_) => {
                for (key, value) in self.map(at) {
                    if matches!(value.node.value, Value::Seq(_) | Value::Map(_)) {
                        self.wrong_type::<()>(&value, "a string, a number or a boolean");
                        continue;
                    }
                    out.push((key.to_owned(), value.scalar_text(), value));
                }
            }
            Value::Seq(_) => {
                for item in self.list(at) {
                    let Some(text) = self.string(&item) else { continue };
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    };
                    out.push((key, value, item));
                }
            }
            _ => {
                self.wrong_type::<()>(at, "a map or a list of `key=value`");
            }
        }
        out.retain(|(key, value, place)| {
            let is_bad = key.is_empty()
                || key.contains(['\0', '='])
                || value.as_ref().is_some_and(|value| value.contains('\0'));
            if is_bad {
                self.invalid(place, "needs a name without `=` and no NUL characters");
            }
            !is_bad
        });
        out
    }

    /// A map of options: strings, numbers or nothing.
    pub(super) fn options(
        &mut self,
        at: &Cursor<'_>,
    ) -> std::collections::BTreeMap<String, String> {
        if !at.is_map() {
            self.wrong_type::<()>(at, "a map");
            return std::collections::BTreeMap::new();
        }
        self.key_values(at)
            .into_iter()
            .map(|(key, value, _)| (key, value.unwrap_or_default()))
            .collect()
    }
}
