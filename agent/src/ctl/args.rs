//! The command line of `margoctl`. The doc comments are its help.

use crate::identity::SpiffeId;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  check-app: the application is refused; provision: the package is refused
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
    /// Give this device its identity and its fleet manager; needs no agent
    Provision(ProvisionArgs),
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

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct ProvisionArgs {
    /// A directory, an archive (.tar, .tar.gz) or a block device with margo-provision.toml, svid.pem, svid.key and
    /// bundle.json
    #[arg(required = true)]
    pub(super) package: Option<PathBuf>,

    #[command(flatten)]
    pub(super) how: ProvisionHow,

    #[command(subcommand)]
    pub(super) way: Option<ProvisionWay>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ProvisionHow {
    /// Only check; nothing is changed
    #[arg(long)]
    pub(super) check: bool,
    /// The device may become someone else, or belong to another fleet manager
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProvisionWay {
    /// Make a key on this device and a certificate request for it
    KeyRequest {
        /// Write the request there instead of to the output
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// SPIFFE ID to ask for [default: the one the device has, if any]
        #[arg(long, value_name = "URI", value_parser = client_id)]
        id: Option<SpiffeId>,
        /// Throw away a key that is waiting for its certificate and make a new one
        #[arg(long)]
        new: bool,
    },
    /// Install the chain that was issued for the key of `key-request`
    Chain {
        /// The certificate chain, PEM, leaf first
        file: PathBuf,
        /// The trust bundle [default: the installed one]
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
        /// Address of the fleet manager [default: the configured one]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        how: ProvisionHow,
    },
    /// Take what a drive brings; margo-provision-drive@.service runs this
    Drive {
        /// The block device
        device: PathBuf,
    },
    /// Complete what a power cut interrupted, then take the `margo.*` credentials; margo-provision.service runs this
    Boot,
}

fn client_id(text: &str) -> Result<SpiffeId, String> {
    let id = SpiffeId::parse(text).map_err(|error| error.to_string())?;
    match id.client_id() {
        Some(_) => Ok(id),
        None => Err("it is a fleet manager's, not a client's".to_owned()),
    }
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
