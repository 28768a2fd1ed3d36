//! What is refused, of which kind, and at which path.

use super::*;
use ProblemKind::{Invalid, NotPermitted, Unsupported};

/// Attributes of the service `a`, the expected path below it, the kind and a part of the message.
const ATTRIBUTES: &[(&str, &str, ProblemKind, &str)] = &[
    // Types.
    ("command: 5", "command", Invalid, "must be a list"),
    ("command: [a, 5]", "command[1]", Invalid, "put it in quotes"),
    ("command: a && b", "command", Invalid, "unquoted `&`"),
    ("command: \"a 'b\"", "command", Invalid, "does not end"),
    ("entrypoint: {a: b}", "entrypoint", Invalid, "must be a list"),
    ("user: 1000", "user", Invalid, "put it in quotes"),
    ("user: ~", "user", Invalid, "give it a value"),
    ("user: ''", "user", Invalid, "empty"),
    ("environment: ~", "environment", Invalid, "must be a map or a list"),
    ("environment: text", "environment", Invalid, "must be a map or a list"),
    ("environment: [1]", "environment[0]", Invalid, "string"),
    ("environment: {A: [1]}", "environment.A", Invalid, "must be a string"),
    ("environment: ['=x']", "environment[0]", Invalid, "needs a name"),
    ("environment: {'A=B': x}", "environment.A=B", Invalid, "needs a name"),
    ("labels: 5", "labels", Invalid, "must be a map or a list"),
    ("init: maybe", "init", Invalid, "true or false"),
    ("init: 1", "init", Invalid, "true or false"),
    ("tty: [true]", "tty", Invalid, "true or false"),
    ("working_dir: relative", "working_dir", Invalid, "absolute"),
    ("group_add: x", "group_add", Invalid, "must be a list"),
    ("group_add: [1.5]", "group_add[0]", Invalid, "string"),
    ("stop_signal: SIGNOPE", "stop_signal", Invalid, "signal"),
    ("stop_grace_period: 10", "stop_grace_period", Invalid, "put it in quotes"),
    ("stop_grace_period: 10x", "stop_grace_period", Invalid, "duration"),
    ("stop_grace_period: -1s", "stop_grace_period", Invalid, "duration"),
    ("restart: sometimes", "restart", Invalid, "on-failure"),
    ("restart: on-failure:x", "restart", Invalid, "on-failure"),
    ("restart: false", "restart", Invalid, "string"),
    ("oom_score_adj: 2000", "oom_score_adj", Invalid, "between"),
    ("platform: 'a b'", "platform", Invalid, "platform"),
    ("container_name: a", "container_name", Invalid, "container name"),
    ("container_name: '../x'", "container_name", Invalid, "container name"),
    ("hostname: a_b/c", "hostname", Invalid, "host name"),
    ("domainname: '-a'", "domainname", Invalid, "domain name"),
    ("scale: 2", "scale", Invalid, "between 1 and 1"),
    ("pull_policy: never", "pull_policy", Unsupported, "never"),
    ("pull_policy: build", "pull_policy", Unsupported, "build"),
    ("logging: x", "logging", Invalid, "must be a map"),
    ("logging: {options: [a]}", "logging.options", Invalid, "must be a map"),
    // Interpolation.
    ("command: ['${NO:?set it}']", "command[0]", Invalid, "set it"),
    ("hostname: '${'", "hostname", Invalid, "without its"),
    ("environment: ['A=${1}']", "environment[0]", Invalid, "start with a name"),
    ("init: '${EMPTY}'", "init", Invalid, "true or false"),
    // Ports: see `ports.rs` for more.
    ("ports: ['80:x']", "ports[0]", Invalid, "not a port"),
    ("ports: [{published: 1}]", "ports[0]", Invalid, "needs `target`"),
    ("expose: [x]", "expose[0]", Invalid, "not a port"),
    // Mounts.
    ("volumes: [undeclared:/a]", "volumes[0]", Invalid, "top-level `volumes`"),
    ("volumes: ['data:relative']", "volumes[0]", Invalid, "absolute"),
    ("volumes: ['data:/']", "volumes[0]", Invalid, "root"),
    ("volumes: ['data:/a:wrong']", "volumes[0]", Unsupported, "`wrong`"),
    ("volumes: ['data:/a:z']", "volumes[0]", Unsupported, "bind options"),
    ("volumes: ['a:b:c:d']", "volumes[0]", Invalid, "source:target"),
    ("volumes: ['data::ro']", "volumes[0]", Invalid, "source:target"),
    ("volumes: ['d:/a']", "volumes[0]", Invalid, "one letter"),
    ("volumes: ['./conf:/a']", "volumes[0]", NotPermitted, "archive"),
    ("volumes: ['../conf:/a']", "volumes[0]", NotPermitted, "archive"),
    ("volumes: ['~/x:/a']", "volumes[0]", NotPermitted, "archive"),
    ("volumes: ['/etc:/a']", "volumes[0]", NotPermitted, "/srv/lab"),
    ("volumes: ['/:/a']", "volumes[0]", NotPermitted, "engine"),
    ("volumes: ['/srv/lab/../../etc:/a']", "volumes[0]", NotPermitted, "`..`"),
    ("volumes: ['/srv/laboratory:/a']", "volumes[0]", NotPermitted, "/srv/lab"),
    ("volumes: ['/var/run/docker.sock:/a']", "volumes[0]", NotPermitted, "socket"),
    ("volumes: ['/srv/lab/docker.sock:/a']", "volumes[0]", NotPermitted, "socket"),
    ("volumes: ['/run:/a']", "volumes[0]", NotPermitted, "engine"),
    ("volumes: ['/var/lib/docker:/a']", "volumes[0]", NotPermitted, "engine"),
    ("volumes: ['/dev:/a']", "volumes[0]", NotPermitted, "/dev"),
    ("volumes: [{target: /a}]", "volumes[0]", Invalid, "needs `type`"),
    ("volumes: [{type: volume}]", "volumes[0]", Invalid, "needs `target`"),
    ("volumes: [{type: npipe, target: /a}]", "volumes[0].type", Unsupported, "npipe"),
    ("volumes: [{type: bind, target: /a}]", "volumes[0]", Invalid, "needs `source`"),
    (
        "volumes: [{type: bind, source: /etc, target: /a}]",
        "volumes[0].source",
        NotPermitted,
        "/srv/lab",
    ),
    (
        "volumes: [{type: bind, source: x, target: /a}]",
        "volumes[0].source",
        NotPermitted,
        "relative",
    ),
    (
        "volumes: [{type: bind, source: /srv/lab, target: /a, bind: {propagation: x}}]",
        "volumes[0].bind.propagation",
        Invalid,
        "rprivate",
    ),
    (
        "volumes: [{type: bind, source: /srv/lab, target: /a, bind: {selinux: x}}]",
        "volumes[0].bind.selinux",
        Invalid,
        "`z`",
    ),
    (
        "volumes: [{type: bind, source: /srv/lab, target: /a, tmpfs: {}}]",
        "volumes[0].tmpfs",
        Invalid,
        "does not belong",
    ),
    (
        "volumes: [{type: volume, source: /srv/lab, target: /a}]",
        "volumes[0].source",
        Invalid,
        "name of a volume",
    ),
    ("volumes: [{type: tmpfs, source: x, target: /a}]", "volumes[0].source", Invalid, "no source"),
    (
        "volumes: [{type: tmpfs, target: /a, tmpfs: {size: x}}]",
        "volumes[0].tmpfs.size",
        Invalid,
        "size",
    ),
    ("tmpfs: relative", "tmpfs", Invalid, "absolute"),
    ("tmpfs: /a, volumes: ['data:/a']", "", Invalid, "two things at `/a`"),
    ("shm_size: big", "shm_size", Invalid, "size"),
    ("devices: ['/dev/ttyUSB0']", "devices[0]", NotPermitted, "policy"),
    ("devices: ['ttyUSB0']", "devices[0]", Invalid, "/host"),
    ("devices: ['/dev/x:/dev/y:abc']", "devices[0]", Invalid, "rwm"),
    ("configs: [undeclared]", "configs[0]", Invalid, "top-level `configs`"),
    ("configs: [{target: /a}]", "configs[0]", Invalid, "needs `source`"),
    ("configs: [{source: c, uid: '5'}]", "configs[0].uid", Unsupported, "root"),
    ("secrets: [undeclared]", "secrets[0]", Invalid, "top-level `secrets`"),
    // Networks.
    ("networks: [undeclared]", "networks[0]", Invalid, "top-level `networks`"),
    ("networks: {undeclared: {}}", "networks.undeclared", Invalid, "top-level `networks`"),
    ("networks: text", "networks", Invalid, "must be a list"),
    ("networks: {net: {ipv4_address: 10.9.0.300}}", "networks.net.ipv4_address", Invalid, "IPv4"),
    (
        "networks: {net: {ipv4_address: 10.8.0.1}}",
        "networks.net.ipv4_address",
        Invalid,
        "no subnet",
    ),
    (
        "networks: {default: {ipv4_address: 10.9.0.1}}",
        "networks.default.ipv4_address",
        Invalid,
        "no subnet",
    ),
    ("networks: {net: {ipv6_address: x}}", "networks.net.ipv6_address", Invalid, "IPv6"),
    ("networks: {net: {aliases: ['a b']}}", "networks.net.aliases[0]", Invalid, "DNS"),
    ("network_mode: host", "network_mode", NotPermitted, "policy"),
    ("network_mode: 'container:x'", "network_mode", NotPermitted, "another container"),
    ("network_mode: 'service:nobody'", "network_mode", Invalid, "does not exist"),
    ("network_mode: macvlan", "network_mode", Unsupported, "macvlan"),
    ("network_mode: none, networks: [net]", "networks", Invalid, "excludes"),
    ("network_mode: 'service:b', ports: ['80']", "ports", Invalid, "belong"),
    ("extra_hosts: [a]", "extra_hosts[0]", Invalid, "host=address"),
    ("extra_hosts: {a: b}", "extra_hosts.a", Invalid, "IP address"),
    ("dns: x", "dns", Invalid, "IP address"),
    ("dns_search: 5", "dns_search", Invalid, "must be a list"),
    // Dependencies.
    ("depends_on: [nobody]", "depends_on", Invalid, "does not exist"),
    (
        "depends_on: {nobody: {condition: service_started, required: false}}",
        "depends_on",
        Invalid,
        "does not exist",
    ),
    ("depends_on: [a]", "depends_on", Invalid, "a → a"),
    ("depends_on: {b: {condition: ready}}", "depends_on.b.condition", Invalid, "not a condition"),
    ("depends_on: {b: {}}", "depends_on.b", Invalid, "needs `condition`"),
    ("depends_on: {b: }", "depends_on.b", Invalid, "must be a map"),
    // Health.
    ("healthcheck: {test: [true]}", "healthcheck.test[0]", Invalid, "quotes"),
    ("healthcheck: {test: [a, b]}", "healthcheck.test", Invalid, "must start with"),
    ("healthcheck: {test: [CMD]}", "healthcheck.test", Invalid, "needs a command"),
    ("healthcheck: {test: [CMD-SHELL, a, b]}", "healthcheck.test", Invalid, "one text"),
    ("healthcheck: {interval: 5}", "healthcheck.interval", Invalid, "string"),
    ("healthcheck: {interval: 1us}", "healthcheck.interval", Invalid, "1ms"),
    ("healthcheck: {retries: -1}", "healthcheck.retries", Invalid, "between"),
    ("healthcheck: {retries: many}", "healthcheck.retries", Invalid, "whole number"),
    ("healthcheck: ~", "healthcheck", Invalid, "must be a map"),
    // Limits.
    ("mem_limit: lots", "mem_limit", Invalid, "size"),
    ("mem_limit: 1.5", "mem_limit", Invalid, "size"),
    ("mem_limit: -1", "mem_limit", Invalid, "size"),
    ("mem_limit: 1m", "", Invalid, "6 MiB"),
    ("mem_limit: 64m, mem_reservation: 65m", "", Invalid, "reserves more"),
    ("mem_limit: 64m, memswap_limit: 32m", "", Invalid, "counts memory"),
    ("memswap_limit: 32m", "memswap_limit", Invalid, "memory limit as well"),
    ("cpus: -1", "cpus", Invalid, "not negative"),
    ("cpus: many", "cpus", Invalid, "number"),
    ("cpus: 99999", "cpus", Invalid, "4096"),
    ("cpuset: a-b", "cpuset", Invalid, "CPUs"),
    ("pids_limit: x", "pids_limit", Invalid, "whole number"),
    ("cpu_shares: -5", "cpu_shares", Invalid, "between"),
    ("deploy: {replicas: 3}", "deploy.replicas", Invalid, "between 1 and 1"),
    (
        "deploy: {resources: {limits: {memory: x}}}",
        "deploy.resources.limits.memory",
        Invalid,
        "size",
    ),
    ("deploy: {mode: global}", "deploy.mode", Unsupported, "does not know"),
    (
        "deploy: {restart_policy: {condition: any}}",
        "deploy.restart_policy",
        Unsupported,
        "`restart`",
    ),
    (
        "mem_limit: 64m, deploy: {resources: {limits: {memory: 65m}}}",
        "deploy.resources.limits.memory",
        Invalid,
        "differs from `mem_limit`",
    ),
    (
        "cpus: 1, deploy: {resources: {limits: {cpus: 2}}}",
        "deploy.resources.limits.cpus",
        Invalid,
        "differs from `cpus`",
    ),
    ("ulimits: {nofiles: 5}", "ulimits.nofiles", Invalid, "not one of"),
    ("ulimits: {nofile: {soft: 5}}", "ulimits.nofile", Invalid, "needs `hard`"),
    ("ulimits: {nofile: {soft: 5, hard: 4}}", "ulimits.nofile", Invalid, "above"),
    ("sysctls: [net.a]", "sysctls[0]", Invalid, "needs a value"),
    // Privileges.
    ("privileged: true", "privileged", NotPermitted, "policy"),
    ("pid: host", "pid", NotPermitted, "policy"),
    ("ipc: host", "ipc", NotPermitted, "policy"),
    ("ipc: 'container:x'", "ipc", NotPermitted, "another container"),
    ("pid: private", "pid", Unsupported, "private"),
    ("uts: host", "uts", NotPermitted, "UTS"),
    ("userns_mode: host", "userns_mode", NotPermitted, "user namespace"),
    ("cgroup_parent: x", "cgroup_parent", NotPermitted, "control group"),
    ("cgroup: host", "cgroup", NotPermitted, "control group"),
    ("cap_add: [NET_ADMIN]", "cap_add[0]", NotPermitted, "policy"),
    ("cap_add: [cap_sys_admin]", "cap_add[0]", NotPermitted, "SYS_ADMIN"),
    ("cap_add: [CHOWN, ALL]", "cap_add[1]", NotPermitted, "ALL"),
    ("cap_add: [NONSENSE]", "cap_add[0]", Invalid, "not a capability"),
    ("cap_drop: [NONSENSE]", "cap_drop[0]", Invalid, "not a capability"),
    ("security_opt: ['seccomp:unconfined']", "security_opt[0]", NotPermitted, "policy"),
    ("security_opt: ['apparmor=unconfined']", "security_opt[0]", NotPermitted, "policy"),
    ("security_opt: ['label:disable']", "security_opt[0]", NotPermitted, "policy"),
    ("security_opt: ['seccomp=profile.json']", "security_opt[0]", Unsupported, "seccomp"),
    ("security_opt: ['systempaths=unconfined']", "security_opt[0]", Unsupported, "systempaths"),
    ("security_opt: [nonsense]", "security_opt[0]", Invalid, "not a security option"),
];

#[test]
fn attributes() {
    for (attributes, path, kind, part) in ATTRIBUTES {
        let problems = try_load(&one(attributes)).expect_err(attributes);
        let path =
            if path.is_empty() { "services.a".to_owned() } else { format!("services.a.{path}") };
        assert_eq!(problems.0.len(), 1, "{attributes}: {problems}");
        let problem = &problems.0[0];
        assert_eq!((&problem.path, problem.kind), (&path, *kind), "{attributes}: {problem}");
        assert!(problem.message.contains(part), "{attributes}: {problem}");
        assert!(problem.line > 0 && problem.column > 0, "{attributes}: {problem}");
    }
}

/// Whole files.
const FILES: &[(&str, &str, ProblemKind, &str)] = &[
    ("[]", "", Invalid, "must be a map"),
    ("{}", "", Invalid, "no `services`"),
    ("services: ", "services", Invalid, "no active service"),
    ("services: {}", "services", Invalid, "no active service"),
    ("services: {a: {image: x, profiles: [p]}}", "services", Invalid, "no active service"),
    ("services: {a: }", "services.a", Invalid, "must be a map"),
    ("services: {a: {command: x}}", "services.a", Invalid, "needs `image`"),
    ("services: {a: {image: ''}}", "services.a.image", Invalid, "empty"),
    ("services: {a: {image: 'Upper:1'}}", "services.a.image", Invalid, "lower-case"),
    ("services: {a: {image: 'x:${NO:?no tag}'}}", "services.a.image", Invalid, "no tag"),
    ("services: {a: {build: .}}", "services.a.build", Unsupported, "image"),
    ("services: {'a/b': {image: x}}", "services.a/b", Invalid, "letters"),
    ("services: {a: {image: x}, a: {image: y}}", "services", Invalid, "given twice"),
    ("services: {a: {image: x, image: y}}", "services.a", Invalid, "given twice"),
    ("services: {a: {image: !reset x}}", "services.a.image", Unsupported, "!reset"),
    (
        "services: {a: {image: x, container_name: cc}, b: {image: x, container_name: cc}}",
        "services.b.container_name",
        Invalid,
        "`a` already",
    ),
    (
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x, network_mode: 'service:a'}}",
        "services.a.depends_on",
        Invalid,
        "a → b → c → a",
    ),
    (
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, profiles: [p]}}",
        "services.a.depends_on",
        Invalid,
        "profile is not active",
    ),
    ("services: {a: {image: x}}\nservice: {}", "service", Unsupported, "does not know"),
    ("services: {a: {image: x}}\ninclude: [y]", "include", Unsupported, "one file"),
    (
        "services: {a: {image: x}}\nnetworks: {n: {driver: macvlan}}",
        "networks.n.driver",
        Unsupported,
        "macvlan",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {name: host, external: true}}",
        "networks.n.name",
        NotPermitted,
        "network_mode",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {host: {external: true}}",
        "networks.host",
        NotPermitted,
        "network_mode",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {name: a/b}}",
        "networks.n.name",
        Invalid,
        "letters",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {external: true, internal: true}}",
        "networks.n.internal",
        Invalid,
        "external",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {name: one, external: {name: two}}}",
        "networks.n.external.name",
        Invalid,
        "differs",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {ipam: {driver: x}}}",
        "networks.n.ipam.driver",
        Unsupported,
        "default",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0}]}}}",
        "networks.n.ipam.config[0].subnet",
        Invalid,
        "subnet",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/33}]}}}",
        "networks.n.ipam.config[0].subnet",
        Invalid,
        "subnet",
    ),
    (
        "services: {a: {image: x}}\nnetworks: {n: {ipam: {config: [{gateway: x}]}}}",
        "networks.n.ipam.config[0].gateway",
        Invalid,
        "IP",
    ),
    ("services: {a: {image: x}}\nnetworks: [n]", "networks", Invalid, "must be a map"),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver: nfs}}",
        "volumes.v.driver",
        Unsupported,
        "local",
    ),
    ("services: {a: {image: x}}\nvolumes: {v: {name: /etc}}", "volumes.v.name", Invalid, "letters"),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: none, o: bind, device: /etc}}}",
        "volumes.v.driver_opts.device",
        NotPermitted,
        "bind mount",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: none, o: 'rw,rbind', device: /etc}}}",
        "volumes.v.driver_opts.device",
        NotPermitted,
        "bind mount",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: tmpfs, o: bind, device: /etc}}}",
        "volumes.v.driver_opts.device",
        NotPermitted,
        "bind mount",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: none, device: ./x}}}",
        "volumes.v.driver_opts.device",
        NotPermitted,
        "absolute",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: ext4, device: /dev/sda1}}}",
        "volumes.v.driver_opts.type",
        NotPermitted,
        "disks",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {type: overlay, o: 'lowerdir=/', device: overlay}}}",
        "volumes.v.driver_opts.type",
        NotPermitted,
        "disks",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {driver_opts: {device: /dev/sda1}}}",
        "volumes.v.driver_opts",
        Invalid,
        "together",
    ),
    (
        "services: {a: {image: x}}\nvolumes: {v: {external: true, driver: local}}",
        "volumes.v.driver",
        Invalid,
        "external",
    ),
    ("services: {a: {image: x}}\nconfigs: {c: {}}", "configs.c", Invalid, "needs `file`"),
    (
        "services: {a: {image: x}}\nconfigs: {c: {file: absent}}",
        "configs.c.file",
        Invalid,
        "no file",
    ),
    (
        "services: {a: {image: x}}\nconfigs: {c: {file: /etc/passwd}}",
        "configs.c.file",
        NotPermitted,
        "archive",
    ),
    (
        "services: {a: {image: x}}\nconfigs: {c: {file: ../x}}",
        "configs.c.file",
        Invalid,
        "inside the archive",
    ),
    (
        "services: {a: {image: x}}\nconfigs: {c: {file: x, content: y}}",
        "configs.c.content",
        Invalid,
        "exclude",
    ),
    (
        "services: {a: {image: x}}\nconfigs: {c: {environment: A}}",
        "configs.c.environment",
        Unsupported,
        "content",
    ),
    (
        "services: {a: {image: x}}\nsecrets: {s: {file: ./token}}",
        "secrets.s.file",
        NotPermitted,
        "may not carry secrets",
    ),
    (
        "services: {a: {image: x}}\nsecrets: {s: {file: /etc/shadow}}",
        "secrets.s.file",
        NotPermitted,
        "/srv/lab",
    ),
    (
        "services: {a: {image: x}}\nsecrets: {s: {environment: A}}",
        "secrets.s.environment",
        Unsupported,
        "desired state",
    ),
    ("services: {a: {image: x}}\nsecrets: {s: {}}", "secrets.s", Invalid, "needs `file`"),
    ("services: {a: {image: x}}\nname: [x]", "name", Invalid, "must be a string"),
    ("services: {a: [}", "", Invalid, "not YAML"),
];

#[test]
fn files() {
    for (text, path, kind, part) in FILES {
        let problems = try_load(text).expect_err(text);
        assert_eq!(problems.0.len(), 1, "{text}: {problems}");
        let problem = &problems.0[0];
        assert_eq!((problem.path.as_str(), problem.kind), (*path, *kind), "{text}: {problem}");
        assert!(problem.message.contains(part), "{text}: {problem}");
        assert!(problem.line > 0, "{text}: {problem}");
    }
}

#[test]
fn all_problems_of_a_file_are_found_at_once() {
    let text = "services:\n  a:\n    build: .\n    ports: [x, 80, y]\n    volumes: [/etc:/a]\n    \
                command: ${NO?}\n  b:\n    image: ''\nnetworks:\n  n: {driver: x}\nfoo: 1\n";
    let mut paths: Vec<_> =
        try_load(text).unwrap_err().0.into_iter().map(|problem| problem.path).collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "foo",
            "networks.n.driver",
            "services.a.build",
            "services.a.command",
            "services.a.ports[0]",
            "services.a.ports[2]",
            "services.a.volumes[0]",
            "services.b.image",
        ]
    );
}

#[test]
fn an_app_cannot_reach_past_its_archive_without_a_policy() {
    for attribute in ["volumes: ['/srv/lab:/a']", "secrets: [s]"] {
        let problems = load_str(
            &one(attribute),
            Path::new("/nonexistent"),
            &environment(),
            &HostPolicy::default(),
        )
        .unwrap_err();
        assert!(problems.0.iter().all(|problem| problem.kind == NotPermitted), "{problems}");
        assert!(problems.0.iter().any(|problem| problem.message.contains("no bind mounts")));
    }
}
