//! `margoctl`: its commands and how it prints.
//!
//! - `args`: the command line.  - `run`: what each command does.  - `error`: errors, hints and exit codes.
//! - `terminal`: output, colours, columns.  - `show_status`, `show_deployment`, `show_lines`: answers for people.
//! - `firmware`, `show_firmware`: firmware updates.
//! - `check_app`, `judge`: checking an application without an agent.  - `codes`: failure codes explained.
//! - `provision`: giving the device its identity.  - `manual`: completions and manual pages.

mod args;
mod check_app;
mod codes;
mod error;
mod firmware;
mod judge;
mod manual;
mod provision;
mod run;
mod show_deployment;
mod show_firmware;
mod show_lines;
mod show_status;
mod terminal;

pub use check_app::{AppChecker, AppProblem, AppReport};
pub use codes::codes_markdown;
pub use error::Exit;
pub use judge::judge;
pub use run::run;
pub use terminal::{Style, Terminal};

#[cfg(test)]
mod tests;
