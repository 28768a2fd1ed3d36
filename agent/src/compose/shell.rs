//! A command given as one string, split into words the way compose splits it.
//!
//! Compose's splitter knows quotes and backslashes and no shell: it stops silently at an unquoted `;`, `&`, `|`,
//! `<` or `>`. What it would cut off is refused here.

/// Splits into words.
///
/// # Errors
/// A text for a person.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                let Some(next) = characters.next() else {
                    return Err("ends with a backslash".to_owned());
                };
                word.get_or_insert_default().push(next);
            }
            (' ' | '\t' | '\r' | '\n', None) => words.extend(word.take()),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == character => quote = None,
            (';' | '&' | '|' | '<' | '>' | '(' | ')' | '`', None) => {
                return Err(format!(
                    "has an unquoted `{character}`, and no shell reads it: \
                     write a list, such as [\"sh\", \"-c\", \"…\"]"
                ));
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("has a quote that does not end".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("sleep 10", &["sleep", "10"]),
            (" a \t b\n", &["a", "b"]),
            ("sh -c 'echo a; echo b'", &["sh", "-c", "echo a; echo b"]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("a\"b c\"d", &["ab cd"]),
            ("a ''", &["a", ""]),
            ("a\\ b", &["a b"]),
            ("a\\tb", &["atb"]),
            ("\"c\\nd\\x\"", &["cndx"]),
            ("'e\\f'", &["e\\f"]),
            ("\"it's\"", &["it's"]),
            ("'say \"x\"'", &["say \"x\""]),
            ("a\\\"b", &["a\"b"]),
            ("\"a && b\"", &["a && b"]),
            ("a # b", &["a", "#", "b"]),
            ("a=$b", &["a=$b"]),
            ("é ü", &["é", "ü"]),
        ] {
            assert_eq!(
                split(text).as_deref(),
                Ok(expected.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_compose_would_cut_off_is_refused() {
        for (text, part) in [
            ("a && b", "unquoted `&`"),
            ("a; b", "unquoted `;`"),
            ("a | b", "unquoted `|`"),
            ("a > b", "unquoted `>`"),
            ("a `b`", "unquoted ``"),
            ("a (b)", "unquoted `(`"),
            ("a 'b", "does not end"),
            ("a \"b", "does not end"),
            ("a \\", "backslash"),
        ] {
            let error = split(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in any::<String>()) {
            let _ = split(&text);
        }
    }
}
