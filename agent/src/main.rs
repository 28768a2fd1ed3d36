//! `margo-agent`: command line, then the agent.

use clap::{Parser, Subcommand};
use margo_agent::config::Sources;
use margo_agent::logging::{self, ErrorChain, LogTarget, catalog};
use margo_agent::{app, log_message};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds a Margo desired state on this device, with or without network, across power cuts.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    /// Take configuration, state and sockets from below this directory.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent (the default).
    Run,
    /// Check without running.
    #[command(subcommand)]
    Check(Check),
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Check the configuration and print what is in force, with the file each value comes from.
    Config,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let sources = cli.root.map_or_else(Sources::system, Sources::under);
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => run(&sources),
        Command::Check(Check::Config) => check_config(&sources),
    }
}

fn run(sources: &Sources) -> ExitCode {
    let level = match logging::init(LogTarget::Auto) {
        Ok(level) => level,
        Err(error) => return complain(&error),
    };
    match app::run(sources, &level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log_message!(catalog::AGENT_FAILED, "{}", ErrorChain(&error));
            ExitCode::FAILURE
        }
    }
}

fn check_config(sources: &Sources) -> ExitCode {
    match sources.load() {
        Ok(settings) => {
            // A closed pipe is the reader's wish.
            let _ = std::io::stdout().write_all(settings.effective_toml().as_bytes());
            ExitCode::SUCCESS
        }
        Err(errors) => complain(&errors),
    }
}

fn complain(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(std::io::stderr(), "margo-agent: {}", ErrorChain(error));
    ExitCode::FAILURE
}
