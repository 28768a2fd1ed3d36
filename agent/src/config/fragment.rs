//! One file: every key optional, each value checked on its own and kept with its line.

use super::error::{ConfigError, Place};
use super::keys::{self, Key, Kind, LIST_LEN_MAX, Preset};
use super::rules::Rule;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Characters of a value shown in an error.
const VALUE_SHOWN_CHARS_MAX: usize = 80;

/// A value and where it was set.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) value: toml::Value,
    pub(super) place: Place,
}

/// The valid values of one file, by the path of their key.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) values: BTreeMap<&'static str, Located>,
}

impl Fragment {
    /// Reads a file's text. What is wrong goes to `errors`; the rest is kept.
    pub(super) fn parse(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Self {
        let mut parser = Parser { file: path.into(), text, errors, values: BTreeMap::new() };
        match DeTable::parse(text) {
            Ok(table) => parser.table("", table.get_ref()),
            Err(error) => {
                let place = parser.place(error.span().map_or(0, |span| span.start));
                let message = error.message().to_owned();
                parser.errors.push(ConfigError::Syntax { place, message });
            }
        }
        Self { values: parser.values }
    }
}

struct Parser<'a> {
    file: Arc<Path>,
    text: &'a str,
    errors: &'a mut Vec<ConfigError>,
    values: BTreeMap<&'static str, Located>,
}

impl Parser<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        Place { file: Arc::clone(&self.file), line }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table.iter() {
            let path = join(prefix, name.get_ref());
            let place = self.place(name.span().start);
            if let Some(key) = keys::find(&path) {
                if let Some(value) = self.value(key, &path, value) {
                    self.values.insert(key.path, Located { value, place });
                }
            } else if keys::is_table(&path) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(&path, table),
                    other => self.wrong_type(place, &path, "a table", other),
                }
            } else {
                let suggestion = keys::suggestion(&path);
                self.errors.push(ConfigError::UnknownKey { place, key: path, suggestion });
            }
        }
    }

    fn value(
        &mut self,
        key: &Key,
        path: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<toml::Value> {
        let place = self.place(value.span().start);
        match (key.kind, value.get_ref()) {
            (Kind::Bool, DeValue::Boolean(value)) => Some(toml::Value::Boolean(*value)),
            (Kind::Integer { min, max }, DeValue::Integer(_)) => {
                let number = plain_number(value);
                let is_inside = number
                    .as_integer()
                    .and_then(|number| u64::try_from(number).ok())
                    .is_some_and(|number| (min..=max).contains(&number));
                self.inside(is_inside, place, path, number, (min.to_string(), max.to_string()))
            }
            (Kind::Number { min, max }, DeValue::Integer(_) | DeValue::Float(_)) => {
                let number = plain_number(value);
                let is_inside = as_float(&number).is_some_and(|n| (min..=max).contains(&n));
                self.inside(is_inside, place, path, number, (min.to_string(), max.to_string()))
            }
            (Kind::Text(rule), DeValue::String(text)) => {
                self.text(rule, place, path, text).map(toml::Value::String)
            }
            (Kind::TextList(rule), DeValue::Array(_)) => {
                self.list(path, value, |parser, element, path| match element.get_ref() {
                    DeValue::String(text) => {
                        let place = parser.place(element.span().start);
                        parser.text(rule, place, path, text).map(toml::Value::String)
                    }
                    other => {
                        let place = parser.place(element.span().start);
                        parser.wrong_type(place, path, "a text", other);
                        None
                    }
                })
            }
            (Kind::Labels, DeValue::Table(table)) => self.labels(path, table),
            (Kind::Tables(keys), DeValue::Array(_)) => {
                self.list(path, value, |parser, element, path| parser.element(keys, path, element))
            }
            (kind, other) => {
                self.wrong_type(place, path, &kind.to_string(), other);
                None
            }
        }
    }

    fn text(&mut self, rule: Rule, place: Place, path: &str, text: &str) -> Option<String> {
        let Err(mut why) = rule.check(text) else { return Some(text.to_owned()) };
        if let Rule::Choice(words) = rule
            && let Some(word) = keys::nearest(text, words.iter().copied())
        {
            why = format!("{why}; did you mean \"{word}\"?");
        }
        let is_url = matches!(rule, Rule::HttpsUrl | Rule::HttpUrl);
        let value = if is_url && text.contains('@') {
            // Errors end in logs, and this may be a password.
            "(not shown)".to_owned()
        } else {
            text.chars().take(VALUE_SHOWN_CHARS_MAX).collect()
        };
        self.errors.push(ConfigError::Invalid { place, key: path.to_owned(), value, why });
        None
    }

    fn list(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'_>>,
        mut element: impl FnMut(&mut Self, &Spanned<DeValue<'_>>, &str) -> Option<toml::Value>,
    ) -> Option<toml::Value> {
        let array = value.get_ref().as_array()?;
        if array.len() > LIST_LEN_MAX {
            let place = self.place(value.span().start);
            let why = format!("{path} has more than {LIST_LEN_MAX} elements");
            self.errors.push(ConfigError::Conflict { place, why });
            return None;
        }
        let mut values = Vec::new();
        for (index, item) in array.iter().enumerate() {
            values.extend(element(self, item, &format!("{path}[{index}]")));
        }
        Some(toml::Value::Array(values))
    }

    /// One table of a list of tables.
    fn element(
        &mut self,
        keys: &'static [Key],
        path: &str,
        element: &Spanned<DeValue<'_>>,
    ) -> Option<toml::Value> {
        let place = self.place(element.span().start);
        let DeValue::Table(table) = element.get_ref() else {
            self.wrong_type(place, path, "a table", element.get_ref());
            return None;
        };
        let mut values = toml::Table::new();
        for (name, value) in table.iter() {
            let path = join(path, name.get_ref());
            if let Some(key) = keys.iter().find(|key| key.path == name.get_ref()) {
                if let Some(value) = self.value(key, &path, value) {
                    values.insert(key.path.to_owned(), value);
                }
                continue;
            }
            let suggestion = keys::nearest(name.get_ref(), keys.iter().map(|key| key.path));
            let place = self.place(name.span().start);
            self.errors.push(ConfigError::UnknownKey { place, key: path, suggestion });
        }
        for key in keys {
            let is_required = matches!(key.value, Preset::Required(_));
            if is_required && !table.iter().any(|(name, _)| name.get_ref() == key.path) {
                let key = join(path, key.path);
                self.errors.push(ConfigError::Missing { place: place.clone(), key });
            }
        }
        Some(toml::Value::Table(values))
    }

    fn labels(&mut self, path: &str, table: &DeTable<'_>) -> Option<toml::Value> {
        let mut labels = toml::Table::new();
        for (name, value) in table.iter().take(LIST_LEN_MAX) {
            let place = self.place(name.span().start);
            let path = join(path, name.get_ref());
            if let Err(why) = Rule::Any.check(name.get_ref()) {
                let value = name.get_ref().chars().take(VALUE_SHOWN_CHARS_MAX).collect();
                self.errors.push(ConfigError::Invalid { place, key: path, value, why });
            } else if is_label(value.get_ref())
                && let Some(value) = plain(value)
            {
                labels.insert(name.get_ref().to_string(), value);
            } else {
                let expected = "a text, number, boolean, or a list of texts or of numbers";
                self.wrong_type(place, &path, expected, value.get_ref());
            }
        }
        if table.len() > LIST_LEN_MAX {
            let place = self.place(0);
            let why = format!("{path} has more than {LIST_LEN_MAX} labels");
            self.errors.push(ConfigError::Conflict { place, why });
        }
        Some(toml::Value::Table(labels))
    }

    fn inside(
        &mut self,
        is_inside: bool,
        place: Place,
        path: &str,
        value: toml::Value,
        (min, max): (String, String),
    ) -> Option<toml::Value> {
        if is_inside {
            return Some(value);
        }
        let (key, value) = (path.to_owned(), value.to_string());
        self.errors.push(ConfigError::OutOfRange { place, key, value, min, max });
        None
    }

    fn wrong_type(&mut self, place: Place, path: &str, expected: &str, found: &DeValue<'_>) {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let (key, expected) = (path.to_owned(), expected.to_owned());
        self.errors.push(ConfigError::WrongType { place, key, expected, found });
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "an integer, {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number, {min} to {max}"),
            Self::Text(Rule::Choice(_)) => f.write_str("a text"),
            Self::Text(rule) => write!(f, "{rule}"),
            Self::TextList(_) => f.write_str("a list of texts"),
            Self::Labels => f.write_str("a table"),
            Self::Tables(_) => f.write_str("a list of tables"),
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// A value without spans. `None` for a number that does not fit 64 bits.
fn plain(value: &Spanned<DeValue<'_>>) -> Option<toml::Value> {
    toml::Value::deserialize(value.clone().into_deserializer()).ok()
}

/// A number without spans; one that does not fit comes back as its text, which is in no range.
fn plain_number(value: &Spanned<DeValue<'_>>) -> toml::Value {
    plain(value).unwrap_or_else(|| match value.get_ref() {
        DeValue::Integer(number) => toml::Value::String(number.to_string()),
        other => toml::Value::String(other.type_str().to_owned()),
    })
}

/// The number of an integer or float.
pub(super) fn as_float(value: &toml::Value) -> Option<f64> {
    match value {
        toml::Value::Float(number) => Some(*number),
        toml::Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        _ => None,
    }
}

/// R109: text, number, boolean, or a list of texts or of numbers.
fn is_label(value: &DeValue<'_>) -> bool {
    let is_number = |v: &DeValue<'_>| matches!(v, DeValue::Integer(_) | DeValue::Float(_));
    match value {
        DeValue::String(_) | DeValue::Boolean(_) => true,
        DeValue::Array(items) => {
            items.iter().all(|item| item.get_ref().is_str())
                || items.iter().all(|item| is_number(item.get_ref()))
        }
        other => is_number(other),
    }
}
