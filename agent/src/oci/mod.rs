//! Pulling OCI artifacts (compose archives, firmware bundles) from a registry into the artifact store.
//!
//! A tag is resolved once; afterwards the same deployment is pulled by the pinned digest (`pinned`), so a tag that
//! moves never changes what runs. Every byte is verified against a digest before it counts (R156).

mod auth;
mod blob;
mod error;
mod manifest;
mod pull;
mod reference;
mod registries;
mod remote;
#[cfg(test)]
mod tests;
mod transport;

pub use error::OciError;
pub use manifest::{
    ArtifactKind, COMPOSE_ARTIFACT_TYPE, COMPOSE_LAYER_MEDIA_TYPE, FIRMWARE_ARTIFACT_TYPE,
    FIRMWARE_LAYER_MEDIA_TYPE,
};
pub use pull::{OciLimits, PulledArtifact, Puller};
pub use reference::{OciReference, ReferenceError};
pub use registries::{Credentials, Registries, RegistryAccess, RegistrySetupError};
pub use remote::{BlobAccess, ResolvedArtifact};
