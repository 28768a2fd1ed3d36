//! One line of a scenario file into words: quotes hold words together, `#` begins a comment.

/// A word and whether it was quoted: a quoted one is never a keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) is_quoted: bool,
}

/// Longest line, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 1000;

/// Splits a line.
pub(crate) fn words(line: &str) -> Result<Vec<Word>, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the line has {} bytes; {LINE_BYTES_MAX} is the most", line.len()));
    }
    let mut words = Vec::new();
    let mut word = Word { text: String::new(), is_quoted: false };
    let mut is_open = false;
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if is_open && chars.peek() == Some(&'"') => {
                chars.next();
                word.text.push('"');
            }
            '"' => {
                is_open = !is_open;
                word.is_quoted = true;
            }
            '#' if !is_open && word.text.is_empty() && !word.is_quoted => break,
            space if space.is_whitespace() && !is_open => take(&mut word, &mut words),
            other => word.text.push(other),
        }
    }
    if is_open {
        return Err("a quotation mark is not closed: end the text with \"".to_owned());
    }
    take(&mut word, &mut words);
    Ok(words)
}

fn take(word: &mut Word, words: &mut Vec<Word>) {
    if !word.text.is_empty() || word.is_quoted {
        words.push(std::mem::replace(word, Word { text: String::new(), is_quoted: false }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_hold_words_together_and_comments_end_a_line() {
        assert_eq!(texts("boot   # the first time"), ["boot"]);
        assert_eq!(texts("guest \"echo a  #b\" exits=0"), ["guest", "echo a  #b", "exits=0"]);
        assert_eq!(texts("guest \"say \\\"hi\\\"\""), ["guest", "say \"hi\""]);
        assert_eq!(texts("  # only a comment"), Vec::<String>::new());
        assert_eq!(texts("say \"\""), ["say", ""]);
        assert_eq!(texts("a#b"), ["a#b"]);
    }

    #[test]
    fn an_open_quote_and_an_endless_line_are_errors() {
        assert!(words("guest \"echo").unwrap_err().contains("not closed"));
        assert!(words(&"x".repeat(1001)).unwrap_err().contains("1000 is the most"));
    }
}
