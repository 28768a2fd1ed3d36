//! The shipped `10-defaults.toml`: every key with its default and meaning, all commented out.

use super::keys::{KEYS, Key, Kind, Preset};
use std::fmt::Write as _;

const HEADER: &str = "\
# Every key of margo-agent with its default. Do not edit: put what differs into a file of your own in
# /etc/margo-agent/config.d/, for example 50-site.toml. Files of all directories are read in the order of
# their names, a later one wins; one with this name in /etc replaces this one.
# `margo-agent check config` prints what is in effect, and where each value came from.
";

/// The text of the shipped file. A test keeps the copy in `agent/dist` in step.
pub fn defaults_toml() -> String {
    let mut text = String::from(HEADER);
    let mut table = "";
    for key in KEYS {
        // Writing to a String cannot fail.
        if let Kind::Tables(keys) = key.kind
            && !key.path.contains('.')
        {
            let _ = writeln!(text);
            comment(&mut text, key.doc);
            let _ = writeln!(text, "#[[{}]]", key.path);
            keys.iter().for_each(|key| entry(&mut text, key, key.path));
            table = key.path;
            continue;
        }
        let (next_table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if next_table != table {
            let _ = writeln!(text, "\n[{next_table}]");
            table = next_table;
        }
        entry(&mut text, key, name);
    }
    text
}

fn entry(text: &mut String, key: &Key, name: &str) {
    comment(text, key.doc);
    let _ = match key.value {
        Preset::Default(value) => {
            writeln!(text, "#{name} = {value}{}", range(key.kind))
        }
        Preset::Unset(example) => writeln!(text, "# unset, for example:\n#{name} = {example}"),
        Preset::Required(example) => {
            writeln!(text, "# required, for example:\n#{name} = {example}")
        }
    };
    if let Kind::Tables(keys) = key.kind {
        for key in keys {
            comment(text, &format!("  {} - {}", key.path, key.doc));
        }
    }
}

fn comment(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "# {line}");
    }
}

fn range(kind: Kind) -> String {
    match kind {
        Kind::Integer { min, max } => format!("  # {min} to {max}"),
        Kind::Bool
        | Kind::Number { .. }
        | Kind::Text(_)
        | Kind::TextList(_)
        | Kind::Labels
        | Kind::Tables(_) => String::new(),
    }
}
