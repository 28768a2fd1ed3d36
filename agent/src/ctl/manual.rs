//! Completions and manual pages, made from the command line itself when the package is built.

use super::args::Args;
use super::error::CtlError;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

/// Completions for a shell.
pub(super) fn completion(shell: Shell) -> Vec<u8> {
    let mut command = Args::command();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "margoctl", &mut text);
    text
}

/// The main manual page, or that of one command.
pub(super) fn page(name: Option<&str>) -> Result<Vec<u8>, CtlError> {
    let mut command = Args::command();
    command.build();
    if let Some(name) = name {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| CtlError::UnknownCommand { name: name.to_owned() })?;
    }
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(CtlError::Output)?;
    Ok(text)
}
