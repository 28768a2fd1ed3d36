//! Container images from local files, without an engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::RegistryError;
use crate::archive::{self, Entries, Entry};
use crate::ids::sha256_digest;

/// Where Debian's busybox-static puts its program.
const BUSYBOX: &str = "/bin/busybox";

/// The media types an image is described with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageFormat {
    /// Docker image manifest, version 2, schema 2.
    #[default]
    Docker,
    /// OCI image manifest.
    Oci,
}

/// How an image checks itself; times in nanoseconds, as the engine has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["CMD", …]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    /// Between two checks, nanoseconds.
    pub interval: u64,
    /// For one check, nanoseconds.
    pub timeout: u64,
    /// Failures until unhealthy.
    pub retries: u32,
}

/// What a container of the image does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// The processor it is for, by its OCI name; this machine's when absent.
    pub architecture: Option<String>,
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// What always runs before `cmd`.
    pub entrypoint: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// As whom it runs.
    pub user: String,
    /// `8080/tcp`
    pub exposed_ports: Vec<String>,
    /// Paths that are volumes.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its health check.
    pub healthcheck: Option<Healthcheck>,
    /// Its media types.
    pub format: ImageFormat,
}

impl ImageConfig {
    /// An image that runs a shell command.
    pub fn shell(command: impl Into<String>) -> Self {
        let cmd = vec!["/bin/sh".to_owned(), "-c".to_owned(), command.into()];
        Self { cmd, ..Self::default() }
    }
}

/// An image ready to be stored.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) format: ImageFormat,
    pub(super) config: Vec<u8>,
    /// Compressed layers.
    pub(super) layers: Vec<Vec<u8>>,
}

impl Image {
    /// Its manifest.
    pub(super) fn manifest(&self) -> Value {
        let (manifest_type, config_type, layer_type) = match self.format {
            ImageFormat::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
            ImageFormat::Oci => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ),
        };
        let blob = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256_digest(bytes), "size": bytes.len() });
        let layers: Vec<Value> = self.layers.iter().map(|layer| blob(layer_type, layer)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": blob(config_type, &self.config),
            "layers": layers,
        })
    }
}

/// Makes an image of one layer.
pub(super) fn build(files: &Entries, config: &ImageConfig) -> Result<Image, RegistryError> {
    let layer = archive::tar(files)?;
    let document = json!({
        "architecture": config.architecture.as_deref().unwrap_or_else(|| architecture()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": container_config(config),
        "rootfs": { "type": "layers", "diff_ids": [sha256_digest(&layer)] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "margo-lab" }],
    });
    Ok(Image {
        format: config.format,
        config: document.to_string().into_bytes(),
        layers: vec![archive::gzip(&layer)?],
    })
}

fn container_config(config: &ImageConfig) -> Value {
    let set = |items: &[String]| -> Value {
        items.iter().map(|item| (item.clone(), json!({}))).collect::<Map<_, _>>().into()
    };
    let mut container = Map::new();
    let mut put = |key: &str, value: Value, is_empty: bool| {
        if !is_empty {
            container.insert(key.to_owned(), value);
        }
    };
    put("Cmd", json!(config.cmd), config.cmd.is_empty());
    put("Entrypoint", json!(config.entrypoint), config.entrypoint.is_empty());
    let mut env = config.env.clone();
    if !env.iter().any(|variable| variable.starts_with("PATH=")) {
        env.insert(
            0,
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        );
    }
    put("Env", json!(env), false);
    put("WorkingDir", json!(config.working_dir), config.working_dir.is_empty());
    put("User", json!(config.user), config.user.is_empty());
    put("ExposedPorts", set(&config.exposed_ports), config.exposed_ports.is_empty());
    put("Volumes", set(&config.volumes), config.volumes.is_empty());
    put("Labels", json!(config.labels), config.labels.is_empty());
    put("Healthcheck", json!(config.healthcheck), config.healthcheck.is_none());
    container.into()
}

/// This machine's architecture by its OCI name: what is taken from this machine runs on its like.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A root directory around this machine's static busybox, with a link for each applet.
///
/// # Errors
/// When there is no busybox.
pub fn busybox_files() -> Result<Entries, RegistryError> {
    let failed = |source| RegistryError::Busybox { path: PathBuf::from(BUSYBOX), source };
    let program = std::fs::read(BUSYBOX).map_err(failed)?;
    let listed = Command::new(BUSYBOX).arg("--list").output().map_err(failed)?;
    let mut files = Entries::new();
    for (dir, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        files.insert(PathBuf::from(dir), Entry::Dir { mode });
    }
    for applet in String::from_utf8_lossy(&listed.stdout).lines() {
        let target = PathBuf::from("busybox");
        files.insert(Path::new("bin").join(applet), Entry::Symlink { target });
    }
    files.insert(PathBuf::from("bin/busybox"), Entry::program(program));
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    files.insert(PathBuf::from("etc/passwd"), Entry::text(passwd));
    files.insert(PathBuf::from("etc/group"), Entry::text("root:x:0:\nnogroup:x:65534:\n"));
    Ok(files)
}
