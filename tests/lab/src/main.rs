//! `margo-lab`: the lab as a program. `up` runs it in the foreground, everything else talks to it.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(cli::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

/// Prints an error with its causes.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("margo-lab: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    // Without a standard error there is nobody to tell.
    let _written = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
