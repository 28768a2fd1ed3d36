//! `margoctl provision`: the ways by which a device gets its identity and its fleet manager.

use super::args::{ProvisionArgs, ProvisionHow, ProvisionWay};
use super::error::{CtlError, Exit};
use super::run::Ctl;
use super::terminal::{Style, Tone, clean};
use crate::config::Sources;
use crate::logging::{self, LogTarget};
use crate::provision::{
    Attempt, Defect, DefectCode, Ingest, KeyRequest, Mode, Outcome, Places, Way, key_request,
    provision_chain, provision_credentials, provision_path,
};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where the service manager puts credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// A request is for others to read.
const REQUEST_MODE: u32 = 0o644;

impl ProvisionHow {
    fn way(self) -> Way {
        Way::Person { replace: self.replace }
    }

    fn mode(self) -> Mode {
        if self.check { Mode::Check } else { Mode::Install }
    }
}

impl Ctl<'_> {
    pub(super) fn provision(&mut self, args: ProvisionArgs) -> Result<Exit, CtlError> {
        let places = Places::of(&Sources::system());
        let (how, package) = (args.how, args.package.unwrap_or_default());
        match args.way {
            None => {
                let attempt = provision_path(&package, &places, how.way(), how.mode());
                self.attempted(&attempt)
            }
            Some(ProvisionWay::Chain { file, bundle, url, how }) => {
                let ingest = Ingest { chain: file, bundle, url };
                let attempt = provision_chain(&ingest, &places, how.way(), how.mode());
                self.attempted(&attempt)
            }
            Some(ProvisionWay::KeyRequest { out, id, new }) => {
                let asked = KeyRequest { id, renew_key: new };
                let request = key_request(&places, &asked).map_err(CtlError::KeyRequest)?;
                match out {
                    Some(path) => write_request(&path, &request).map(|()| Exit::Done),
                    None => self.bytes(request.as_bytes()),
                }
            }
            Some(ProvisionWay::Drive { device }) => {
                log_to_journal();
                let attempt = provision_path(&device, &places, Way::Unattended, Mode::Install);
                self.attempted_by_unit(&attempt)
            }
            Some(ProvisionWay::Boot) => {
                log_to_journal();
                let directory = std::env::var_os(CREDENTIALS_VARIABLE).map(PathBuf::from);
                match provision_credentials(directory.as_deref(), &places) {
                    Some(attempt) => self.attempted_by_unit(&attempt),
                    None => Ok(Exit::Done),
                }
            }
        }
    }

    fn attempted(&mut self, attempt: &Attempt) -> Result<Exit, CtlError> {
        let lacking = match attempt.outcome {
            // Nobody asked for the rest when the package itself was in question.
            Outcome::Refused | Outcome::Valid => Vec::new(),
            Outcome::Installed | Outcome::Unchanged | Outcome::Kept => {
                Places::of(&Sources::system()).lacking()
            }
        };
        self.print(attempt, |style| show(style, attempt, &lacking))?;
        Ok(exit(attempt))
    }

    /// The journal has it already, with its id.
    fn attempted_by_unit(&mut self, attempt: &Attempt) -> Result<Exit, CtlError> {
        if self.json {
            self.print(attempt, |_| String::new())?;
        }
        Ok(exit(attempt))
    }
}

/// Under a unit each line has its id and level; by hand it comes to the terminal.
fn log_to_journal() {
    // Whoever cannot log can still provision.
    let _ = logging::init(LogTarget::Auto);
}

fn exit(attempt: &Attempt) -> Exit {
    let is_install = |defect: &Defect| defect.code == DefectCode::InstallFailed;
    match attempt.outcome {
        Outcome::Refused if attempt.defects.iter().any(is_install) => Exit::Failed,
        Outcome::Refused => Exit::Refused,
        Outcome::Installed | Outcome::Unchanged | Outcome::Kept | Outcome::Valid => Exit::Done,
    }
}

fn write_request(path: &Path, request: &str) -> Result<(), CtlError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(REQUEST_MODE)
        .open(path)
        .and_then(|mut file| file.write_all(request.as_bytes()))
        .map_err(|source| CtlError::WriteRequest { path: path.display().to_string(), source })
}

/// The outcome for people.
fn show(style: Style, attempt: &Attempt, lacking: &[String]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for defect in &attempt.defects {
        let code = style.paint(Tone::Bad, defect.code.as_str());
        let field = defect.field.as_ref().map_or_else(String::new, |field| format!(" [{field}]"));
        let rest = format!("{}{field}: {}", defect.file, defect.what);
        let _ = writeln!(text, "{code} {}", clean(&rest));
        let next = format!("next: {}", defect.code.next_action());
        let _ = writeln!(text, "  {}", style.paint(Tone::Quiet, &next));
    }
    for note in &attempt.notes {
        let _ = writeln!(text, "{} {}", style.paint(Tone::Warning, "note"), clean(note));
    }
    let id = attempt.spiffe_id.as_ref().map_or_else(String::new, |id| format!(" {}", clean(id)));
    let verdict = match attempt.outcome {
        Outcome::Installed => style.paint(Tone::Good, "provisioned") + &id,
        Outcome::Unchanged => format!("unchanged: all of it is installed already{id}"),
        Outcome::Kept => "kept: nothing was changed".to_owned(),
        Outcome::Valid => style.paint(Tone::Good, "valid") + &id,
        Outcome::Refused => {
            let count = attempt.defects.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            style.paint(Tone::Bad, &format!("refused: {count} {noun}; nothing was changed"))
        }
    };
    let _ = writeln!(text, "{verdict}");
    if !lacking.is_empty() {
        let _ = writeln!(
            text,
            "{} {}",
            style.paint(Tone::Warning, "still lacking"),
            lacking.join(", ")
        );
    }
    text
}
