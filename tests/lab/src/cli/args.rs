//! The words of the command line. Their documentation is the help text.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use margo_lab::control::{ImageOrder, ImageSource};
use margo_lab::registry::ImageConfig;
use margo_lab::{ClientId, FaultKind, Operation, Service, SvidDefect};

/// A Margo lab on one machine: fleet manager (WFM), trust-bundle service (MIS) and OCI registry, with scripted faults.
///
/// Start it with `margo-lab up`, copy the provisioning directory it names to the device, then deploy:
///   margo-lab deploy ./my-app --image lab/app:1=./rootfs --wait
///   margo-lab status --watch
#[derive(Debug, Parser)]
#[command(name = "margo-lab", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Where the lab keeps its state and its control socket
    #[arg(long, global = true, default_value = "margo-lab.d")]
    pub(crate) dir: PathBuf,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run the lab in the foreground; Ctrl-C ends it, the next `up` continues where it was
    Up(UpOptions),
    /// Deploy a directory with a compose.yaml (in it, ${LAB_REGISTRY} becomes the registry's address)
    Deploy(DeployOptions),
    /// Give a deployment new content: same id, new revision
    Update(UpdateOptions),
    /// Deploy a RAUC bundle as firmware, or give a firmware deployment another bundle
    Firmware(FirmwareOptions),
    /// Take a deployment out of the desired state
    Remove(RemoveOptions),
    /// Show what each device reported: capabilities, adopted version, state of each deployment and component
    Status {
        /// Show it again after every change, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Make something go wrong
    #[command(subcommand)]
    Fault(FaultAction),
    /// Write a provisioning directory for a device: svid.pem, svid.key, bundle.json, bootstrap-anchors.pem, endpoints.json
    Provision(ProvisionOptions),
    /// Put an image into the registry: a root directory, an archive of `docker save`, or this machine's busybox
    PushImage(PushImageOptions),
    /// Put a directory with a compose.yaml into the registry as a Margo compose artifact
    PushArchive {
        /// Repository and tag; a Margo revision is SemVer, such as lab/app:1.0.0
        #[arg(value_name = "NAME:TAG")]
        reference: String,
        /// The directory
        compose_dir: PathBuf,
    },
    /// List what the registry has
    Images,
    /// Let everyone use the registry, or ask for user and password
    RegistryAuth {
        /// none, basic or bearer
        #[arg(value_parser = ["none", "basic", "bearer"])]
        kind: String,
        /// The user for basic and bearer
        #[arg(long, default_value = "lab")]
        user: String,
        /// The password for basic and bearer
        #[arg(long, default_value = "lab")]
        password: String,
    },
    /// List the status reports in the order in which they came
    Reports {
        /// Only of this deployment: id, beginning of an id, or name
        deployment: Option<String>,
        /// Of this client instead of the lab's own
        #[arg(long)]
        client: Option<String>,
    },
    /// List the newest requests to the servers
    Requests {
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Only to this server: wfm, mis, registry
        #[arg(long)]
        service: Option<Service>,
    },
    /// Show the bytes on each connection to a server
    Wire {
        /// wfm, mis or registry
        #[arg(default_value = "wfm")]
        service: Service,
    },
    /// Stop a server: its port is closed, its connections are cut
    Stop {
        /// wfm, mis or registry
        service: Service,
    },
    /// Start a stopped server again on its port
    Start {
        /// wfm, mis or registry
        service: Service,
    },
    /// Let a client in or not: one that is not gets 403 on everything
    Policy {
        /// The client's id
        client: String,
        /// accept or refuse
        #[arg(value_parser = ["accept", "refuse"])]
        decision: String,
    },
    /// Rotate the trust anchor: publish a new one, switch to it, retire the old one
    Rotate {
        /// publish, switch or retire
        #[arg(value_parser = ["publish", "switch", "retire"])]
        step: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) listen: IpAddr,
    /// Name or address by which devices reach this machine, if not the one listened on (QEMU user network: 10.0.2.2)
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port of the fleet manager; 0: the one of the run before, else any
    #[arg(long, default_value_t = 0)]
    pub(crate) wfm_port: u16,
    /// Port of the trust-bundle service; 0 likewise
    #[arg(long, default_value_t = 0)]
    pub(crate) mis_port: u16,
    /// Port of the registry; 0 likewise
    #[arg(long, default_value_t = 0)]
    pub(crate) registry_port: u16,
    /// The trust domain
    #[arg(long, default_value = "lab.example")]
    pub(crate) trust_domain: String,
    /// The fleet manager's id
    #[arg(long, default_value = "lab-wfm")]
    pub(crate) wfm_id: String,
    /// The client's id
    #[arg(long, default_value = "lab-client")]
    pub(crate) client_id: String,
    /// The device deployments are for until one has reported
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Path under which the fleet manager's API is mounted
    #[arg(long, default_value = "")]
    pub(crate) wfm_base_path: String,
    /// Serve the registry over TLS
    #[arg(long)]
    pub(crate) registry_tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Content {
    /// Set an environment variable of the compose file
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Put an image into the registry first: a root directory, an archive of `docker save`, or `busybox`
    #[arg(long = "image", value_name = "NAME:TAG=PATH", value_parser = image)]
    pub(crate) images: Vec<ImageOrder>,
    /// For this device
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// For this client instead of the lab's own
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Wait until the device reports installed (exit code 0) or failed (exit code 1)
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct DeployOptions {
    /// The directory with a compose.yaml
    pub(crate) compose_dir: PathBuf,
    /// The deployment's name; the directory's name if not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) content: Content,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateOptions {
    /// Id, beginning of an id, or name
    pub(crate) deployment: String,
    /// The directory with the new compose.yaml; leave it out to change parameters alone
    pub(crate) compose_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) content: Content,
}

#[derive(Debug, Args)]
pub(crate) struct FirmwareOptions {
    /// Name of a new deployment; or id, beginning of an id, or name of one that is there
    pub(crate) deployment: String,
    /// The RAUC bundle
    pub(crate) bundle: PathBuf,
    /// For this device
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// For this client instead of the lab's own
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Wait until the device reports installed (exit code 0) or failed (exit code 1)
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, seconds
    #[arg(long, default_value_t = 1800)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveOptions {
    /// Id, beginning of an id, or name
    pub(crate) deployment: String,
    /// Of this client instead of the lab's own
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// Wait until the device reports it removed
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, seconds
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultAction {
    /// Set a fault; `fault kinds` lists them
    Set {
        /// wfm, mis or registry
        service: Service,
        /// What goes wrong, for example hang, status=503,retry-after=5, cut=1000, manifest=garbage, server-svid=expired
        kind: FaultKind,
        /// Only on this operation, for example get-bundle, post-status, pull-blob
        #[arg(long)]
        on: Option<Operation>,
        /// End after so many hits; without it the fault stays until cleared
        #[arg(long)]
        count: Option<u32>,
    },
    /// Clear one fault, or all
    Clear {
        /// The number that `fault set` printed
        id: Option<u64>,
    },
    /// List the faults that are set
    List,
    /// List the kinds, the defects they take and the operations
    Kinds,
}

#[derive(Debug, Args)]
pub(crate) struct ProvisionOptions {
    /// Where to write it
    pub(crate) target: PathBuf,
    /// For this client instead of the lab's own; it is let in by policy
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// With an SVID that is wrong: expired, not-yet-valid, foreign-domain, foreign-wfm, two-uris, ca-leaf,
    /// no-intermediate, unknown-authority
    #[arg(long)]
    pub(crate) bad: Option<SvidDefect>,
    /// Valid for so many seconds from now
    #[arg(long)]
    pub(crate) lifetime: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct PushImageOptions {
    /// Repository and tag, such as lab/app:1
    #[arg(value_name = "NAME:TAG")]
    pub(crate) reference: String,
    /// A root directory, an archive of `docker save`, or the word busybox
    pub(crate) source: String,
    /// A shell command its containers run (for a root directory and busybox)
    #[arg(long)]
    pub(crate) run: Option<String>,
}

impl PushImageOptions {
    pub(crate) fn order(self) -> ImageOrder {
        let config = self.run.map(ImageConfig::shell).unwrap_or_default();
        ImageOrder { reference: self.reference, source: source(&self.source), config }
    }
}

/// A client's id, if one was given.
pub(crate) fn client(text: Option<String>) -> Option<ClientId> {
    text.map(ClientId::new)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no NAME=VALUE")),
    }
}

fn image(text: &str) -> Result<ImageOrder, String> {
    let (reference, path) = pair(text).map_err(|_| format!("`{text}` is no NAME:TAG=PATH"))?;
    Ok(ImageOrder { reference, source: source(&path), config: ImageConfig::default() })
}

fn source(text: &str) -> ImageSource {
    match text {
        "busybox" => ImageSource::Busybox,
        path => ImageSource::Path(absolute(PathBuf::from(path))),
    }
}

/// The lab may run in another directory than its client.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
