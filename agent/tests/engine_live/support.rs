//! What the tests against a real Docker engine share: finding it, the test image, units, cleaning up.

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use margo_agent::compose::model::{
    Condition, Dependency, Healthcheck, Network, NetworkAttachment, Project, Service,
};
use margo_agent::engine::{Engine, ImageId, Unit, VolumePolicy, WaitPolicy};
use state_machine::ids::{ComponentName, DeploymentId, Digest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// The image all tests run: nothing but a static busybox.
pub(crate) const IMAGE: &str = "lab/busybox:1";
/// Runs until it is told to stop, and then stops at once.
pub(crate) const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";

pub(crate) const WAIT: WaitPolicy = WaitPolicy { wait: true, timeout_ms: 60_000 };
pub(crate) const NO_WAIT: WaitPolicy = WaitPolicy { wait: false, timeout_ms: 60_000 };

/// An engine, its raw client, and one deployment's worth of names.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) docker: Docker,
    pub(crate) image: ImageId,
    pub(crate) deployment: DeploymentId,
}

pub(crate) fn socket() -> PathBuf {
    std::env::var_os("MARGO_DOCKER_SOCKET")
        .map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from)
}

impl Bench {
    /// A bench with a fresh deployment; `None` (loudly) when no engine answers, unless
    /// `MARGO_REQUIRE_ENGINE=1`.
    pub(crate) async fn new() -> Option<Self> {
        let path = socket();
        let engine = Engine::connect(&path).unwrap();
        if let Err(error) = engine.ping().await {
            let must = std::env::var("MARGO_REQUIRE_ENGINE").is_ok_and(|value| value == "1");
            assert!(!must, "no Docker engine at {}: {}", path.display(), error.chain());
            eprintln!("skipped: no Docker engine at {}", path.display());
            return None;
        }
        let docker =
            Docker::connect_with_unix(path.to_str().unwrap(), 120, bollard::API_DEFAULT_VERSION)
                .unwrap()
                .negotiate_version()
                .await
                .unwrap();
        let image = test_image(&docker).await;
        Some(Self { engine, docker, image, deployment: fresh_deployment() })
    }

    /// A unit of this bench's deployment.
    pub(crate) fn unit(&self, project: Project) -> Unit {
        let images =
            project.services.keys().map(|name| (name.clone(), self.image.clone())).collect();
        Unit {
            deployment: self.deployment.clone(),
            component: ComponentName::new("app"),
            revision: Digest::new("sha256:1"),
            project,
            images,
            archive_dir: std::env::temp_dir(),
            extra_env: BTreeMap::new(),
            bind_roots: Vec::new(),
        }
    }

    /// The id of a service's container, which must be the only one.
    pub(crate) async fn id(&self, service: &str) -> String {
        let mut ids = self.ids(service).await;
        assert_eq!(ids.len(), 1, "containers of {service}: {ids:?}");
        ids.remove(0)
    }

    pub(crate) async fn ids(&self, service: &str) -> Vec<String> {
        let owned = self.engine.owned().await.unwrap();
        owned
            .into_iter()
            .filter(|one| one.deployment == self.deployment && one.service == service)
            .map(|one| one.id)
            .collect()
    }

    pub(crate) async fn state(&self, service: &str) -> String {
        let id = self.id(service).await;
        let owned = self.engine.owned().await.unwrap();
        owned.into_iter().find(|one| one.id == id).unwrap().state
    }

    /// Runs a command in a container and returns what it printed.
    pub(crate) async fn exec(&self, service: &str, command: &str) -> String {
        use bollard::exec::{CreateExecOptions, StartExecResults};
        let options = CreateExecOptions {
            cmd: Some(vec!["sh", "-c", command]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(&self.id(service).await, options).await.unwrap();
        let started = self.docker.start_exec(&exec.id, None).await.unwrap();
        let StartExecResults::Attached { output, .. } = started else { panic!("detached") };
        let output: Vec<_> = output.try_collect().await.unwrap();
        output.into_iter().map(|line| line.to_string()).collect()
    }

    pub(crate) async fn clean(self) {
        self.engine.remove_deployment(&self.deployment, VolumePolicy::Delete).await.unwrap();
        assert_eq!(self.leftovers().await, 0, "objects left after removal");
    }

    /// Containers, networks and volumes of this deployment.
    pub(crate) async fn leftovers(&self) -> usize {
        use bollard::query_parameters::{
            ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
        };
        let filters = std::collections::HashMap::from([(
            "label",
            vec![format!("org.margo.deployment={}", self.deployment)],
        )]);
        let containers = ListContainersOptionsBuilder::default().all(true).filters(&filters);
        let networks = ListNetworksOptionsBuilder::default().filters(&filters);
        let volumes = ListVolumesOptionsBuilder::default().filters(&filters);
        let volumes = self.docker.list_volumes(Some(volumes.build())).await.unwrap();
        self.docker.list_containers(Some(containers.build())).await.unwrap().len()
            + self.docker.list_networks(Some(networks.build())).await.unwrap().len()
            + volumes.volumes.unwrap_or_default().len()
    }
}

fn fresh_deployment() -> DeploymentId {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    DeploymentId::new(random.trim())
}

/// The id of the test image, imported from the host's static busybox when it is not there yet.
pub(crate) async fn test_image(docker: &Docker) -> ImageId {
    static ONCE: OnceCell<()> = OnceCell::const_new();
    ONCE.get_or_init(async || {
        if docker.inspect_image(IMAGE).await.is_err() {
            import(docker).await;
        }
    })
    .await;
    ImageId::new(docker.inspect_image(IMAGE).await.unwrap().id.unwrap())
}

async fn import(docker: &Docker) {
    let busybox = std::env::var("MARGO_BUSYBOX").unwrap_or_else(|_| "/bin/busybox".to_owned());
    let program = std::fs::read(&busybox)
        .unwrap_or_else(|error| panic!("{busybox} (package busybox-static): {error}"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    for dir in ["bin", "tmp", "etc"] {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        tar.append_data(&mut header.clone(), dir, std::io::empty()).unwrap();
    }
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(program.len() as u64);
    tar.append_data(&mut header.clone(), "bin/busybox", program.as_slice()).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    for name in [
        "sh", "sleep", "cat", "echo", "test", "true", "false", "touch", "rm", "nc", "env", "kill",
        "ls", "wget", "httpd", "date", "hostname", "id", "mkdir", "grep", "ping",
    ] {
        tar.append_link(&mut header.clone(), format!("bin/{name}"), "busybox").unwrap();
    }
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("lab/busybox")
        .tag("1")
        .changes(vec!["ENV PATH=/bin".to_owned(), "CMD [\"/bin/sh\"]".to_owned()])
        .build();
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

/// A service that runs a shell script.
pub(crate) fn script(text: &str) -> Service {
    Service {
        image: IMAGE.to_owned(),
        command: Some(["sh", "-c", text].map(ToOwned::to_owned).to_vec()),
        networks: BTreeMap::from([("default".to_owned(), NetworkAttachment::default())]),
        ..Service::default()
    }
}

/// A service that runs until it is stopped.
pub(crate) fn forever() -> Service {
    script(FOREVER)
}

/// A health check that passes while the file exists.
pub(crate) fn healthy_while(file: &str) -> Healthcheck {
    Healthcheck {
        test: vec!["CMD-SHELL".to_owned(), format!("test -e {file}")],
        interval_ns: Some(200_000_000),
        timeout_ns: Some(10_000_000_000),
        retries: Some(1),
        start_period_ns: None,
        start_interval_ns: None,
    }
}

pub(crate) fn after(condition: Condition) -> Dependency {
    Dependency { condition, restart: false, required: true }
}

/// A project with a default network.
pub(crate) fn project<const N: usize>(services: [(&str, Service); N]) -> Project {
    Project {
        services: services.into_iter().map(|(name, one)| (name.to_owned(), one)).collect(),
        networks: BTreeMap::from([("default".to_owned(), Network::default())]),
        volumes: BTreeMap::new(),
    }
}

/// The service of a project, to change it.
pub(crate) fn service<'a>(unit: &'a mut Unit, name: &str) -> &'a mut Service {
    unit.project.services.get_mut(name).unwrap()
}

/// Waits for a condition, for half a minute.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, wait).await.expect("the condition never came true");
}

/// An image that is the test image but for a label.
pub(crate) async fn another_image(bench: &Bench) -> ImageId {
    use bollard::query_parameters::CommitContainerOptionsBuilder;
    let options = CommitContainerOptionsBuilder::default()
        .container(&bench.id("web").await)
        .repo(&format!("lab/other-{}", bench.deployment))
        .tag("1")
        .build();
    let config = bollard::models::ContainerConfig::default();
    let made = bench.docker.commit_container(options, config).await.unwrap();
    let found = bench.docker.inspect_image(&made.id).await.unwrap();
    ImageId::new(found.id.unwrap())
}
