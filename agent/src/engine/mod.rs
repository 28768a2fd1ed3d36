//! Containers, networks and volumes on a real Docker engine (bollard).
//!
//! | file | what it owns |
//! |---|---|
//! | `docker` | the connection |
//! | `unit` | what the engine is asked to make |
//! | `naming`, `reference` | names, labels, image references |
//! | `container_config`, `host_config`, `host_paths`, `inline` | a service as a create request and its hash |
//! | `apply`, `job`, `start`, `wait` | making a component run |
//! | `networks`, `volumes`, `images`, `load` | what containers need |
//! | `live`, `observe`, `events`, `logs`, `remove`, `error` | comparing, looking, ending |

mod apply;
mod container_config;
mod docker;
mod error;
mod events;
mod host_config;
mod host_paths;
mod images;
mod inline;
mod job;
mod live;
mod load;
mod logs;
mod naming;
mod networks;
mod observe;
mod reference;
mod remove;
mod start;
mod unit;
mod volumes;
mod wait;

pub use docker::{Engine, EngineVersion};
pub use error::{EngineError, PullProblem};
pub use events::{EngineEvent, EngineEventKind};
pub use images::{Credentials, PullProgress, PullRequest, PulledImage, Synced};
pub use logs::{LogLine, LogOptions};
pub use naming::{
    LABEL_COMPONENT, LABEL_CONFIG_HASH, LABEL_DEPLOYMENT, LABEL_IMAGE, LABEL_OWNER, LABEL_REVISION,
    LABEL_SERVICE, Names, OWNER,
};
pub use observe::{Mismatch, MismatchKind, OwnedContainer};
pub use reference::{ImageReference, ReferenceError};
pub use unit::{Applied, ImageId, Unit, VolumePolicy, WaitPolicy};
