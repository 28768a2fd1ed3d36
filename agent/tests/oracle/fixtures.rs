//! The corpus' projects as the engine gets them: those of `00-*` written by hand, so that a fault of the loader
//! and one of the engine cannot hide each other; all others from the loader.

use margo_agent::compose;
use margo_agent::compose::model::{
    Condition, Healthcheck, HostPolicy, IpamPool, Logging, Mount, MountSource, Network,
    NetworkAttachment, Port, Project, Resources, Restart, Service, Volume,
};
use std::collections::BTreeMap;
use std::path::Path;

/// The parameters every file of the corpus is given.
pub(crate) fn parameters() -> BTreeMap<String, String> {
    BTreeMap::new()
}

/// A device that permits everything the corpus asks for.
fn policy(dir: &Path) -> HostPolicy {
    HostPolicy {
        bind_roots: vec!["/srv/lab".into(), dir.to_path_buf()],
        privileged: true,
        host_namespaces: true,
        devices: texts(&["/dev/"]),
        capabilities: texts(&["ALL"]),
        unconfined: true,
    }
}

/// The project of a directory: written here for `00-*`, loaded for all others.
pub(crate) fn load(dir: &Path) -> Result<Project, String> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "00-networks-and-ports" => Ok(networks_and_ports()),
        "00-volumes-and-limits" => Ok(volumes_and_limits()),
        "00-shared-namespace" => Ok(shared_namespace()),
        _ => match compose::load(dir, &parameters(), &policy(dir)) {
            Ok(loaded) => Ok(loaded.project),
            Err(problems) => Err(problems.to_string()),
        },
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn sleeper() -> Service {
    Service {
        image: "lab/busybox:1".to_owned(),
        command: Some(texts(&["sleep", "1000000"])),
        stop_grace_period_ms: Some(0),
        ..Service::default()
    }
}

fn joined(names: &[&str]) -> BTreeMap<String, NetworkAttachment> {
    names.iter().map(|name| ((*name).to_owned(), NetworkAttachment::default())).collect()
}

fn health(test: &[&str], interval_secs: i64) -> Healthcheck {
    Healthcheck {
        test: texts(test),
        interval_ns: Some(interval_secs * 1_000_000_000),
        timeout_ns: None,
        retries: None,
        start_period_ns: None,
        start_interval_ns: None,
    }
}

fn networks_and_ports() -> Project {
    let port = |target, protocol: &str| Port {
        host_ip: "127.0.0.1".to_owned(),
        published: String::new(),
        target,
        protocol: protocol.to_owned(),
    };
    let mut web = sleeper();
    web.restart = Restart::UnlessStopped;
    web.ports = vec![port(80, "tcp"), port(53, "udp")];
    web.expose = texts(&["9000/tcp"]);
    web.networks = joined(&["front", "back"]);
    web.networks.get_mut("front").unwrap().aliases = texts(&["www", "shop"]);
    let back = web.networks.get_mut("back").unwrap();
    back.priority = 10;
    back.ipv4_address = Some("10.213.0.7".to_owned());
    web.healthcheck = Some(Healthcheck {
        timeout_ns: Some(2_000_000_000),
        retries: Some(4),
        start_period_ns: Some(1_000_000_000),
        ..health(&["CMD", "true"], 5)
    });
    web.depends_on.insert("db".to_owned(), crate::support::after(Condition::Healthy));
    let mut db = sleeper();
    db.entrypoint = Some(texts(&["sleep"]));
    db.command = Some(texts(&["1000000"]));
    db.environment.insert("MODE".to_owned(), Some("primary".to_owned()));
    db.networks = joined(&["back"]);
    db.healthcheck = Some(health(&["CMD-SHELL", "true"], 1));
    let pool = IpamPool {
        subnet: Some("10.213.0.0/24".to_owned()),
        gateway: Some("10.213.0.1".to_owned()),
        ip_range: None,
    };
    let back = Network { internal: true, ipam: vec![pool], ..Network::default() };
    Project {
        services: BTreeMap::from([("web".to_owned(), web), ("db".to_owned(), db)]),
        networks: BTreeMap::from([
            ("front".to_owned(), Network::default()),
            ("back".to_owned(), back),
        ]),
        volumes: BTreeMap::new(),
    }
}

fn volumes_and_limits() -> Project {
    let mut app = sleeper();
    app.read_only = true;
    app.init = Some(true);
    app.user = Some("1000:1000".to_owned());
    app.cap_drop = texts(&["ALL"]);
    app.cap_add = texts(&["NET_BIND_SERVICE"]);
    app.security_opt = texts(&["no-new-privileges:true"]);
    app.resources = Resources {
        memory_bytes: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids: Some(50),
        ..Resources::default()
    };
    app.shm_size_bytes = Some(1 << 20);
    app.ulimits.insert("nofile".to_owned(), (100, 200));
    app.tmpfs.insert("/run".to_owned(), "size=1m,mode=755".to_owned());
    app.logging = Some(Logging {
        driver: "json-file".to_owned(),
        options: BTreeMap::from([
            ("max-size".to_owned(), "1m".to_owned()),
            ("max-file".to_owned(), "2".to_owned()),
        ]),
    });
    app.labels.insert("plant".to_owned(), "north".to_owned());
    app.networks = joined(&["default"]);
    let mount = |source, target: &str, short_form| Mount {
        source,
        target: target.to_owned(),
        read_only: false,
        short_form,
    };
    let data = |no_copy| MountSource::Volume { key: "data".to_owned(), no_copy };
    app.mounts = vec![
        mount(data(false), "/data", true),
        Mount { read_only: true, ..mount(data(true), "/data-again", false) },
        mount(MountSource::Anonymous, "/scratch", true),
        mount(MountSource::Tmpfs { size_bytes: Some(1 << 20), mode: None }, "/cache", false),
    ];
    let data = Volume {
        labels: BTreeMap::from([("kind".to_owned(), "precious".to_owned())]),
        ..Volume::default()
    };
    let mut project = crate::support::project([("app", app)]);
    project.volumes.insert("data".to_owned(), data);
    project
}

fn shared_namespace() -> Project {
    let mut main = sleeper();
    main.networks = joined(&["default"]);
    main.hostname = Some("gateway".to_owned());
    main.extra_hosts = texts(&["plc:10.0.0.9"]);
    main.dns = texts(&["10.0.0.53"]);
    let mut side = sleeper();
    side.network_mode = Some("service:main".to_owned());
    let mut lonely = sleeper();
    lonely.network_mode = Some("none".to_owned());
    lonely.restart = Restart::OnFailure(3);
    crate::support::project([("main", main), ("side", side), ("lonely", lonely)])
}
