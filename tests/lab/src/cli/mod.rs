//! The command line: its words, and which file carries out what.

mod args;
mod client;
mod show;
mod up;

pub(crate) use args::Arguments;

use args::Action;

/// What ends the program with a message.
pub(crate) type CliResult = Result<(), Box<dyn std::error::Error>>;

/// Carries out what was asked.
pub(crate) async fn run(arguments: Arguments) -> CliResult {
    let Arguments { dir, json, action } = arguments;
    match action {
        Action::Up(options) => up::run(dir, options).await,
        other => client::run(&dir, json, other).await,
    }
}
