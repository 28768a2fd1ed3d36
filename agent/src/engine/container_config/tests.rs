use super::*;
use crate::compose::model::{
    Dependency, Mount, MountSource, Network, Port, Project, Resources, Volume,
};
use crate::engine::unit::ImageId;
use bollard::models::MountType;

fn unit(service: Service) -> Unit {
    let mut project = Project::default();
    project.services.insert("web".to_owned(), service);
    project.networks.insert("default".to_owned(), Network::default());
    project.networks.insert("back".to_owned(), Network::default());
    project.volumes.insert("data".to_owned(), Volume::default());
    Unit {
        deployment: "6b2d7e0e-0000-4000-8000-000000000001".into(),
        component: "app".into(),
        revision: "sha256:1".into(),
        project,
        images: BTreeMap::from([("web".to_owned(), ImageId::new("sha256:aa"))]),
        archive_dir: "/archive".into(),
        extra_env: BTreeMap::new(),
        bind_roots: Vec::new(),
    }
}

fn service() -> Service {
    Service {
        image: "nginx:1".to_owned(),
        networks: BTreeMap::from([("default".to_owned(), NetworkAttachment::default())]),
        ..Service::default()
    }
}

fn spec_of(unit: &Unit) -> Spec {
    let names = Names::new(&unit.deployment, &unit.component);
    spec(unit, &names, "web", &HostPaths::default()).unwrap()
}

/// The create body as JSON, at a path like `HostConfig/Memory`.
fn said(service: Service, path: &str) -> serde_json::Value {
    let body = serde_json::to_value(spec_of(&unit(service)).body).unwrap();
    body.pointer(&format!("/{path}")).cloned().unwrap_or_default()
}

#[test]
fn each_field_reaches_its_place() {
    use serde_json::json;
    let with = |change: fn(&mut Service)| {
        let mut service = service();
        change(&mut service);
        service
    };
    type Row = (fn(&mut Service), &'static str, serde_json::Value);
    let table: &[Row] = &[
        (|s| s.command = Some(vec![]), "Cmd", json!([])),
        (|s| s.command = None, "Cmd", json!(null)),
        (|s| s.entrypoint = Some(vec!["/x".into()]), "Entrypoint", json!(["/x"])),
        (|s| s.user = Some("1:2".into()), "User", json!("1:2")),
        (|s| s.stop_grace_period_ms = Some(1_900), "StopTimeout", json!(1)),
        (|s| s.expose = vec!["9/tcp".into()], "ExposedPorts", json!({"9/tcp": {}})),
        (|s| s.tty = true, "Tty", json!(true)),
        (|s| s.stop_signal = Some("SIGINT".into()), "StopSignal", json!("SIGINT")),
        (|s| s.restart = Restart::No, "HostConfig/RestartPolicy/Name", json!("")),
        (
            |s| s.restart = Restart::OnFailure(3),
            "HostConfig/RestartPolicy/MaximumRetryCount",
            json!(3),
        ),
        (|s| s.read_only = true, "HostConfig/ReadonlyRootfs", json!(true)),
        (|s| s.privileged = true, "HostConfig/Privileged", json!(true)),
        (|s| s.network_mode = Some("none".into()), "HostConfig/NetworkMode", json!("none")),
        (|_| (), "HostConfig/NetworkMode", json!("app_6b2d7e0e000040008000000000000001_default")),
        (|s| s.pid = Some("host".into()), "HostConfig/PidMode", json!("host")),
        (
            |s| s.security_opt = vec!["systempaths=unconfined".into()],
            "HostConfig/MaskedPaths",
            json!([]),
        ),
        (|_| (), "HostConfig/MaskedPaths", json!(null)),
        (
            |s| s.resources = Resources { memory_bytes: Some(5), ..Resources::default() },
            "HostConfig/Memory",
            json!(5),
        ),
        (
            |s| s.ulimits = BTreeMap::from([("nofile".into(), (1, 2))]),
            "HostConfig/Ulimits/0",
            json!({"Name": "nofile", "Soft": 1, "Hard": 2}),
        ),
        (
            |s| s.tmpfs = BTreeMap::from([("/t".into(), "size=1m".into())]),
            "HostConfig/Tmpfs",
            json!({"/t": "size=1m"}),
        ),
        (|s| s.init = Some(false), "HostConfig/Init", json!(false)),
        (
            |s| s.labels = BTreeMap::from([("org.margo.owner".into(), "me".into())]),
            "Labels/org.margo.owner",
            json!("margo-agent"),
        ),
        (|_| (), "Image", json!("sha256:aa")),
        (|_| (), "Labels/org.margo.image", json!("nginx:1")),
    ];
    for (change, path, expected) in table {
        assert_eq!(&said(with(*change), path), expected, "{path}");
    }
}

#[test]
fn ports_of_one_target_are_kept_together() {
    let port = |published: &str| Port {
        host_ip: "127.0.0.1".to_owned(),
        published: published.to_owned(),
        target: 80,
        protocol: "tcp".to_owned(),
    };
    let mut service = service();
    service.ports = vec![port("8080"), port("8000-8010")];
    let bindings = said(service, "HostConfig/PortBindings");
    assert_eq!(
        bindings,
        serde_json::json!({"80/tcp": [
            {"HostIp": "127.0.0.1", "HostPort": "8080"},
            {"HostIp": "127.0.0.1", "HostPort": "8000-8010"},
        ]})
    );
}

#[test]
fn a_later_mount_replaces_an_earlier_one_on_the_same_target() {
    let mount = |source, target: &str| Mount {
        source,
        target: target.to_owned(),
        read_only: false,
        short_form: true,
    };
    let mut service = service();
    let data = MountSource::Volume { key: "data".to_owned(), no_copy: false };
    service.mounts = vec![mount(MountSource::Anonymous, "/data/"), mount(data, "/data")];
    let mounts = spec_of(&unit(service)).body.host_config.unwrap().mounts.unwrap();
    assert_eq!(mounts.len(), 1);
    assert_eq!(mounts[0].typ, Some(MountType::VOLUME));
    assert_eq!(mounts[0].source.as_deref(), Some("app_6b2d7e0e000040008000000000000001_data"));
}

#[test]
fn the_network_of_highest_priority_is_joined_first() {
    let mut service = service();
    let back = NetworkAttachment { priority: 5, ..NetworkAttachment::default() };
    service.networks.insert("back".to_owned(), back);
    let spec = spec_of(&unit(service));
    let order: Vec<&str> =
        spec.endpoints.iter().filter_map(|(name, _)| name.rsplit('_').next()).collect();
    assert_eq!(order, ["back", "default"]);
    assert_eq!(
        spec.endpoints[0].1.aliases.as_deref().unwrap(),
        [spec.name.as_str(), "web"],
        "the container's name and the service's name resolve"
    );
}

#[test]
fn the_hash_covers_what_matters_and_nothing_else() {
    let base = unit(service());
    let hash = spec_of(&base).hash;

    let mut same = base.clone();
    same.revision = "sha256:2".into();
    assert_eq!(spec_of(&same).hash, hash, "a revision alone changes no container");

    let mut image = base.clone();
    image.images.insert("web".to_owned(), ImageId::new("sha256:bb"));
    let mut env = base.clone();
    env.extra_env.insert("A".to_owned(), "1".to_owned());
    let mut network = base.clone();
    let web = network.project.services.get_mut("web").unwrap();
    web.networks.get_mut("default").unwrap().aliases.push("x".to_owned());
    let mut file = base.clone();
    file.project.services.get_mut("web").unwrap().files.push(crate::compose::model::FileMount {
        content: Some("x".to_owned()),
        ..crate::compose::model::FileMount::default()
    });
    for changed in [image, env, network, file] {
        assert_ne!(spec_of(&changed).hash, hash);
    }
}

#[test]
fn the_hash_is_the_same_in_every_release() {
    // A change here recreates every container of every device at its next agent update: do not "fix" this
    // value without a reason that is worth that.
    let hash = spec_of(&unit(service())).hash;
    assert_eq!(hash, "sha256:3163cace591554008c2deb607d633e124b2c71fc0db6e9ec86f15bfed66b99b9");
}

#[test]
fn shared_namespaces_are_bound_when_the_container_is_made() {
    let mut service = service();
    service.networks.clear();
    service.network_mode = Some("service:main".to_owned());
    service.depends_on.insert(
        "db".to_owned(),
        Dependency { condition: Condition::Started, restart: true, required: true },
    );
    let unit = unit(service);
    let spec = spec_of(&unit);
    assert_eq!(spec.pins, BTreeSet::from(["db".to_owned(), "main".to_owned()]));
    assert_eq!(spec.shares, BTreeSet::from(["main".to_owned()]));
    let ids =
        BTreeMap::from([("main".to_owned(), "m1".to_owned()), ("db".to_owned(), "d1".to_owned())]);
    let body = spec.body_now(&unit, &ids);
    assert_eq!(body.host_config.unwrap().network_mode.as_deref(), Some("container:m1"));
    let labels = body.labels.unwrap();
    assert_eq!(labels["org.margo.pin.db"], "d1");
    assert_eq!(labels["org.margo.config-hash"], spec.hash);
    assert_eq!(labels["org.margo.revision"], "sha256:1");
    assert!(labels.contains_key("com.docker.compose.config-hash"), "`docker compose ps` needs it");
}

#[test]
fn a_service_without_image_is_refused() {
    let mut unit = unit(service());
    unit.images.clear();
    let names = Names::new(&unit.deployment, &unit.component);
    let error = spec(&unit, &names, "web", &HostPaths::default()).unwrap_err();
    assert!(matches!(error, EngineError::ImageMissing { .. }));
}
