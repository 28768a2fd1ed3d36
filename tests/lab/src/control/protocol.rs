//! What can be asked of a running lab.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::{Fault, FaultId, Service};
use crate::ids::ClientId;
use crate::pki::{RotationStep, SvidDefect};
use crate::registry::{ImageConfig, RegistryAuth};

/// The socket's name in the lab's directory.
pub const SOCKET_NAME: &str = "control.sock";

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Deploys a compose directory.
    Deploy(DeployOrder),
    /// Gives a deployment new content.
    Update(DeployOrder),
    /// Deploys a firmware bundle, or gives a firmware deployment another one.
    Firmware(FirmwareOrder),
    /// Takes a deployment out of the desired state.
    Remove {
        /// The client; the lab's own when absent.
        #[serde(default)]
        client: Option<ClientId>,
        /// Id, beginning of an id, or name.
        deployment: String,
        /// Wait this long for the device to report it removed, seconds.
        #[serde(default)]
        wait_secs: Option<u64>,
    },
    /// Sets a fault.
    FaultSet(Fault),
    /// Clears one fault or all.
    FaultClear {
        /// Which; all when absent.
        #[serde(default)]
        id: Option<FaultId>,
    },
    /// Lists the faults that are set.
    FaultList,
    /// What each client has reported.
    Status,
    /// The same now and after every change, until the connection ends.
    Watch,
    /// Writes a provisioning directory.
    Provision {
        /// Where.
        dir: PathBuf,
        /// For whom; the lab's own client when absent.
        #[serde(default)]
        client: Option<ClientId>,
        /// What is to be wrong with the SVID.
        #[serde(default)]
        bad: Option<SvidDefect>,
        /// Validity from now, seconds.
        #[serde(default)]
        lifetime_secs: Option<u64>,
    },
    /// Puts an image into the registry.
    PushImage(ImageOrder),
    /// Puts a compose directory into the registry as an artifact.
    PushArchive {
        /// `NAME:TAG`
        reference: String,
        /// The directory.
        dir: PathBuf,
    },
    /// Lists what the registry has.
    Images,
    /// Changes who may use the registry.
    RegistryAuth {
        /// The new rule.
        auth: RegistryAuth,
    },
    /// Status reports in the order of arrival.
    Reports {
        /// The client; the lab's own when absent.
        #[serde(default)]
        client: Option<ClientId>,
        /// Only of this deployment: id, beginning of an id, or name.
        #[serde(default)]
        deployment: Option<String>,
    },
    /// The newest requests.
    Requests {
        /// How many.
        limit: usize,
        /// Only to this server.
        #[serde(default)]
        service: Option<Service>,
    },
    /// Bytes on each connection.
    Wire {
        /// To this server.
        service: Service,
    },
    /// Stops a server.
    Stop {
        /// Which.
        service: Service,
    },
    /// Starts a server again.
    Start {
        /// Which.
        service: Service,
    },
    /// Accepts or refuses a client by policy.
    Policy {
        /// Which.
        client: ClientId,
        /// Whether it is let in.
        accepted: bool,
    },
    /// Takes a step of an anchor rotation.
    Rotate {
        /// Which.
        step: RotationStep,
    },
}

/// What is to be deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployOrder {
    /// The client; the lab's own when absent.
    pub client: Option<ClientId>,
    /// For an update the deployment (id, beginning of an id, or name), else the new deployment's name; the directory's
    /// name when empty.
    pub name: String,
    /// The directory with `compose.yaml`; an update may leave it out to change parameters alone.
    pub dir: Option<PathBuf>,
    /// For this device.
    pub device: Option<String>,
    /// Environment variables for the compose file.
    pub parameters: BTreeMap<String, String>,
    /// `deviceConstraints`
    pub constraints: Option<Value>,
    /// Images to put into the registry first.
    pub images: Vec<ImageOrder>,
    /// Wait this long for `installed` or `failed`, seconds.
    pub wait_secs: Option<u64>,
}

/// Which firmware.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirmwareOrder {
    /// The client; the lab's own when absent.
    pub client: Option<ClientId>,
    /// Name of a new deployment; or id, beginning of an id, or name of one that is there.
    pub name: String,
    /// The RAUC bundle.
    pub bundle: PathBuf,
    /// For this device.
    pub device: Option<String>,
    /// Wait this long for `installed` or `failed`, seconds.
    pub wait_secs: Option<u64>,
}

/// An image to be put into the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOrder {
    /// `NAME:TAG`
    pub reference: String,
    /// Its content.
    pub source: ImageSource,
    /// What its containers do; an archive brings its own.
    #[serde(default)]
    pub config: ImageConfig,
}

/// Where an image's content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSource {
    /// This machine's static busybox.
    Busybox,
    /// A root directory or an archive of `docker save`.
    Path(PathBuf),
}

/// One line of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// Done, with what there is to say.
    Ok(Value),
    /// Not done, and why.
    Error(String),
}
