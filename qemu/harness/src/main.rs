//! `margo-qemu`: boots the device image in QEMU, does to it what scenario files say, and checks what it does.

mod bench;
mod cli;
mod commands;
mod error;
mod guest;
mod project;
mod run;
mod scenario;
mod vm;

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run(cli::Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => {
            // Nobody can be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {trouble}");
            ExitCode::from(2)
        }
    }
}
