//! Failure codes explained: `margoctl explain`, and the page `agent/dist/CODES.md`.

use super::error::CtlError;
use crate::provision::DefectCode;
use state_machine::failure::{Code, FailureClass};
use std::fmt::{self, Write as _};

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

/// One code as data, and for people.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Explained {
    code: &'static str,
    class: &'static str,
    cause: &'static str,
    next_action: &'static str,
}

impl From<Code> for Explained {
    fn from(code: Code) -> Self {
        Self {
            code: code.as_str(),
            class: class_word(code.class()),
            cause: code.cause(),
            next_action: code.next_action(),
        }
    }
}

impl From<DefectCode> for Explained {
    fn from(code: DefectCode) -> Self {
        Self {
            code: code.as_str(),
            class: "provisioning",
            cause: code.cause(),
            next_action: code.next_action(),
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, class, cause, next_action } = self;
        writeln!(f, "{code} ({class})\n  {cause}\n  Next: {next_action}")
    }
}

/// Failure codes, then what can be wrong with a provisioning package.
pub(super) fn all() -> Vec<Explained> {
    let failures = Code::ALL.iter().map(|code| Explained::from(*code));
    failures.chain(DefectCode::ALL.iter().map(|code| Explained::from(*code))).collect()
}

/// The code with this name, in any case.
pub(super) fn find(name: &str) -> Result<Explained, CtlError> {
    let wanted = name.to_uppercase().replace('-', "_");
    let codes = all();
    codes.iter().find(|known| known.code == wanted).cloned().ok_or_else(|| {
        let suggestion = crate::config::nearest(&wanted, codes.iter().map(|known| known.code));
        CtlError::UnknownCode { code: name.to_owned(), suggestion }
    })
}
