//! Structured logs: journald with stable message ids, or plain stderr.
