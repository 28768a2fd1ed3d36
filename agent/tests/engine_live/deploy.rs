//! Deploying, adopting, changing.

use crate::support::{Bench, WAIT, forever, project, script, service};
use margo_agent::compose::model::{
    FileMount, Mount, MountSource, Network, NetworkAttachment, Port, Volume,
};
use margo_agent::engine::{Applied, EngineError, Unit};
use state_machine::failure::Code;
use std::collections::BTreeMap;

fn named_volume(unit: &mut Unit, service_name: &str, key: &str, target: &str) {
    unit.project.volumes.insert(key.to_owned(), Volume::default());
    service(unit, service_name).mounts.push(Mount {
        source: MountSource::Volume { key: key.to_owned(), no_copy: false },
        target: target.to_owned(),
        read_only: false,
        short_form: true,
    });
}

#[tokio::test]
async fn a_second_apply_adopts_everything() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever()), ("db", forever())]));
    named_volume(&mut unit, "db", "data", "/data");

    let first = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(first, Applied { created: 2, ..Applied::default() });
    let ids = (bench.id("web").await, bench.id("db").await);

    // A new revision that changes nothing is no reason to touch anything.
    unit.revision = "sha256:2".into();
    let second = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(second, Applied { adopted: 2, ..Applied::default() });
    assert_eq!(ids, (bench.id("web").await, bench.id("db").await));
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    // Names resolve as they do under docker compose.
    let names = margo_agent::engine::Names::new(&unit.deployment, &unit.component);
    for name in ["db".to_owned(), names.container("db")] {
        let output = bench.exec("web", &format!("ping -c1 -W1 {name}")).await;
        assert!(output.starts_with(&format!("PING {name} (1")), "{output}");
    }
    bench.clean().await;
}

#[tokio::test]
async fn only_what_changed_is_recreated_and_volumes_survive() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever()), ("db", forever())]));
    named_volume(&mut unit, "db", "data", "/data");
    service(&mut unit, "db").mounts.push(Mount {
        source: MountSource::Anonymous,
        target: "/scratch".to_owned(),
        read_only: false,
        short_form: false,
    });
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    bench.exec("db", "echo kept > /data/file; echo kept too > /scratch/file").await;
    let (web, db) = (bench.id("web").await, bench.id("db").await);

    service(&mut unit, "db").environment.insert("NEW".to_owned(), Some("1".to_owned()));
    assert_eq!(bench.engine.observe(&unit).await.unwrap().len(), 1);
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { adopted: 1, recreated: 1, ..Applied::default() });
    assert_eq!(bench.id("web").await, web);
    assert_ne!(bench.id("db").await, db);
    assert_eq!(
        bench.exec("db", "cat /data/file; cat /scratch/file; echo $NEW").await,
        "kept\nkept too\n1\n"
    );
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);

    let live = bench.docker.inspect_container(&bench.id("db").await, None).await.unwrap();
    let scratch = live.mounts.unwrap().into_iter().find_map(|mount| {
        (mount.destination.as_deref() == Some("/scratch")).then(|| mount.name.unwrap())
    });
    let docker = bench.docker.clone();
    bench.clean().await;
    // Handed on, it is still anonymous: it goes with the deployment's data.
    assert!(docker.inspect_volume(&scratch.unwrap()).await.is_err());
}

#[tokio::test]
async fn a_service_that_left_is_removed_with_its_network() {
    let Some(bench) = Bench::new().await else { return };
    let mut old = forever();
    old.networks.insert("side".to_owned(), NetworkAttachment::default());
    let mut unit = bench.unit(project([("web", forever()), ("old", old)]));
    unit.project.networks.insert("side".to_owned(), Network::default());
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    let web = bench.id("web").await;
    assert_eq!(bench.leftovers().await, 4);

    unit.project.services.remove("old");
    unit.project.networks.remove("side");
    assert_eq!(bench.engine.observe(&unit).await.unwrap().len(), 1);
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.id("web").await, web);
    assert_eq!(bench.ids("old").await, Vec::<String>::new());
    assert_eq!(bench.leftovers().await, 2);
    bench.clean().await;
}

#[tokio::test]
async fn a_port_and_a_name_may_move_to_a_new_service() {
    let Some(bench) = Bench::new().await else { return };
    let port = free_port();
    let mut old = forever();
    old.container_name = Some(format!("moves-{}", bench.deployment));
    old.ports.push(Port {
        host_ip: "127.0.0.1".to_owned(),
        published: port.to_string(),
        target: 80,
        protocol: "tcp".to_owned(),
    });
    let mut unit = bench.unit(project([("old", old.clone())]));
    bench.engine.apply(&unit, &WAIT).await.unwrap();

    unit.project = project([("new", old)]);
    unit.images = BTreeMap::from([("new".to_owned(), bench.image.clone())]);
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.state("new").await, "running");
    assert_eq!(bench.ids("old").await, Vec::<String>::new());
    bench.clean().await;
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn two_services_may_swap_their_ports() {
    let Some(bench) = Bench::new().await else { return };
    let port = |number: u16| Port {
        host_ip: "127.0.0.1".to_owned(),
        published: number.to_string(),
        target: 80,
        protocol: "tcp".to_owned(),
    };
    let (one, two) = (free_port(), free_port());
    let mut unit = bench.unit(project([("a", forever()), ("b", forever())]));
    service(&mut unit, "a").ports = vec![port(one)];
    service(&mut unit, "b").ports = vec![port(two)];
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    service(&mut unit, "a").ports = vec![port(two)];
    service(&mut unit, "b").ports = vec![port(one)];
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied.recreated, 2);
    bench.clean().await;
}

#[tokio::test]
async fn a_changed_network_is_remade_with_its_containers() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever())]));
    let mut lone = forever();
    lone.networks = BTreeMap::from([("other".to_owned(), NetworkAttachment::default())]);
    unit.project.services.insert("lone".to_owned(), lone);
    unit.project.networks.insert("other".to_owned(), Network::default());
    unit.images.insert("lone".to_owned(), bench.image.clone());
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    unit.project.networks.get_mut("default").unwrap().internal = true;
    let applied = bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(applied, Applied { adopted: 1, recreated: 1, ..Applied::default() });
    let name = margo_agent::engine::Names::new(&unit.deployment, &unit.component).keyed("default");
    let network = bench.docker.inspect_network(&name, None).await.unwrap();
    assert_eq!(network.internal, Some(true));
    assert_eq!(bench.engine.observe(&unit).await.unwrap(), []);
    bench.clean().await;
}

#[tokio::test]
async fn a_foreign_container_is_named_and_never_touched() {
    let Some(bench) = Bench::new().await else { return };
    let unit = bench.unit(project([("web", forever())]));
    let name = margo_agent::engine::Names::new(&unit.deployment, &unit.component).container("web");
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name(&name);
    let body = bollard::models::ContainerCreateBody {
        image: Some(bench.image.to_string()),
        ..bollard::models::ContainerCreateBody::default()
    };
    let foreign = bench.docker.create_container(Some(options.build()), body).await.unwrap().id;

    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert!(matches!(error, EngineError::NameTaken { .. }), "{error}");
    let failure = error.to_failure();
    assert_eq!(failure.code, Code::StartFailed);
    assert!(
        failure.message.contains(&name) && failure.message.contains(&foreign[..12]),
        "{failure}"
    );
    bench.docker.inspect_container(&foreign, None).await.unwrap();
    bench.docker.remove_container(&foreign, None).await.unwrap();
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    bench.clean().await;
}

#[tokio::test]
async fn a_missing_image_is_told_apart() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", forever())]));
    let gone = margo_agent::engine::ImageId::new(format!("sha256:{}", "0".repeat(64)));
    assert!(!bench.engine.image_present(&gone).await.unwrap());
    assert!(bench.engine.image_present(&bench.image).await.unwrap());
    unit.images.insert("web".to_owned(), gone);
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert_eq!(error.to_failure().code, Code::ArtifactLost, "{error}");
    bench.clean().await;
}

#[tokio::test]
async fn injected_variables_yield_to_the_author() {
    let Some(bench) = Bench::new().await else { return };
    let mut web = forever();
    web.environment.insert("OTEL_A".to_owned(), Some("author".to_owned()));
    let mut unit = bench.unit(project([("web", web)]));
    unit.extra_env = BTreeMap::from([
        ("OTEL_A".to_owned(), "agent".to_owned()),
        ("OTEL_B".to_owned(), "agent".to_owned()),
    ]);
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.exec("web", "echo $OTEL_A $OTEL_B").await, "author agent\n");
    bench.clean().await;
}

#[tokio::test]
async fn archive_files_are_mounted_and_a_bind_outside_the_roots_is_refused() {
    let Some(bench) = Bench::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app.conf"), "hello").unwrap();
    let mut web = forever();
    web.files.push(FileMount {
        archive_path: "app.conf".into(),
        target: "/etc/app.conf".to_owned(),
        ..FileMount::default()
    });
    web.files.push(FileMount {
        target: "/etc/inline.conf".to_owned(),
        content: Some("inline".to_owned()),
        ..FileMount::default()
    });
    let mut unit = bench.unit(project([("web", web)]));
    unit.archive_dir = dir.path().to_owned();
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    assert_eq!(bench.exec("web", "cat /etc/app.conf /etc/inline.conf").await, "helloinline");

    // The same path with other content is another configuration.
    std::fs::write(dir.path().join("app.conf"), "changed").unwrap();
    assert_eq!(bench.engine.apply(&unit, &WAIT).await.unwrap().recreated, 1);

    std::os::unix::fs::symlink("/etc", dir.path().join("escape")).unwrap();
    unit.bind_roots = vec![dir.path().to_owned()];
    let bind = |name: &str| Mount {
        source: MountSource::Bind {
            path: dir.path().join(name),
            propagation: None,
            create_host_path: true,
            selinux: None,
        },
        target: "/host".to_owned(),
        read_only: false,
        short_form: true,
    };
    service(&mut unit, "web").mounts = vec![bind("escape")];
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert!(matches!(error, EngineError::HostPath { .. }), "{error}");
    service(&mut unit, "web").mounts = vec![bind("made/by/the/engine")];
    bench.engine.apply(&unit, &WAIT).await.unwrap();
    bench.exec("web", "echo x > /host/file").await;
    assert!(dir.path().join("made/by/the/engine/file").exists());
    bench.clean().await;
}

#[tokio::test]
async fn an_existing_but_undeclared_external_network_is_required() {
    let Some(bench) = Bench::new().await else { return };
    let mut unit = bench.unit(project([("web", script("true"))]));
    let network = unit.project.networks.get_mut("default").unwrap();
    network.external = true;
    network.name = Some(format!("absent-{}", bench.deployment));
    let error = bench.engine.apply(&unit, &WAIT).await.unwrap_err();
    assert!(matches!(error, EngineError::ExternalMissing { .. }), "{error}");
    bench.clean().await;
}
