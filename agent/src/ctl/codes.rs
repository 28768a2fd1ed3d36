//! Failure codes explained: `margoctl explain`, and the page `agent/dist/CODES.md`.

use super::error::CtlError;
use state_machine::failure::{Code, FailureClass};
use std::fmt::Write as _;

const HEADER: &str = "\
# Failure codes of margo-agent

Written from the table in `state-machine/src/failure.rs`; a test keeps both in step. The codes appear in reports
to the fleet manager, in logs and in `margoctl`; `margoctl explain CODE` prints the same. They are stable.

| class | what the device does |
|---|---|
| retryable | tries again with growing pauses |
| permanent | tries again at the longest pause; something outside has to change |
| refused | does not try again until the desired state or the device's policy changes |
";

const fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Retryable => "retryable",
        FailureClass::Permanent => "permanent",
        FailureClass::Refused => "refused",
    }
}

/// The text of `CODES.md`.
pub fn codes_markdown() -> String {
    let mut text = String::from(HEADER);
    for code in Code::ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {code}\n\n{} ({})\n\n**Next:** {}\n",
            code.cause(),
            class_word(code.class()),
            code.next_action()
        );
    }
    text
}

/// The code with this name, in any case.
pub(super) fn find(name: &str) -> Result<Code, CtlError> {
    let wanted = name.to_uppercase().replace('-', "_");
    Code::ALL.iter().copied().find(|code| code.as_str() == wanted).ok_or_else(|| {
        let names = Code::ALL.iter().map(|code| code.as_str());
        let suggestion = crate::config::nearest(&wanted, names);
        CtlError::UnknownCode { code: name.to_owned(), suggestion }
    })
}

/// One code for people.
pub(super) fn explain(code: Code) -> String {
    let class = class_word(code.class());
    format!("{code} ({class})\n  {}\n  Next: {}\n", code.cause(), code.next_action())
}

/// One code as data.
#[derive(serde::Serialize)]
pub(super) struct Explained {
    code: &'static str,
    class: FailureClass,
    cause: &'static str,
    next_action: &'static str,
}

impl From<Code> for Explained {
    fn from(code: Code) -> Self {
        Self {
            code: code.as_str(),
            class: code.class(),
            cause: code.cause(),
            next_action: code.next_action(),
        }
    }
}
