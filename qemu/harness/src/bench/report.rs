//! The figures as a table for people.

use serde_json::Value;
use std::fmt::Write as _;

/// The whole document as text.
pub(super) fn text(document: &Value) -> String {
    let mut text = format!("{:36} {:>12} {:>12} {:>12}\n", "figure", "min", "median", "max");
    for (name, figure) in members(document, "figures") {
        let (min, median, max) = match figure.get("median") {
            Some(median) => (cell(figure.get("min")), cell(Some(median)), cell(figure.get("max"))),
            None => (String::new(), cell(Some(figure)), String::new()),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:36} {min:>12} {median:>12} {max:>12}");
    }
    text.push_str("\naims\n");
    for (name, aim) in members(document, "aims") {
        let is_reached = aim.get("is_reached").and_then(Value::as_bool).unwrap_or_default();
        let verdict = if is_reached { "reached" } else { "MISSED" };
        let (value, limit) = (cell(aim.get("value")), cell(aim.get("limit")));
        let _ = writeln!(text, "{name:36} {value:>12} of {limit:>12}  {verdict}");
    }
    text.push_str("\nmachine\n");
    for (name, fact) in members(document, "machine") {
        let _ = writeln!(text, "{name:36} {}", cell(Some(fact)));
    }
    text.truncate(text.trim_end().len());
    text
}

fn members<'a>(document: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    document.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// A number as short as it can be said without losing anything; other things in words.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(parts)) => {
            let part = |(name, value): (&String, &Value)| format!("{value} {name}");
            parts.iter().map(part).collect::<Vec<_>>().join(", ")
        }
        Some(value) => {
            value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_figure_and_every_aim_has_a_line() {
        let text = text(&json!({
            "figures": {
                "boot_ready_s": {"samples": 3, "min": 9.5, "median": 10.25, "max": 11.0},
                "root_bytes": 163_000_000,
                "suite": {"passed": 50, "failed": 1},
            },
            "aims": {"install_ratio_vs_rauc": {"value": 1.2, "limit": 1.1, "is_reached": false}},
            "machine": {"cores": 2, "processor": null},
        }));
        let words = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words("boot_ready_s"), ["boot_ready_s", "9.5", "10.25", "11"]);
        assert_eq!(words("root_bytes"), ["root_bytes", "163000000"]);
        assert_eq!(words("suite"), ["suite", "1", "failed,", "50", "passed"]);
        assert_eq!(words("install_ratio"), ["install_ratio_vs_rauc", "1.2", "of", "1.1", "MISSED"]);
        assert_eq!(words("processor"), ["processor", "-"]);
    }
}
