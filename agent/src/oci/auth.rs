//! Answering a registry's challenge: `Basic`, or `Bearer` with a token from the realm it names.

/// Longest challenge looked at, in bytes.
const CHALLENGE_BYTES_MAX: usize = 4096;

/// What a registry wants (`WWW-Authenticate`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token.
    Bearer {
        /// Where to get it.
        realm: String,
        /// For whom it is.
        service: Option<String>,
        /// What it permits.
        scope: Option<String>,
    },
}

/// The best challenge of a header's value that we can answer.
pub(super) fn parse_challenge(header: &str) -> Option<Challenge> {
    if header.len() > CHALLENGE_BYTES_MAX {
        return None;
    }
    let header = header.trim();
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest)?;
    let find =
        |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let realm = find("realm")?;
    Some(Challenge::Bearer { realm, service: find("service"), scope: find("scope") })
}

/// `key="value", key=value`; commas inside quotes belong to the value.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => match after.find(',') {
                Some(end) => {
                    let (value, after) = after.split_at(end);
                    (value.trim().to_owned(), after)
                }
                None => (after.trim().to_owned(), ""),
            },
        };
        found.push((key.trim().to_ascii_lowercase(), value));
        rest = after.trim_start_matches([' ', ',']);
    }
    Some(found)
}

/// Up to the closing quote; a backslash takes the next character literally.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(index.saturating_add(1)..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}
