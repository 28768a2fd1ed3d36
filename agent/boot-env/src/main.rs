//! margo-boot-env: the boot environment on the command line, for RAUC, for systemd's units and for people.
//!
//! Answers go to standard output, everything else to standard error with a journal priority.

mod args;
mod commands;
mod show;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match args::parse(&words).and_then(|(place, command)| commands::run(&place, &command)) {
        Ok(answer) => {
            // A reader that went away needs no answer.
            let _ = std::io::stdout().write_all(answer.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            commands::log(3, &failure.text);
            ExitCode::from(failure.exit_code)
        }
    }
}
