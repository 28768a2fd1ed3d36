//! What accepted files mean.

use super::*;

#[test]
fn commands() {
    for (text, expected) in [
        ("init: true", None),
        ("command: ~", None),
        ("command: []", Some(strings(&[]))),
        ("command: ''", Some(strings(&[]))),
        ("command: sleep 10", Some(strings(&["sleep", "10"]))),
        ("command: [sleep, '10']", Some(strings(&["sleep", "10"]))),
        ("command: ['$SET', '$$SET']", Some(strings(&["set", "$SET"]))),
        ("command: \"sh -c 'a && b'\"", Some(strings(&["sh", "-c", "a && b"]))),
    ] {
        assert_eq!(service(text).command, expected, "{text}");
        assert_eq!(service(&text.replace("command", "entrypoint")).entrypoint, expected, "{text}");
    }
}

#[test]
fn environment_values() {
    for (text, name, expected) in [
        ("{A: text}", "A", Some("text")),
        ("{A: 1}", "A", Some("1")),
        ("{A: 1.10}", "A", Some("1.1")),
        ("{A: '1.10'}", "A", Some("1.10")),
        ("{A: true}", "A", Some("true")),
        ("{A: 'yes'}", "A", Some("yes")),
        ("{A: 0123}", "A", Some("83")),
        ("{A: ''}", "A", Some("")),
        ("{A: '${SET}-x'}", "A", Some("set-x")),
        ("{SET: }", "SET", Some("set")),
        ("{UNSET: }", "UNSET", None),
        ("[A=1=2]", "A", Some("1=2")),
        ("[A=]", "A", Some("")),
        ("[A=1, A=2]", "A", Some("2")),
        ("[SET]", "SET", Some("set")),
        ("[UNSET]", "UNSET", None),
    ] {
        let environment = service(&format!("environment: {text}")).environment;
        assert_eq!(environment[name].as_deref(), expected, "{text}");
    }
}

#[test]
fn mounts() {
    let volume = |no_copy| MountSource::Volume { key: "data".to_owned(), no_copy };
    let bind = |create_host_path| MountSource::Bind {
        path: PathBuf::from("/srv/lab/x"),
        propagation: None,
        create_host_path,
        selinux: None,
    };
    let tmpfs = |size_bytes, mode| MountSource::Tmpfs { size_bytes, mode };
    for (text, source, target, read_only, short_form) in [
        ("data:/a", volume(false), "/a", false, true),
        ("data:/a/../b/:ro", volume(false), "/b", true, true),
        ("'data:/a:ro,nocopy'", volume(true), "/a", true, true),
        ("data:/a:rw", volume(false), "/a", false, true),
        ("/anonymous", MountSource::Anonymous, "/anonymous", false, true),
        ("/srv/lab/x:/a", bind(true), "/a", false, true),
        ("/srv/lab//x/:/a:ro", bind(true), "/a", true, true),
        ("{type: volume, source: data, target: /a}", volume(false), "/a", false, false),
        (
            "{type: volume, source: data, target: /a, read_only: true, volume: {nocopy: true}}",
            volume(true),
            "/a",
            true,
            false,
        ),
        ("{type: volume, target: /a}", MountSource::Anonymous, "/a", false, false),
        ("{type: bind, source: /srv/lab/x, target: /a}", bind(false), "/a", false, false),
        (
            "{type: bind, source: /srv/lab/x, target: /a, bind: {create_host_path: true}}",
            bind(true),
            "/a",
            false,
            false,
        ),
        ("{type: tmpfs, target: /a}", tmpfs(None, None), "/a", false, false),
        (
            "{type: tmpfs, target: /a, tmpfs: {size: 1m, mode: 0700}}",
            tmpfs(Some(1 << 20), Some(0o700)),
            "/a",
            false,
            false,
        ),
        (
            "{type: tmpfs, target: /a, tmpfs: {size: 1024}}",
            tmpfs(Some(1024), None),
            "/a",
            false,
            false,
        ),
    ] {
        let expected = Mount { source, target: target.to_owned(), read_only, short_form };
        assert_eq!(service(&format!("volumes: [{text}]")).mounts, [expected], "{text}");
    }
    let relabelled = service("volumes: ['/srv/lab/x:/a:Z,rslave']").mounts.remove(0).source;
    let MountSource::Bind { propagation, selinux, .. } = relabelled else { panic!() };
    assert_eq!((propagation.as_deref(), selinux.as_deref()), (Some("rslave"), Some("Z")));
    // The later of two entries with one target wins.
    let mounts = service("volumes: ['data:/a', 'data:/b', '/srv/lab/x:/a/']").mounts;
    assert_eq!(mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
    assert_eq!(mounts[0].source, bind(true));
    assert_eq!(service("tmpfs: /run").tmpfs, map(&[("/run", "")]));
    assert_eq!(
        service("tmpfs: ['/run:size=1m', /t]").tmpfs,
        map(&[("/run", "size=1m"), ("/t", "")])
    );
}

#[test]
fn configs_and_secrets() {
    for (text, target, mode) in [
        ("[c]", "/c", None),
        ("[{source: c}]", "/c", None),
        ("[{source: c, target: /etc/c}]", "/etc/c", None),
        ("[{source: c, target: etc/c, mode: 0440}]", "/etc/c", Some(0o440)),
    ] {
        let expected = FileMount {
            content: Some("text".to_owned()),
            target: target.to_owned(),
            mode,
            ..Default::default()
        };
        assert_eq!(service(&format!("configs: {text}")).files, [expected], "{text}");
    }
    for (text, target) in [
        ("[s]", "/run/secrets/s"),
        ("[{source: s, target: t}]", "/run/secrets/t"),
        ("[{source: s, target: /t}]", "/t"),
    ] {
        let mount = service(&format!("secrets: {text}")).mounts.remove(0);
        assert_eq!(
            (mount.target.as_str(), mount.read_only, mount.short_form),
            (target, true, false)
        );
        let MountSource::Bind { path, create_host_path: false, .. } = mount.source else {
            panic!()
        };
        assert_eq!(path, Path::new("/srv/lab/s"));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("conf")).unwrap();
    std::fs::write(dir.path().join("conf/a.ini"), "x").unwrap();
    let text = "services: {a: {image: x, configs: [f]}}\nconfigs: {f: {file: ./conf/a.ini}}";
    let loaded = load_str(text, dir.path(), &environment(), &HostPolicy::default()).unwrap();
    let expected = FileMount {
        archive_path: PathBuf::from("conf/a.ini"),
        target: "/f".to_owned(),
        ..Default::default()
    };
    assert_eq!(loaded.project.services["a"].files, [expected]);
}

#[test]
fn networks_and_modes() {
    let plain = service("init: true");
    assert_eq!(plain.networks.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(service("networks: []").networks.len(), 0);
    assert_eq!(service("networks: [net, default]").networks.len(), 2);
    assert_eq!(service("networks: {net: }").networks["net"], NetworkAttachment::default());
    let full =
        service("networks: {net: {aliases: [x, y, x], ipv4_address: 10.9.1.2, priority: 5}}");
    let expected = NetworkAttachment {
        aliases: strings(&["x", "y"]),
        ipv4_address: Some("10.9.1.2".to_owned()),
        ipv6_address: None,
        priority: 5,
    };
    assert_eq!(full.networks["net"], expected);
    for mode in ["none", "bridge"] {
        let service = service(&format!("network_mode: {mode}"));
        assert_eq!((service.network_mode.as_deref(), service.networks.len()), (Some(mode), 0));
    }
    for key in ["network_mode", "pid", "ipc"] {
        let service = service(&format!("{key}: 'service:b'"));
        let expected = Dependency { condition: Condition::Started, restart: true, required: true };
        assert_eq!(service.depends_on["b"], expected, "{key}");
    }
    assert_eq!(service("ipc: shareable").ipc.as_deref(), Some("shareable"));
    assert_eq!(service("pid: ~").pid, None);
}

#[test]
fn unused_networks_and_volumes_are_left_out() {
    let project = loaded(&one("networks: [net], volumes: ['data:/d']")).project;
    assert_eq!(project.networks.keys().collect::<Vec<_>>(), ["default", "net"]);
    assert_eq!(project.volumes.len(), 1);
    let project = loaded(&one("network_mode: none")).project;
    assert_eq!((project.networks.len(), project.volumes.len()), (1, 0));
    assert_eq!(project.networks["default"], Network::default());
}

#[test]
fn top_level_networks_and_volumes() {
    let text = "services: {a: {image: x, networks: [n, e, o], volumes: ['vv:/v', 'ee:/e']}}\n\
        networks:\n  n: {name: my-n, driver: bridge, internal: true, attachable: true, enable_ipv6: true,\n\
        \x20     driver_opts: {mtu: 1400}, labels: [a=b, c], ipam: {config: [{subnet: 10.1.0.0/16, gateway: 10.1.0.1, ip_range: 10.1.1.0/24}]}}\n\
        \x20 e: {external: true, name: out}\n  o: {external: {name: old}}\n\
        volumes:\n  vv: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}, labels: {n: 1}}\n  ee: {external: 'true'}\n";
    let loaded = loaded(text);
    let pool = IpamPool {
        subnet: Some("10.1.0.0/16".to_owned()),
        gateway: Some("10.1.0.1".to_owned()),
        ip_range: Some("10.1.1.0/24".to_owned()),
    };
    let expected = Network {
        name: Some("my-n".to_owned()),
        external: false,
        driver: Some("bridge".to_owned()),
        driver_opts: map(&[("mtu", "1400")]),
        internal: true,
        attachable: true,
        enable_ipv6: true,
        labels: map(&[("a", "b"), ("c", "")]),
        ipam: vec![pool],
    };
    let networks = &loaded.project.networks;
    assert_eq!(networks["n"], expected);
    assert!(networks["e"].external && networks["e"].name.as_deref() == Some("out"));
    assert!(networks["o"].external && networks["o"].name.as_deref() == Some("old"));
    assert_eq!(loaded.warnings[0].path, "networks.o.external.name");
    let volumes = &loaded.project.volumes;
    assert_eq!(
        volumes["vv"].driver_opts,
        map(&[("device", "tmpfs"), ("o", "size=1m"), ("type", "tmpfs")])
    );
    assert_eq!(volumes["vv"].labels, map(&[("n", "1")]));
    assert!(volumes["ee"].external && volumes["ee"].name.is_none());
}

#[test]
fn dependencies_and_profiles() {
    let dependency = |condition, restart, required| Dependency { condition, restart, required };
    for (text, expected) in [
        ("[b]", dependency(Condition::Started, false, true)),
        ("{b: {condition: service_started}}", dependency(Condition::Started, false, true)),
        (
            "{b: {condition: service_healthy, restart: true}}",
            dependency(Condition::Healthy, true, true),
        ),
        (
            "{b: {condition: service_completed_successfully, required: false}}",
            dependency(Condition::CompletedSuccessfully, false, false),
        ),
    ] {
        assert_eq!(service(&format!("depends_on: {text}")).depends_on["b"], expected, "{text}");
    }
    let text = "services:\n  a: {image: x, depends_on: {d: {condition: service_started, required: false}}}\n  d: {build: ., profiles: [debug, other]}\n";
    let project = loaded(text).project;
    assert_eq!(project.services.keys().collect::<Vec<_>>(), ["a"]);
    assert!(project.services["a"].depends_on.is_empty());
    let mut env = environment();
    let text = text.replace("build: .", "image: y");
    for (profiles, count) in [("nothing", 1), ("debug", 2), ("x, other", 2), ("*", 2), ("", 1)] {
        env.insert("COMPOSE_PROFILES".to_owned(), profiles.to_owned());
        let loaded =
            load_str(&text, Path::new("/nonexistent"), &env, &HostPolicy::default()).unwrap();
        assert_eq!(loaded.project.services.len(), count, "{profiles}");
    }
}

#[test]
fn health_checks() {
    let check = |test: &[&str]| Healthcheck {
        test: strings(test),
        interval_ns: None,
        timeout_ns: None,
        retries: None,
        start_period_ns: None,
        start_interval_ns: None,
    };
    for (text, expected) in [
        ("{test: a b}", check(&["CMD-SHELL", "a b"])),
        ("{test: [CMD, a, b]}", check(&["CMD", "a", "b"])),
        ("{test: [CMD-SHELL, a b]}", check(&["CMD-SHELL", "a b"])),
        ("{test: [NONE]}", check(&["NONE"])),
        ("{disable: true}", check(&["NONE"])),
        ("{disable: true, test: a}", check(&["NONE"])),
        ("{disable: false, test: a}", check(&["CMD-SHELL", "a"])),
        ("{interval: 1m30s}", Healthcheck { interval_ns: Some(90_000_000_000), ..check(&[]) }),
        (
            "{timeout: 500ms, retries: 3}",
            Healthcheck { timeout_ns: Some(500_000_000), retries: Some(3), ..check(&[]) },
        ),
        (
            "{start_period: 1.5s, retries: '4'}",
            Healthcheck { start_period_ns: Some(1_500_000_000), retries: Some(4), ..check(&[]) },
        ),
        (
            "{start_interval: 1s}",
            Healthcheck { start_interval_ns: Some(1_000_000_000), ..check(&[]) },
        ),
    ] {
        assert_eq!(service(&format!("healthcheck: {text}")).healthcheck, Some(expected), "{text}");
    }
}

#[test]
fn restarts() {
    for (text, expected) in [
        ("no", Restart::No),
        ("'no'", Restart::No),
        ("always", Restart::Always),
        ("unless-stopped", Restart::UnlessStopped),
        ("on-failure", Restart::OnFailure(0)),
        ("on-failure:3", Restart::OnFailure(3)),
    ] {
        assert_eq!(service(&format!("restart: {text}")).restart, expected, "{text}");
    }
}

#[test]
fn limits() {
    let none = Resources::default();
    let mib = 1 << 20;
    for (text, expected) in [
        ("mem_limit: 64m", Resources { memory_bytes: Some(64 * mib), ..none.clone() }),
        ("mem_limit: 67108864", Resources { memory_bytes: Some(64 * mib), ..none.clone() }),
        ("mem_limit: 0", none.clone()),
        (
            "mem_limit: 64m, memswap_limit: -1",
            Resources { memory_bytes: Some(64 * mib), memory_swap_bytes: Some(-1), ..none.clone() },
        ),
        (
            "mem_limit: 64m, memswap_limit: 1g",
            Resources {
                memory_bytes: Some(64 * mib),
                memory_swap_bytes: Some(1 << 30),
                ..none.clone()
            },
        ),
        (
            "mem_reservation: 32m",
            Resources { memory_reservation_bytes: Some(32 * mib), ..none.clone() },
        ),
        ("cpus: 1.5", Resources { nano_cpus: Some(1_500_000_000), ..none.clone() }),
        ("cpus: '0.7'", Resources { nano_cpus: Some(700_000_000), ..none.clone() }),
        ("cpus: 2", Resources { nano_cpus: Some(2_000_000_000), ..none.clone() }),
        ("cpu_shares: 512", Resources { cpu_shares: Some(512), ..none.clone() }),
        ("cpuset: '0-1,3'", Resources { cpuset: Some("0-1,3".to_owned()), ..none.clone() }),
        ("pids_limit: 10", Resources { pids: Some(10), ..none.clone() }),
        ("pids_limit: -1", Resources { pids: Some(-1), ..none.clone() }),
        (
            "deploy: {replicas: 1, resources: {limits: {cpus: '0.5', memory: 64M, pids: 9}, reservations: {memory: 8m}}}",
            Resources {
                nano_cpus: Some(500_000_000),
                memory_bytes: Some(64 * mib),
                pids: Some(9),
                memory_reservation_bytes: Some(8 * mib),
                ..none.clone()
            },
        ),
        (
            "mem_limit: 64m, deploy: {resources: {limits: {memory: 64M}}}",
            Resources { memory_bytes: Some(64 * mib), ..none.clone() },
        ),
        ("deploy: ~", none.clone()),
    ] {
        assert_eq!(service(text).resources, expected, "{text}");
    }
    let warned = loaded(&one("deploy: {resources: {reservations: {cpus: 0.1}}}")).warnings;
    assert_eq!(warned[0].path, "services.a.deploy.resources.reservations.cpus");
    let limits = service(
        "ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}, memlock: -1, core: {soft: 0, hard: -1}}",
    )
    .ulimits;
    let expected =
        [("core", (0, -1)), ("memlock", (-1, -1)), ("nofile", (1, 2)), ("nproc", (5, 5))];
    assert_eq!(limits, expected.map(|(name, limit)| (name.to_owned(), limit)).into());
    assert_eq!(service("shm_size: 16m").shm_size_bytes, Some(16 * mib));
}

#[test]
fn other_attributes() {
    let full = service(
        "user: '1:2', group_add: [3, '4'], working_dir: /w/, hostname: h, domainname: d.e, container_name: cn, \
         cap_drop: [ALL], cap_add: [CAP_CHOWN], read_only: true, sysctls: {net.a: 1}, init: 'true', \
         stop_signal: SIGUSR1, stop_grace_period: 1500ms, stdin_open: true, tty: 'on', platform: linux/arm64, \
         oom_score_adj: -5, security_opt: [no-new-privileges], dns: 1.1.1.1, dns_search: [d], dns_opt: [o], \
         extra_hosts: ['b=2.2.2.2', 'a:1.1.1.1', 'c:::1', 'd=[::2]', 'e:host-gateway'], \
         logging: {driver: json-file, options: {max-file: 3, x: }}, labels: {n: 1, t: true, e: }, pull_policy: always",
    );
    assert_eq!((full.user.as_deref(), full.group_add), (Some("1:2"), strings(&["3", "4"])));
    assert_eq!((full.working_dir.as_deref(), full.hostname.as_deref()), (Some("/w"), Some("h")));
    assert_eq!(
        (full.domainname.as_deref(), full.container_name.as_deref()),
        (Some("d.e"), Some("cn"))
    );
    assert_eq!((full.cap_drop, full.cap_add), (strings(&["ALL"]), strings(&["CAP_CHOWN"])));
    assert!(full.read_only && full.stdin_open && full.tty && full.init == Some(true));
    assert_eq!(full.sysctls, map(&[("net.a", "1")]));
    assert_eq!(
        (full.stop_signal.as_deref(), full.stop_grace_period_ms),
        (Some("SIGUSR1"), Some(1500))
    );
    assert_eq!((full.platform.as_deref(), full.oom_score_adj), (Some("linux/arm64"), Some(-5)));
    assert_eq!(full.security_opt, strings(&["no-new-privileges"]));
    assert_eq!(
        (full.dns, full.dns_search, full.dns_opt),
        (strings(&["1.1.1.1"]), strings(&["d"]), strings(&["o"]))
    );
    assert_eq!(
        full.extra_hosts,
        strings(&["a:1.1.1.1", "b:2.2.2.2", "c:::1", "d:::2", "e:host-gateway"])
    );
    let logging = full.logging.unwrap();
    assert_eq!(
        (logging.driver.as_str(), logging.options),
        ("json-file", map(&[("max-file", "3"), ("x", "")]))
    );
    assert_eq!(full.labels, map(&[("e", ""), ("n", "1"), ("t", "true")]));
}

#[test]
fn the_policy_opens_what_it_names() {
    let text = one(
        "privileged: true, network_mode: host, pid: host, ipc: host, cap_add: [SYS_ADMIN], \
         security_opt: ['seccomp:unconfined'], devices: ['/dev/ttyUSB0', '/dev/ttyUSB1:/dev/x:r', '/dev/ttyUSB2:rw']",
    );
    let loaded =
        load_str(&text, Path::new("/nonexistent"), &environment(), &HostPolicyForTests::all())
            .unwrap();
    let service = &loaded.project.services["a"];
    assert!(service.privileged);
    for mode in [&service.network_mode, &service.pid, &service.ipc] {
        assert_eq!(mode.as_deref(), Some("host"));
    }
    let devices: Vec<_> = service
        .devices
        .iter()
        .map(|device| {
            (device.host.as_str(), device.container.as_str(), device.permissions.as_str())
        })
        .collect();
    assert_eq!(
        devices,
        [
            ("/dev/ttyUSB0", "/dev/ttyUSB0", "rwm"),
            ("/dev/ttyUSB1", "/dev/x", "r"),
            ("/dev/ttyUSB2", "/dev/ttyUSB2", "rw")
        ]
    );
    let bind = "services: {a: {image: x, volumes: ['vv:/v']}}\nvolumes: {vv: {driver_opts: {type: none, o: bind, device: /srv/lab/x}}}";
    assert_eq!(loaded_volume(bind)["device"], "/srv/lab/x");
}

fn loaded_volume(text: &str) -> BTreeMap<String, String> {
    loaded(text).project.volumes.remove("vv").unwrap().driver_opts
}
