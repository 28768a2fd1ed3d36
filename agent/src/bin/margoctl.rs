//! Look at and steer the margo-agent of this device.

use margo_agent::ctl::{Terminal, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(std::env::args_os(), &mut Terminal::standard(), None).into()
}
