//! Look at and steer the margo-agent of this device.

use margo_agent::ctl::{Terminal, judge, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(std::env::args_os(), &mut Terminal::standard(), Some(judge)).into()
}
