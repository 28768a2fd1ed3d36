//! The apps that scenarios deploy: small images from the lab's registry, told apart by their version.

use super::world::{Deployed, World};
use crate::error::{Doing as _, Outcome, Trouble};
use crate::scenario::action::{AppKind, AppSpec};
use crate::vm::arch::Arch;
use margo_lab::archive::{Entry, tar, tar_gz};
use margo_lab::registry::image::{ImageConfig, busybox_files};
use margo_lab::{ComponentSpec, DeploymentId, DeploymentSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Every container of an app has its version in this variable.
const VERSION_VARIABLE: &str = "APP_VERSION";
/// Where a preloaded desired state goes in the device.
const PRELOAD: &str = "/var/lib/margo-agent/preload";
/// What the engine says a container belongs to.
const LABEL: &str = "org.margo.deployment";
/// The engine's own records, wherever its data is, a line each; then the containers that processes are in. Two programs: each
/// one takes a long time to start in an emulated device.
const RECORDS: &str = "grep -hs . /data/docker/containers/*/config.v2.json /var/lib/docker/containers/*/config.v2.json; \
    grep -s docker /proc/[0-9]*/cgroup";
/// Waits until this many containers have a process, for ten seconds at most, and costs the device next to nothing.
const SCOPES: &str = "n=0; until set -- /sys/fs/cgroup/system.slice/docker-*.scope; \
    [ -d \"$1\" ] && [ $# -ge WANTED ] || [ $n -ge 10 ]; do sleep 1; n=$((n + 1)); done";

/// A container inside the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) is_running: bool,
    /// When it was started last, as the engine writes dates.
    pub(crate) started_at: String,
}

impl World {
    /// Puts an app, or its next version, into the desired state.
    pub(crate) fn deploy(&mut self, app: &AppSpec) -> Outcome {
        let spec = self.publish(app)?;
        let lab = self.lab()?;
        let id = match self.facts.deployed.get(&app.name) {
            Some(known) => {
                lab.update(&known.id, spec).doing(format!("cannot update {}", app.name))?;
                known.id.clone()
            }
            None => lab.deploy(spec).doing(format!("cannot deploy {}", app.name))?,
        };
        self.note(app, id);
        Ok(())
    }

    fn note(&mut self, app: &AppSpec, id: DeploymentId) {
        let deployed = Deployed { id, version: app.version.clone(), services: app.services };
        self.facts.deployed.insert(app.name.clone(), deployed);
    }

    /// Its image and archive in the registry, and the deployment that names them.
    fn publish(&self, app: &AppSpec) -> Outcome<DeploymentSpec> {
        let registry = self.lab()?.registry();
        let arch = self.project.arch;
        let mut files = self.rootfs()?;
        if app.ballast_mib > 0 {
            let bytes = noise(app.ballast_mib.saturating_mul(1 << 20));
            files.insert(PathBuf::from("ballast"), Entry::program(bytes));
        }
        let image = format!("lab/{}", app.name);
        let config = ImageConfig {
            architecture: Some(arch.name().to_owned()),
            ..ImageConfig::shell("true")
        };
        let pushed = registry.push_image_from_rootfs(&image, &app.version, &files, &config);
        pushed.doing("cannot push the app's image")?;
        let repository = format!("apps/{}", app.name);
        let image = format!("{}/{image}:{}", registry.host(), app.version);
        let compose = compose(app, &image);
        let pushed = registry.push_compose_text(&repository, &app.version, &compose);
        pushed.doing("cannot push the app")?;
        let repository = format!("oci://{}/{repository}", registry.host());
        let component = ComponentSpec::new(&*app.name, repository, &*app.version);
        Ok(DeploymentSpec::compose(&*app.name, vec![component]))
    }

    /// What every app's image has: busybox, for the device's processor.
    fn rootfs(&self) -> Outcome<BTreeMap<PathBuf, Entry>> {
        let mut files = busybox_files().doing("the app's image")?;
        let arch = self.project.arch;
        if !arch.is_ours() {
            // The applets are the same, the program is not. The cross root has it from the agent's build.
            let path = format!("target/qemu/cross-{}/usr/bin/busybox", arch.name());
            let path = self.project.root.join(path);
            let next = format!("next step: qemu/build --arch {}", arch.name());
            let program = std::fs::read(&path);
            let program = program.doing(format!("there is no {}; {next}", path.display()))?;
            files.insert(PathBuf::from("bin/busybox"), Entry::program(program));
        }
        Ok(files)
    }

    /// Takes it out of the desired state.
    pub(crate) fn remove(&mut self, app: &str) -> Outcome {
        let id = self.deployed(app)?.id.clone();
        self.lab()?.remove(&id).doing(format!("cannot remove {app}"))
    }

    /// Puts an app into the device's preload directory, image included, as an OEM's image build would.
    pub(crate) fn preload(&mut self, app: &AppSpec) -> Outcome {
        let id = DeploymentId::from("7b0b6f0e-3f0a-4d8e-9c55-0d7b3c0c1a01");
        let image = format!("preloaded.invalid/{}:{}", app.name, app.version);
        let document = format!(
            "id: {id}\nmetadata: {{name: {name}, namespace: lab, deviceId: acme/*}}\nspec:\n  \
             applicationId: {name}\n  deploymentProfile:\n    type: compose\n    components:\n      \
             - name: {name}\n        properties: {{repository: \"oci://preloaded.invalid/{name}\", \
             revision: {version}}}\n",
            name = app.name,
            version = app.version
        );
        let compose = Entry::text(compose(app, &image));
        let path = PathBuf::from(&app.name).join("compose.yaml");
        let archive = tar_gz(&BTreeMap::from([(path, compose)])).doing("preloaded archive")?;
        let entries = BTreeMap::from([
            (PathBuf::from(format!("deployments/{}.yaml", app.name)), Entry::text(document)),
            (PathBuf::from(format!("archives/{id}/{}.tar.gz", app.name)), Entry::program(archive)),
            (
                PathBuf::from(format!("images/{}.tar", app.name)),
                Entry::program(saved_image(&image, &self.rootfs()?, self.project.arch)?),
            ),
        ]);
        let bytes = tar(&entries).doing("preload directory")?;
        self.send_file(&bytes, "/run/margo-preload.tar")?;
        let setting = "behaviour.first_boot = \\\"preload\\\"\\npaths.preload_dir = \\\"/var/lib/margo-agent/preload\\\"\\n";
        self.sh(&format!(
            "mkdir -p {PRELOAD} && tar -C {PRELOAD} -xf /run/margo-preload.tar && \
             mkdir -p /etc/margo-agent/config.d && \
             printf \"{setting}\" >/etc/margo-agent/config.d/40-preload.toml && systemctl restart margo-agent"
        ))?;
        self.note(app, id);
        Ok(())
    }

    /// Writes a file inside the device, in pieces that fit a request.
    pub(crate) fn send_file(&mut self, bytes: &[u8], path: &str) -> Outcome {
        use base64::Engine as _;
        self.sh(&format!(": >{path}"))?;
        for piece in bytes.chunks(48 * 1024) {
            let text = base64::engine::general_purpose::STANDARD.encode(piece);
            self.sh(&format!("base64 -d >>{path} <<'END'\n{text}\nEND"))?;
        }
        Ok(())
    }

    /// The containers of an app, from the engine's own records in the device.
    pub(crate) fn containers(&mut self, app: &str) -> Outcome<Vec<Container>> {
        self.containers_of(app, RECORDS)
    }

    /// The same, when so many containers have a process, or a little later.
    pub(crate) fn containers_when(&mut self, running: usize, app: &str) -> Outcome<Vec<Container>> {
        let scopes = SCOPES.replace("WANTED", &running.to_string());
        self.containers_of(app, &format!("{scopes}; {RECORDS}"))
    }

    fn containers_of(&mut self, app: &str, command: &str) -> Outcome<Vec<Container>> {
        let id = self.deployed(app)?.id.as_str().to_owned();
        // That no container has a process is no failure.
        let told = self.sh(&format!("{command}; true"))?;
        let (records, processes): (Vec<&str>, Vec<&str>) =
            told.lines().partition(|line| line.starts_with('{'));
        let mut containers: Vec<Container> =
            records.into_iter().filter_map(|record| container(record, &processes, &id)).collect();
        containers.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(containers)
    }

    /// All containers of the app run and have this version.
    pub(crate) fn is_running(&mut self, app: &str, version: &str) -> Outcome<Vec<Container>> {
        let wanted = usize::try_from(self.deployed(app)?.services).unwrap_or_default();
        let containers = self.containers_when(wanted, app)?;
        let is_right = |container: &Container| container.is_running && container.version == version;
        if containers.len() == wanted && containers.iter().all(is_right) {
            return Ok(containers);
        }
        Err(Trouble::new(format!("{containers:?}")))
    }
}

/// One of the engine's records, if it is of this deployment; and whether the process it names is in that container.
fn container(record: &str, processes: &[&str], deployment: &str) -> Option<Container> {
    let record: Value = serde_json::from_str(record).ok()?;
    let config = record.get("Config")?;
    if config.get("Labels")?.get(LABEL)?.as_str()? != deployment {
        return None;
    }
    let env = config.get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
    let prefix = format!("{VERSION_VARIABLE}=");
    let version = env.iter().filter_map(Value::as_str).find_map(|v| v.strip_prefix(&prefix));
    let (id, state) = (record.get("ID")?.as_str()?, record.get("State"));
    let started_at = state.and_then(|state| state.get("StartedAt"));
    let pid = state.and_then(|state| state.get("Pid")).and_then(Value::as_u64);
    let process = format!("/proc/{}/cgroup:", pid.unwrap_or_default());
    Some(Container {
        id: id.to_owned(),
        version: version.unwrap_or_default().to_owned(),
        is_running: processes.iter().any(|line| line.starts_with(&process) && line.contains(id)),
        started_at: started_at.and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

fn compose(app: &AppSpec, image: &str) -> String {
    let command = match app.kind {
        AppKind::Failing => "echo on purpose; exit 1",
        _ => "exec sleep 1000000",
    };
    let check = match app.kind {
        AppKind::Unhealthy => Some("exit 1"),
        // The device tells its OS version to nobody, but the kernel's command line says which slot runs.
        AppKind::SickOnNewFirmware => Some("grep -q rauc.slot=A /proc/cmdline"),
        AppKind::Good | AppKind::Failing => None,
    };
    let mut text = String::from("services:\n");
    for number in 1..=app.services {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "  s{number}:\n    image: {image}\n    command: [\"/bin/sh\", \"-c\", \"{command}\"]\n    \
             stop_signal: SIGKILL\n    environment:\n      {VERSION_VARIABLE}: \"{}\"\n",
            app.version
        );
        if let Some(check) = check {
            let _ = write!(
                text,
                "    healthcheck:\n      test: [\"CMD-SHELL\", \"{check}\"]\n      interval: 2s\n      \
                 timeout: 5s\n      retries: 2\n"
            );
        }
    }
    text
}

/// Bytes that do not compress.
fn noise(count: u64) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count / 8).flat_map(next).collect()
}

/// An image as `docker save` writes it.
fn saved_image(reference: &str, files: &BTreeMap<PathBuf, Entry>, arch: Arch) -> Outcome<Vec<u8>> {
    let layer = tar(files).doing("image layer")?;
    let digest = margo_lab::ids::sha256_digest(&layer);
    let config = serde_json::json!({
        "architecture": arch.name(), "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let manifest = serde_json::json!([{
        "Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"],
    }]);
    let entries = BTreeMap::from([
        (PathBuf::from("config.json"), Entry::text(config.to_string())),
        (PathBuf::from("layer.tar"), Entry::program(layer)),
        (PathBuf::from("manifest.json"), Entry::text(manifest.to_string())),
    ]);
    tar(&entries).doing("image archive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_engine_tells_whose_it_is_and_its_version() {
        let record = r#"{"ID":"abc","State":{"Pid":7,"StartedAt":"2025-11-27T05:36:31.5Z"},"Config":{"Env":["A=1","APP_VERSION=2"],"Labels":{"org.margo.deployment":"x"}}}"#;
        let wanted = |is_running| Container {
            id: "abc".into(),
            version: "2".into(),
            is_running,
            started_at: "2025-11-27T05:36:31.5Z".into(),
        };
        let inside = "/proc/7/cgroup:0::/system.slice/docker-abc.scope";
        assert_eq!(container(record, &[inside], "x"), Some(wanted(true)));
        // After a reboot the record still names a process, which is another one or none.
        for others in [
            &[][..],
            &["/proc/7/cgroup:0::/system.slice/docker-abd.scope"],
            &["/proc/77/cgroup:0::/docker-abc"],
        ] {
            assert_eq!(container(record, others, "x"), Some(wanted(false)), "{others:?}");
        }
        assert_eq!(container(record, &[inside], "y"), None);
        assert_eq!(container("not json", &[inside], "x"), None);
    }

    #[test]
    fn ballast_does_not_compress_into_nothing() {
        let bytes = noise(4096);
        assert_eq!(bytes.len(), 4096);
        let different: std::collections::BTreeSet<u8> = bytes.iter().copied().collect();
        assert!(different.len() > 200);
    }
}
