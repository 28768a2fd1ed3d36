//! The configuration as it took effect, each value with where it came from.

use super::error::Place;
use super::keys::REGISTRY;
use super::settings::Settings;
use std::fmt::Write as _;

/// A key, its value and its origin.
#[derive(Clone, Debug)]
pub(super) struct EffectiveValue {
    /// Dotted path, as TOML writes it.
    pub(super) path: String,
    /// `None` = unset.
    pub(super) value: Option<toml::Value>,
    pub(super) origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Default,
    /// Read from the hardware or the system.
    Host,
    File(Place),
}

impl Settings {
    /// Everything in effect as TOML that could be read back, with origins as comments. Holds no secrets:
    /// those stand in files of their own.
    pub fn effective_toml(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for EffectiveValue { path, value, origin } in &self.effective {
            // Writing to a String cannot fail.
            if path == REGISTRY {
                let _ = writeln!(text, "\n[[{REGISTRY}]] {}", comment(origin));
                for (name, value) in
                    value.as_ref().and_then(toml::Value::as_table).into_iter().flatten()
                {
                    let _ = writeln!(text, "{name} = {value}");
                }
                table = REGISTRY;
                continue;
            }
            let (next_table, name) = split(path);
            if next_table != table {
                let separator = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{separator}[{next_table}]");
                table = next_table;
            }
            let _ = match value {
                Some(value) => writeln!(text, "{name} = {value} {}", comment(origin)),
                None => writeln!(text, "# {name} is unset"),
            };
        }
        text
    }
}

/// Table and name; names of labels are quoted and may hold dots.
fn split(path: &str) -> (&str, &str) {
    path.split_once(".\"").map_or_else(
        || path.rsplit_once('.').unwrap_or(("", path)),
        |(table, _)| (table, path.get(table.len().saturating_add(1)..).unwrap_or_default()),
    )
}

fn comment(origin: &Origin) -> String {
    match origin {
        Origin::Default => "# default".into(),
        Origin::Host => "# from this device".into(),
        Origin::File(place) => format!("# {place}"),
    }
}

/// A name as a quoted key. Names of labels have no control characters.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
