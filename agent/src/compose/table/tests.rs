//! Tests of `super`: the table is what the loader does, and the README is the table.

use super::super::yaml;
use super::super::{HostPolicyForTests, load_str};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Accepted files: the corpus, and what it cannot hold because the oracle cannot run it everywhere.
fn accepted_texts() -> Vec<(String, std::path::PathBuf)> {
    let mut out = Vec::new();
    let corpus = manifest_dir().join("tests/fixtures/compose/corpus");
    for entry in std::fs::read_dir(corpus).unwrap() {
        let dir = entry.unwrap().path();
        out.push((std::fs::read_to_string(dir.join("compose.yaml")).unwrap(), dir));
    }
    let rest = manifest_dir().join("tests/fixtures/compose/accepted");
    for entry in std::fs::read_dir(&rest).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            out.push((std::fs::read_to_string(path).unwrap(), rest.clone()));
        }
    }
    out
}

#[test]
fn every_key_of_the_table_is_in_an_accepted_file() {
    let mut used = BTreeSet::new();
    for (text, base) in accepted_texts() {
        let loaded = load_str(&text, &base, &BTreeMap::new(), &HostPolicyForTests::all());
        assert!(loaded.is_ok(), "{}: {}", base.display(), loaded.unwrap_err());
        used.extend(keys_used(&Cursor::root(&yaml::parse(&text).unwrap())));
    }
    let missing: Vec<_> =
        KEYS.iter().map(|key| key.path).filter(|path| !used.contains(*path)).collect();
    assert!(missing.is_empty(), "no accepted fixture has {missing:?}");
}

#[test]
fn keys_are_unique_and_their_parents_are_there() {
    let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(paths.len(), KEYS.len());
    for path in &paths {
        if let Some((parent, _)) = path.rsplit_once('.') {
            let parent = parent.strip_suffix("[]").unwrap_or(parent);
            assert!(paths.contains(parent), "{path} has no {parent}");
        }
    }
    for refused in REFUSED {
        assert!(!paths.contains(refused.path), "{} is accepted and refused", refused.path);
    }
}

/// Every attribute of the Compose Specification that the table does not have, with a value that compose takes.
const OTHER_KEYS: &[&str] = &[
    "include: [other.yaml]",
    "services: {a: {image: x, build: .}}",
    "services: {a: {image: x, develop: {watch: []}}}",
    "services: {a: {image: x, extends: b}}",
    "services: {a: {image: x, annotations: {a: b}}}",
    "services: {a: {image: x, attach: false}}",
    "services: {a: {image: x, blkio_config: {weight: 300}}}",
    "services: {a: {image: x, cpu_count: 1}}",
    "services: {a: {image: x, cpu_percent: 50}}",
    "services: {a: {image: x, cpu_period: 1}}",
    "services: {a: {image: x, cpu_quota: 1}}",
    "services: {a: {image: x, cpu_rt_runtime: 1}}",
    "services: {a: {image: x, cpu_rt_period: 1}}",
    "services: {a: {image: x, cgroup: private}}",
    "services: {a: {image: x, cgroup_parent: m}}",
    "services: {a: {image: x, credential_spec: {file: a}}}",
    "services: {a: {image: x, device_cgroup_rules: ['c 1:3 mr']}}",
    "services: {a: {image: x, external_links: [a]}}",
    "services: {a: {image: x, gpus: all}}",
    "services: {a: {image: x, isolation: default}}",
    "services: {a: {image: x, label_file: a}}",
    "services: {a: {image: x, links: [a]}}",
    "services: {a: {image: x, mac_address: '02:00:00:00:00:01'}}",
    "services: {a: {image: x, mem_swappiness: 1}}",
    "services: {a: {image: x, models: [m]}}",
    "services: {a: {image: x, oom_kill_disable: true}}",
    "services: {a: {image: x, post_start: [{command: x}]}}",
    "services: {a: {image: x, pre_stop: [{command: x}]}}",
    "services: {a: {image: x, provider: {type: x}}}",
    "services: {a: {image: x, runtime: runc}}",
    "services: {a: {image: x, storage_opt: {size: 1G}}}",
    "services: {a: {image: x, use_api_socket: true}}",
    "services: {a: {image: x, userns_mode: host}}",
    "services: {a: {image: x, uts: host}}",
    "services: {a: {image: x, volumes_from: [b]}}",
    "services: {a: {image: x, deploy: {mode: global}}}",
    "services: {a: {image: x, deploy: {endpoint_mode: vip}}}",
    "services: {a: {image: x, deploy: {labels: {a: b}}}}",
    "services: {a: {image: x, deploy: {placement: {}}}}",
    "services: {a: {image: x, deploy: {restart_policy: {}}}}",
    "services: {a: {image: x, deploy: {rollback_config: {}}}}",
    "services: {a: {image: x, deploy: {update_config: {}}}}",
    "services: {a: {image: x, deploy: {resources: {reservations: {devices: []}}}}}",
    "services: {a: {image: x, deploy: {resources: {reservations: {generic_resources: []}}}}}",
    "services: {a: {image: x, networks: {default: {link_local_ips: []}}}}",
    "services: {a: {image: x, networks: {default: {mac_address: '02:00:00:00:00:01'}}}}",
    "services: {a: {image: x, networks: {default: {gw_priority: 1}}}}",
    "services: {a: {image: x, networks: {default: {driver_opts: {}}}}}",
    "services: {a: {image: x, env_file: [{path: a, format: raw}]}}",
    "services: {a: {image: x, volumes: [{type: volume, target: /a, volume: {subpath: x}}]}}",
    "services: {a: {image: x, volumes: [{type: volume, target: /a, volume: {labels: {}}}]}}",
    "services: {a: {image: x, volumes: [{type: bind, source: /srv/lab, target: /a, bind: {recursive: disabled}}]}}",
    "services: {a: {image: x, unheard_of: 1}}",
    "networks: {a: {enable_ipv4: true}}",
    "networks: {a: {ipam: {options: {a: b}}}}",
    "networks: {a: {ipam: {config: [{aux_addresses: {a: 10.0.0.1}}]}}}",
    "volumes: {a: {driver_opts: {type: tmpfs, device: tmpfs, size: 1g}}}",
    "configs: {a: {external: true}}",
    "configs: {a: {environment: A}}",
    "configs: {a: {file: a, template_driver: golang}}",
    "secrets: {a: {external: true}}",
    "secrets: {a: {environment: A}}",
    "secrets: {a: {file: /srv/lab/a, driver: x}}",
    "models: {m: {}}",
    "unheard_of: 1",
];

#[test]
fn every_other_key_is_refused_with_its_path() {
    for text in OTHER_KEYS {
        let root = yaml::parse(text).unwrap();
        // The path is that of the key that comes last in the text.
        let all_paths = paths(&Cursor::root(&root));
        let text = if text.starts_with("services") {
            (*text).to_owned()
        } else {
            format!("services: {{s: {{image: x}}}}\n{text}")
        };
        let problems = load_str(
            &text,
            Path::new("/nonexistent"),
            &BTreeMap::new(),
            &HostPolicyForTests::all(),
        )
        .expect_err(&text);
        let refused: Vec<_> =
            problems.0.iter().filter(|p| p.kind != ProblemKind::Invalid).collect();
        assert_eq!(refused.len(), 1, "{text}: {problems}");
        assert!(all_paths.contains(&refused[0].path), "{text}: {problems}");
        assert!(!refused[0].message.is_empty());
    }
}

fn paths(at: &Cursor<'_>) -> BTreeSet<String> {
    let mut out = BTreeSet::from([at.path.clone()]);
    for (_, child) in at.entries() {
        out.extend(paths(&child));
    }
    for child in at.items() {
        out.extend(paths(&child));
    }
    out
}

#[test]
fn extension_fields_are_ignored_where_names_are_not_free() {
    let text = "x-a: 1\nservices:\n  a:\n    image: x\n    x-b: {c: d}\n    healthcheck: {test: [NONE], x-c: 1}\n    \
                environment: {x-kept: 1}\n    ports: [{target: 1, x-d: 1}]\nnetworks: {x-net: {driver: macvlan}}\n";
    let problems =
        load_str(text, Path::new("/nonexistent"), &BTreeMap::new(), &HostPolicyForTests::all())
            .unwrap_err();
    // In `networks` the name is free: this one is a network, not an extension.
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert_eq!(problems.0[0].path, "networks.x-net.driver");
}

#[test]
fn the_readme_holds_the_table() {
    let path = manifest_dir().join("src/compose/README.md");
    let text = format!(
        "# The accepted part of the Compose Specification\n\n\
         This page is written by the test `the_readme_holds_the_table` from `table.rs`; after a change of the table run it\n\
         with `UPDATE=1`. A key that is not listed is refused, with its path, before anything is touched. The meaning is that\n\
         of the Compose Specification as `docker compose` 2.26 implements it. `*` is a name that the author chooses, `[]` an\n\
         item of a list. Keys that start with `x-` are ignored wherever names are not free.\n\n\
         ## Accepted\n\n{}\n## Refused, with what to do instead\n\n{}",
        keys_as_markdown(),
        refusals_as_markdown()
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(current == text, "README.md is out of date: run this test with UPDATE=1");
}
