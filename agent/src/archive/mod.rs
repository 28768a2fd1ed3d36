//! Compose archives: checked before a byte is extracted, then extracted safely.
