//! Comparing a live container with what would be created.

use super::*;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, EndpointIpamConfig, NetworkSettings, RestartPolicy,
};
use std::collections::BTreeSet;

const NETWORK: &str = "app_default";

fn spec() -> Spec {
    let host = HostConfig { memory: Some(100), ..HostConfig::default() };
    let endpoint =
        EndpointSettings { aliases: Some(vec!["web".to_owned()]), ..EndpointSettings::default() };
    Spec {
        service: "web".to_owned(),
        name: "app-web-1".to_owned(),
        body: ContainerCreateBody {
            image: Some("sha256:aa".to_owned()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        },
        endpoints: vec![(NETWORK.to_owned(), endpoint)],
        platform: None,
        inline: Vec::new(),
        hash: "sha256:hash".to_owned(),
        pins: BTreeSet::from(["db".to_owned()]),
        shares: BTreeSet::new(),
        may_complete: true,
        may_restart: false,
    }
}

/// What the engine shows of a container that is right.
fn right() -> ContainerInspectResponse {
    let labels = HashMap::from([
        (LABEL_CONFIG_HASH.to_owned(), "sha256:hash".to_owned()),
        (format!("{LABEL_PIN_PREFIX}db"), "d1".to_owned()),
    ]);
    let endpoint = EndpointSettings {
        network_id: Some("n1".to_owned()),
        aliases: Some(vec!["web".to_owned(), "0123456789ab".to_owned()]),
        ..EndpointSettings::default()
    };
    ContainerInspectResponse {
        name: Some("/app-web-1".to_owned()),
        image: Some("sha256:aa".to_owned()),
        config: Some(ContainerConfig { labels: Some(labels), ..ContainerConfig::default() }),
        host_config: Some(HostConfig {
            memory: Some(100),
            memory_swap: Some(200),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: Some(0),
            }),
            ..HostConfig::default()
        }),
        network_settings: Some(NetworkSettings {
            networks: Some(HashMap::from([(NETWORK.to_owned(), endpoint)])),
            ..NetworkSettings::default()
        }),
        ..ContainerInspectResponse::default()
    }
}

fn compare(live: &ContainerInspectResponse) -> Vec<Difference> {
    let networks = NetworkIds::from([(NETWORK.to_owned(), "n1".to_owned())]);
    let containers = BTreeMap::from([("db".to_owned(), "d1".to_owned())]);
    differences(&spec(), live, World { networks: &networks, containers: &containers })
}

#[test]
fn a_right_container_has_no_differences() {
    assert_eq!(compare(&right()), []);
}

#[test]
fn every_edit_is_one_difference() {
    let edited = |what: &str| Difference::Edited(what.to_owned());
    let host = |change: fn(&mut HostConfig)| {
        let mut live = right();
        change(live.host_config.as_mut().unwrap());
        live
    };
    let endpoint = |change: fn(&mut EndpointSettings)| {
        let mut live = right();
        let networks = live.network_settings.as_mut().unwrap().networks.as_mut().unwrap();
        change(networks.get_mut(NETWORK).unwrap());
        live
    };
    let table = [
        (host(|h| h.memory = Some(50)), "memory limit"),
        (host(|h| h.memory_swap = Some(300)), "memory and swap limit"),
        (host(|h| h.nano_cpus = Some(1)), "cpus"),
        (host(|h| h.cpu_quota = Some(1)), "cpu quota"),
        (host(|h| h.pids_limit = Some(1)), "process limit"),
        (host(|h| h.cpuset_cpus = Some("0".to_owned())), "cpuset"),
        (
            host(|h| h.restart_policy.as_mut().unwrap().maximum_retry_count = Some(1)),
            "restart policy",
        ),
        (endpoint(|e| e.network_id = Some("n2".to_owned())), "network `app_default` was replaced"),
        (endpoint(|e| e.aliases = None), "address or aliases in network `app_default`"),
        (
            endpoint(|e| {
                e.ipam_config = Some(EndpointIpamConfig {
                    ipv4_address: Some("10.0.0.9".to_owned()),
                    ..EndpointIpamConfig::default()
                });
            }),
            "address or aliases in network `app_default`",
        ),
    ];
    for (live, what) in table {
        assert_eq!(compare(&live), [edited(what)], "{what}");
    }
}

#[test]
fn identity_is_compared() {
    let mut live = right();
    live.name = Some("/other".to_owned());
    assert_eq!(compare(&live), [Difference::Name]);
    let mut live = right();
    live.image = Some("sha256:bb".to_owned());
    assert_eq!(compare(&live), [Difference::Image]);
    let mut live = right();
    let labels = live.config.as_mut().unwrap().labels.as_mut().unwrap();
    labels.insert(LABEL_CONFIG_HASH.to_owned(), "sha256:old".to_owned());
    labels.insert(format!("{LABEL_PIN_PREFIX}db"), "d0".to_owned());
    assert_eq!(compare(&live), [Difference::Configuration, Difference::Pin("db".to_owned())]);
}

#[test]
fn networks_joined_or_left_are_differences() {
    let mut live = right();
    let networks = live.network_settings.as_mut().unwrap().networks.as_mut().unwrap();
    let settings = networks.remove(NETWORK).unwrap();
    networks.insert("bridge".to_owned(), settings);
    assert_eq!(
        compare(&live),
        [
            Difference::Edited("disconnected from network `app_default`".to_owned()),
            Difference::Edited("connected to network `bridge`".to_owned()),
        ]
    );
}

#[test]
fn engines_without_swap_or_with_other_words_for_none_are_right() {
    let mut live = right();
    let host = live.host_config.as_mut().unwrap();
    host.memory_swap = Some(-1);
    host.pids_limit = Some(-1);
    host.cpu_shares = Some(0);
    host.restart_policy = None;
    assert_eq!(compare(&live), []);
}
