//! An OCI distribution server: enough for a container engine to push and pull, and for artifact pulls; plus helpers that make
//! artifacts and images from local files without an engine.

mod artifact;
mod auth;
mod blobs;
mod handlers;
pub mod image;
mod import;
mod index;
mod manifests;
mod routes;
mod site;
mod uploads;

pub use artifact::{ARTIFACT_TYPE, BUNDLE_TYPE, FIRMWARE_TYPE, LAYER_TYPE};
pub use auth::RegistryAuth;
pub use image::{Healthcheck, ImageConfig, ImageFormat, busybox_files};
pub(crate) use site::RegistrySite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::archive::{ArchiveError, Entries};
use crate::store::StoreError;
use index::Index;

/// Why something could not be put into the registry or taken out.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's own files failed.
    #[error("cannot keep the registry's content")]
    Store(#[from] StoreError),
    /// The content could not be packed.
    #[error("cannot pack the content")]
    Pack(#[from] ArchiveError),
    /// A file to import could not be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A file to import is not what it should be.
    #[error("{path} is no image archive: {reason}", path = path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The name is not one a registry accepts.
    #[error(
        "`{name}` is no repository name: lowercase letters, digits, `.`, `_`, `-`, in parts joined by `/`"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// The tag is not one a registry accepts.
    #[error("`{tag}` is no tag: letters, digits, `.`, `_`, `-`, at most 128")]
    Tag {
        /// What was given.
        tag: String,
    },
    /// A reference without a tag.
    #[error("`{reference}` is no NAME:TAG")]
    Reference {
        /// What was given.
        reference: String,
    },
    /// The static busybox of this machine cannot be used.
    #[error("cannot use {path}: install busybox-static", path = path.display())]
    Busybox {
        /// Where it was looked for.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// What was put into the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// `host:port/name:tag` as devices write it.
    pub reference: String,
    /// `host:port/name`, to be used after `oci://`.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Digests of the layers, in order.
    pub layers: Vec<String>,
}

/// A handle on the registry's content; works whether the server is up or down.
#[derive(Clone, Debug)]
pub struct Registry {
    index: Arc<Index>,
    /// `host:port` as devices reach it.
    host: String,
}

impl Registry {
    pub(crate) fn new(index: Arc<Index>, host: String) -> Self {
        Self { index, host }
    }

    /// `host:port` as devices reach it; `${LAB_REGISTRY}` in a compose file becomes this.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Packs a directory with a `compose.yaml` as a Margo compose artifact (deterministic bytes, one top directory) and
    /// stores it. `${LAB_REGISTRY}` in the compose file is replaced by this registry's `host:port`.
    ///
    /// # Errors
    /// When the directory or its `compose.yaml` cannot be read, or the name or tag is unusable.
    pub fn push_compose_archive(
        &self,
        repository: &str,
        tag: &str,
        dir: &Path,
    ) -> Result<Pushed, RegistryError> {
        let archive = artifact::compose_archive(dir, &self.host)?;
        self.push_artifact(repository, tag, &archive)
    }

    /// Stores a compose file's text the same way, without a directory.
    ///
    /// # Errors
    /// When the name or tag is unusable.
    pub fn push_compose_text(
        &self,
        repository: &str,
        tag: &str,
        compose: &str,
    ) -> Result<Pushed, RegistryError> {
        let archive = artifact::compose_archive_of_text(compose, &self.host)?;
        self.push_artifact(repository, tag, &archive)
    }

    /// Stores bytes as the layer of a Margo compose artifact, whatever they are: for archives that must be refused.
    ///
    /// # Errors
    /// When the name or tag is unusable.
    pub fn push_artifact(
        &self,
        repository: &str,
        tag: &str,
        layer: &[u8],
    ) -> Result<Pushed, RegistryError> {
        self.push_artifact_of_type(repository, tag, layer, (ARTIFACT_TYPE, LAYER_TYPE))
    }

    /// Stores bytes as the only layer of an artifact of any type, such as a firmware bundle: (artifact type, layer type).
    ///
    /// # Errors
    /// When the name or tag is unusable.
    pub fn push_artifact_of_type(
        &self,
        repository: &str,
        tag: &str,
        layer: &[u8],
        types: (&str, &str),
    ) -> Result<Pushed, RegistryError> {
        let layer_digest = self.index.blobs().put_bytes(layer)?;
        self.index.blobs().put_bytes(artifact::EMPTY_CONFIG)?;
        let manifest = artifact::manifest(repository, tag, (&layer_digest, layer.len()), types);
        self.push_manifest(repository, tag, &manifest, vec![layer_digest])
    }

    /// Stores a RAUC bundle as a firmware artifact.
    ///
    /// # Errors
    /// When the file cannot be read, or the name or tag is unusable.
    pub fn push_firmware(
        &self,
        repository: &str,
        tag: &str,
        bundle: &Path,
    ) -> Result<Pushed, RegistryError> {
        let bytes = std::fs::read(bundle)
            .map_err(|source| RegistryError::Read { path: bundle.to_owned(), source })?;
        self.push_artifact_of_type(repository, tag, &bytes, (FIRMWARE_TYPE, BUNDLE_TYPE))
    }

    /// Makes an image of one layer from entries and stores it.
    ///
    /// # Errors
    /// When an entry does not fit the archive format, or the name or tag is unusable.
    pub fn push_image_from_rootfs(
        &self,
        repository: &str,
        tag: &str,
        files: &Entries,
        config: &ImageConfig,
    ) -> Result<Pushed, RegistryError> {
        let image = image::build(files, config)?;
        self.push_image(repository, tag, &image)
    }

    /// Makes an image from the static busybox of this machine, with a link for each applet.
    ///
    /// # Errors
    /// When `/bin/busybox` is missing, or the name or tag is unusable.
    pub fn push_busybox_image(
        &self,
        repository: &str,
        tag: &str,
        config: &ImageConfig,
    ) -> Result<Pushed, RegistryError> {
        self.push_image_from_rootfs(repository, tag, &busybox_files()?, config)
    }

    /// Stores an image from a local path: a root directory, or an archive as `docker save` or `skopeo` write it.
    ///
    /// # Errors
    /// When the path is neither, or the name or tag is unusable.
    pub fn push_image_from_path(
        &self,
        repository: &str,
        tag: &str,
        path: &Path,
        config: &ImageConfig,
    ) -> Result<Pushed, RegistryError> {
        let is_dir = std::fs::metadata(path)
            .map_err(|source| RegistryError::Read { path: path.to_owned(), source })?
            .is_dir();
        if is_dir {
            let files = crate::archive::read_dir(path, Path::new(""))?;
            return self.push_image_from_rootfs(repository, tag, &files, config);
        }
        self.push_image(repository, tag, &import::image(path)?)
    }

    fn push_image(
        &self,
        repository: &str,
        tag: &str,
        image: &image::Image,
    ) -> Result<Pushed, RegistryError> {
        self.index.blobs().put_bytes(&image.config)?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(self.index.blobs().put_bytes(layer)?);
        }
        self.push_manifest(repository, tag, &image.manifest(), layers)
    }

    fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        manifest: &Value,
        layers: Vec<String>,
    ) -> Result<Pushed, RegistryError> {
        if !routes::is_name(repository) {
            return Err(RegistryError::Name { name: repository.to_owned() });
        }
        if !routes::is_tag(tag) {
            return Err(RegistryError::Tag { tag: tag.to_owned() });
        }
        let media_type = manifest.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        let bytes = manifest.to_string().into_bytes();
        let digest = self.index.put_manifest(repository, Some(tag), media_type, &bytes)?;
        let repository = format!("{}/{repository}", self.host);
        let reference = format!("{repository}:{tag}");
        Ok(Pushed { reference, repository, tag: tag.to_owned(), digest, layers })
    }

    /// Points a tag at a manifest that is already there: a tag that moves.
    ///
    /// # Errors
    /// When the files cannot be written, or the tag is unusable. False when there is no such manifest.
    pub fn retag(&self, repository: &str, tag: &str, digest: &str) -> Result<bool, RegistryError> {
        if !routes::is_tag(tag) {
            return Err(RegistryError::Tag { tag: tag.to_owned() });
        }
        Ok(self.index.retag(repository, tag, digest)?)
    }

    /// Removes a repository with its tags and manifests; false when there is none. Blobs stay.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn remove_repository(&self, repository: &str) -> Result<bool, RegistryError> {
        Ok(self.index.remove(repository)?)
    }

    /// Repositories with their tags and what these resolve to.
    pub fn tags(&self) -> Vec<(String, String, String)> {
        self.index.tags()
    }

    /// Changes who may pull and push.
    pub fn set_auth(&self, auth: RegistryAuth) {
        self.index.set_auth(auth);
    }
}

/// Opens the registry's directory.
pub(crate) fn open_index(dir: &Path, auth: RegistryAuth) -> Result<Index, StoreError> {
    Index::open(dir, auth)
}

/// Splits `name:tag`.
///
/// # Errors
/// When there is no tag.
pub fn split_reference(reference: &str) -> Result<(&str, &str), RegistryError> {
    let parts = reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    parts.ok_or_else(|| RegistryError::Reference { reference: reference.to_owned() })
}
