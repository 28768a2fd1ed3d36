//! Env files (`env_file:` and `.env`), by the rules of compose's dotenv reader.
//!
//! `KEY=value` or `KEY: value` lines, `export`, comments, single quotes (literal), double quotes (escapes and
//! interpolation), unquoted values (interpolation, ` #` starts a comment), and `KEY` alone (taken from the project).

use super::interpolate::{Error, Lookup, expand};
use std::collections::{BTreeMap, BTreeSet};

/// Largest env file, in bytes.
pub(super) const FILE_BYTES_MAX: usize = 256 << 10;
/// Most variables in one file.
const VARIABLES_MAX: usize = 4096;

/// What one file gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) values: BTreeMap<String, String>,
    /// Names that were referred to and have no value.
    pub(super) unset: BTreeSet<String>,
}

/// Names are looked up in the project first, then among the file's own, as compose does.
struct Layered<'a> {
    project: &'a dyn Lookup,
    file: &'a BTreeMap<String, String>,
}

impl Lookup for Layered<'_> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.project.lookup(name).or_else(|| self.file.lookup(name))
    }
}

/// Reads a whole file.
///
/// # Errors
/// A text for a person, beginning with the line.
pub(super) fn parse(text: &str, project: &dyn Lookup) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut cursor = Cursor { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    while let Some(()) = cursor.next_statement() {
        let line = cursor.line;
        let wrong = |what: String| format!("line {line}: {what}");
        let (key, inherited) = cursor.key().map_err(wrong)?;
        if inherited {
            if let Some(value) = project.lookup(&key) {
                let value = value.to_owned();
                parsed.values.insert(key, value);
            }
        } else {
            let Parsed { values, unset } = &mut parsed;
            let layered = Layered { project, file: values };
            let value = cursor.value(&layered, unset).map_err(wrong)?;
            values.insert(key, value);
        }
        if parsed.values.len() > VARIABLES_MAX {
            return Err(wrong(format!("more than {VARIABLES_MAX} variables")));
        }
    }
    Ok(parsed)
}

struct Cursor<'t> {
    rest: &'t str,
    line: u32,
}

/// White space that does not end the line.
fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl<'t> Cursor<'t> {
    fn advance(&mut self, to: &'t str) {
        let passed = self.rest.len().saturating_sub(to.len());
        let lines = self.rest.bytes().take(passed).filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = to;
    }

    /// Skips empty lines and comments; `None` at the end.
    fn next_statement(&mut self) -> Option<()> {
        loop {
            let rest = self.rest;
            self.advance(rest.trim_start());
            if self.rest.is_empty() {
                return None;
            }
            if !self.rest.starts_with('#') {
                return Some(());
            }
            let rest = self.rest;
            self.advance(rest.find('\n').and_then(|at| rest.get(at..)).unwrap_or_default());
        }
    }

    /// The name, and whether it stands alone on its line.
    fn key(&mut self) -> Result<(String, bool), String> {
        let mut rest = self.rest;
        if let Some(after) = rest.strip_prefix("export")
            && after.starts_with(|first: char| first.is_whitespace())
        {
            rest = after.trim_start_matches(is_space);
        }
        let end = rest.find(['=', ':', '\n']);
        let (key, separator, behind) = match end {
            Some(at) => {
                let (key, behind) = rest.split_at(at);
                let mut behind = behind.chars();
                (key, behind.next(), behind.as_str())
            }
            None => (rest, Some('\n'), ""),
        };
        let key = key.trim_end();
        let is_name = |character: char| {
            character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '[' | ']')
        };
        if let Some(bad) = key.chars().find(|character| !is_name(*character)) {
            return Err(if bad.is_whitespace() {
                "a name cannot contain a space".to_owned()
            } else {
                format!("unexpected `{}` in a name", bad.escape_default())
            });
        }
        if key.is_empty() {
            return Err("a value without a name".to_owned());
        }
        self.advance(behind.trim_start_matches(is_space));
        Ok((key.to_owned(), separator == Some('\n')))
    }

    fn value(
        &mut self,
        values: &dyn Lookup,
        unset: &mut BTreeSet<String>,
    ) -> Result<String, String> {
        let describe = |error: Error| error.to_string();
        let Some(quote @ ('"' | '\'')) = self.rest.chars().next() else {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            let value = line.split(" #").next().unwrap_or_default().trim_end();
            let expanded = expand(value, values, unset).map_err(describe)?;
            self.advance(rest);
            return Ok(expanded);
        };
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut text = String::new();
        let mut escaped = false;
        for (position, character) in inside.char_indices() {
            if character == quote && !escaped {
                self.advance(inside.get(position + 1..).unwrap_or_default());
                return if quote == '"' {
                    expand(&expand_escapes(&text), values, unset).map_err(describe)
                } else {
                    Ok(text)
                };
            }
            if character == '\\' && !escaped {
                escaped = true;
                continue;
            }
            // Only the quote itself loses its backslash here; the rest is for `expand_escapes`.
            if escaped && character != quote {
                text.push('\\');
            }
            escaped = false;
            text.push(character);
        }
        Err("a quoted value that does not end".to_owned())
    }
}

/// The escapes of double quotes. `\$` becomes `$$`, which interpolation turns into a plain dollar sign.
fn expand_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut characters = after.chars();
        let replaced = match characters.next() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some('"') => Some('"'),
            Some('\\') => Some('\\'),
            Some('$') => {
                out.push('$');
                Some('$')
            }
            _ => None,
        };
        match replaced {
            Some(character) => {
                out.push(character);
                rest = characters.as_str();
            }
            None => {
                let octal = after
                    .strip_prefix('0')
                    .and_then(|digits| digits.get(..3))
                    .and_then(|digits| u8::from_str_radix(digits, 8).ok());
                if let Some(byte) = octal {
                    out.push(char::from(byte));
                    rest = after.get(4..).unwrap_or_default();
                } else {
                    out.push('\\');
                    rest = after;
                }
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn project() -> BTreeMap<String, String> {
        [("P", "project"), ("SAME", "outer")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn lines_become_values() {
        for (text, expected) in [
            ("A=1", vec![("A", "1")]),
            ("A=1\nB=2\n", vec![("A", "1"), ("B", "2")]),
            ("A=1\r\nB=2\r\n", vec![("A", "1"), ("B", "2")]),
            ("\u{feff}A=1", vec![("A", "1")]),
            ("# c\n\n  # d\n A = 1 \n", vec![("A", "1")]),
            ("A: 1", vec![("A", "1")]),
            ("export A=1", vec![("A", "1")]),
            ("exported=1", vec![("exported", "1")]),
            ("A=", vec![("A", "")]),
            ("A=\nB=2", vec![("A", ""), ("B", "2")]),
            ("A=a b # c", vec![("A", "a b")]),
            ("A=a#b", vec![("A", "a#b")]),
            ("A=x=y", vec![("A", "x=y")]),
            ("A=\\$5 $", vec![("A", "\\$5 $")]),
            ("A=http://h:1/p", vec![("A", "http://h:1/p")]),
            ("A='x $P \\n'", vec![("A", "x $P \\n")]),
            ("A='it\\'s'", vec![("A", "it's")]),
            ("A=\"x $P\"", vec![("A", "x project")]),
            ("A=\"a\\nb\\tc\"", vec![("A", "a\nb\tc")]),
            ("A=\"a\\\"b\"", vec![("A", "a\"b")]),
            ("A=\"\\$P $$P\"", vec![("A", "$P $P")]),
            ("A=\"\\0101\\q\"", vec![("A", "A\\q")]),
            ("A=\"two\nlines\"\nB=1", vec![("A", "two\nlines"), ("B", "1")]),
            ("A=$P", vec![("A", "project")]),
            ("A=1\nB=${A}2", vec![("A", "1"), ("B", "12")]),
            ("SAME=inner\nB=$SAME", vec![("SAME", "inner"), ("B", "outer")]),
            ("A=${NO:-d}", vec![("A", "d")]),
            ("P\nNO\n", vec![("P", "project")]),
            ("P", vec![("P", "project")]),
            ("A=1\nA=2", vec![("A", "2")]),
            ("a.b-c[0]=1", vec![("a.b-c[0]", "1")]),
            ("", vec![]),
            ("#only", vec![]),
        ] {
            let expected: BTreeMap<_, _> =
                expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(text, &project()).map(|p| p.values), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, part) in [
            ("A=1\nB='x", "line 2: a quoted value"),
            ("A B=1", "line 1: a name cannot contain a space"),
            ("\n\nA$=1", "line 3: unexpected `$`"),
            ("=1", "line 1: a value without a name"),
            ("A=${", "line 1: `${`"),
            ("A=\"x\ny\"\nB=${NO:?must}", "line 3: the parameter `NO`"),
        ] {
            let error = parse(text, &project()).unwrap_err();
            assert!(error.starts_with(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn unset_names_are_noted() {
        let parsed = parse("A=$NO\nB='$QUOTED'", &project()).unwrap();
        assert_eq!(parsed.unset.into_iter().collect::<Vec<_>>(), ["NO"]);
    }

    #[test]
    fn the_number_of_variables_is_limited() {
        let many: String = (0..=VARIABLES_MAX).map(|n| format!("A{n}=1\n")).collect();
        assert!(parse(&many, &project()).unwrap_err().contains("variables"));
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in "[A-C='\"\\\\$\\{\\}#\\n: é0-9]{0,80}") {
            let _ = parse(&text, &project());
        }
    }
}
