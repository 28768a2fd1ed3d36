//! The command line of `margoctl`. The doc comments are its help.

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  check-app: the application is refused
  2  the command line is wrong
  3  margo-agent is not running, or does not answer
  4  not permitted
  5  there is no such deployment, component, service or code
  6  margo-agent cannot do it now, or another error

Environment:
  MARGO_SOCKET  control socket, like --socket
  NO_COLOR      no colours";

/// Look at and steer the margo-agent of this device.
#[derive(Debug, Parser)]
#[command(name = "margoctl", version, after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Print JSON instead of text; streams print one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Control socket of the agent [default: the one in its configuration]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the state of the agent: stage, identity, fleet manager, workloads
    Status,
    /// List all deployments
    Deployments,
    /// Show one deployment with its components and containers
    Deployment {
        /// Id, beginning of an id, or name
        deployment: String,
    },
    /// Show what changed recently
    Events {
        /// Go on with new events
        #[arg(short, long)]
        follow: bool,
        /// Only events after this number
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
    },
    /// Show the output of a deployment's containers
    Logs {
        /// Id, beginning of an id, or name
        deployment: String,
        /// Only this component
        component: Option<String>,
        /// Only this service
        #[arg(long)]
        service: Option<String>,
        /// Go on with new lines
        #[arg(short, long)]
        follow: bool,
        /// Start with so many last lines of each container
        #[arg(long, value_name = "N")]
        tail: Option<u32>,
    },
    /// Poll the fleet manager now
    Sync,
    /// Try a failed deployment again now
    Retry {
        /// Id, beginning of an id, or name
        deployment: String,
    },
    /// Look at the firmware and its slots, and steer updates
    #[command(subcommand)]
    Firmware(FirmwareCommand),
    /// Check whether this device would run an application; needs no agent
    CheckApp {
        /// A compose file, a directory with a compose.yaml, or an archive (.tar.gz)
        path: PathBuf,
        /// A parameter as the deployment would set it
        #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
        parameters: Vec<(String, String)>,
        /// Permit what this device's configuration permits, not just what every device does
        #[arg(long)]
        policy_from_config: bool,
    },
    /// Explain a failure code
    Explain {
        /// A code like ARTIFACT_PULL_FAILED; without it, all are listed
        code: Option<String>,
    },
    /// Print the completions of a shell
    Completion {
        /// Which shell
        shell: Shell,
    },
    /// Print a manual page
    Man {
        /// The page of this command instead of the main one
        command: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum FirmwareCommand {
    /// Show what runs, what is under way, and both slots
    Status,
    /// Install a bundle to the other slot; the device restarts when it is done
    Install {
        /// Path or URL of a RAUC bundle
        bundle: String,
        /// Show the progress, until the device restarts or the installation fails
        #[arg(long)]
        wait: bool,
    },
    /// Go to the other slot; a trial is left, an installation not booted yet is taken back
    Rollback,
    /// Judge the trial under way in place of the agent
    Mark {
        /// good commits it, bad leaves it
        #[arg(value_enum)]
        verdict: Verdict,
    },
}

/// What a person thinks of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Verdict {
    Good,
    Bad,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".to_owned()),
    }
}
