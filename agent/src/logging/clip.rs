//! Cutting text that peers control to a bounded length.

use std::borrow::Cow;

/// Longest log field, in bytes (I11).
pub const FIELD_SIZE_BYTES_MAX: usize = 1024;

/// `text`, or its beginning and an ellipsis when it has more than `size_bytes_max` bytes.
pub fn clip(text: &str, size_bytes_max: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if text.len() <= size_bytes_max {
        return Cow::Borrowed(text);
    }
    let mut end = size_bytes_max.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    Cow::Owned(format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default()))
}

/// [`clip`] to [`FIELD_SIZE_BYTES_MAX`], for values in log lines.
pub fn field(text: &str) -> Cow<'_, str> {
    clip(text, FIELD_SIZE_BYTES_MAX)
}
