//! Just enough of URLs: percent-decoding and query parameters.

/// Undoes percent-encoding; `None` when the result would not be UTF-8 or an escape is broken.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (escape, after) = tail.split_at_checked(2)?;
            decoded.extend(hex::decode(escape).ok()?);
            rest = after;
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    String::from_utf8(decoded).ok()
}

/// The first value of a query parameter, decoded.
pub(crate) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).find_map(|(_, value)| decode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_broken_ones_refused() {
        assert_eq!(decode("sha256%3Aab").as_deref(), Some("sha256:ab"));
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
        let query = Some("a=1&digest=sha256%3Aab");
        assert_eq!(query_value(query, "digest").as_deref(), Some("sha256:ab"));
        assert_eq!(query_value(query, "b"), None);
    }
}
