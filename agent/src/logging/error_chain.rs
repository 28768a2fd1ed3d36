//! An error with all its causes in one line, cut to a length a log can bear.

use super::clip::clip;
use std::error::Error;
use std::fmt;

/// Most causes followed.
const DEPTH_MAX: usize = 16;
/// Longest text, in bytes (I11).
const SIZE_BYTES_MAX: usize = 2048;

/// Shows `error: cause: cause of the cause`.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        for _ in 0..DEPTH_MAX {
            let Some(error) = source else { break };
            let message = error.to_string();
            // Foreign errors often repeat their cause.
            if !text.ends_with(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            if text.len() > SIZE_BYTES_MAX {
                break;
            }
            source = error.source();
        }
        f.write_str(&clip(&text, SIZE_BYTES_MAX))
    }
}
