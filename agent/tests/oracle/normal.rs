//! What the engine shows of a project, without what differs by nature: ids, times, addresses it chose.

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use margo_agent::compose::model::Project;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Containers, networks and volumes of a project, by name.
pub(crate) struct Snapshot(pub(crate) Value);

/// Differ by nature, wherever they occur.
const DROPPED: &[&str] = &[
    "Created",
    "CreatedAt",
    "State",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "GraphDriver",
    "ExecIDs",
    "RestartCount",
    "SandboxID",
    "SandboxKey",
    "EndpointID",
    "NetworkID",
    "MacAddress",
    "IPAddress",
    "IPPrefixLen",
    "GlobalIPv6Address",
    "DNSNames",
    "Gateway",
    "IPv6Gateway",
];
/// Lists whose order has no meaning.
const UNORDERED: &[&str] =
    &["Env", "Binds", "Mounts", "Aliases", "Ulimits", "Devices", "ExtraHosts"];
/// Empty is different from absent here.
const TELLING_WHEN_EMPTY: &[&str] = &["Cmd", "Entrypoint", "Test", "MaskedPaths", "ReadonlyPaths"];

impl Snapshot {
    pub(crate) async fn take(docker: &Docker, project_name: &str, project: &Project) -> Self {
        let filters =
            HashMap::from([("label", vec![format!("com.docker.compose.project={project_name}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let mut lives = Vec::new();
        for one in docker.list_containers(Some(options)).await.unwrap() {
            lives.push(docker.inspect_container(&one.id.unwrap(), None).await.unwrap());
        }
        // Ids that appear inside other containers' settings.
        let ids: HashMap<String, String> = lives
            .iter()
            .map(|live| (live.id.clone().unwrap(), live.name.clone().unwrap()))
            .collect();
        let mut containers = Map::new();
        for live in lives {
            let (id, name) = (live.id.clone().unwrap(), live.name.clone().unwrap());
            let mut value = serde_json::to_value(live).unwrap();
            container(&mut value, &id);
            containers.insert(name, replace_ids(clean("", value), &ids));
        }
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let mut networks = Map::new();
        for one in docker.list_networks(Some(options)).await.unwrap() {
            let name = one.name.clone().unwrap();
            let key = one.labels.as_ref().unwrap()["com.docker.compose.network"].clone();
            let mut value = serde_json::to_value(one).unwrap();
            value.as_object_mut().unwrap().remove("Id");
            if project.networks.get(&key).is_some_and(|network| network.ipam.is_empty()) {
                // The engine picked the subnet.
                value["IPAM"]["Config"] = json!("<chosen>");
            }
            networks.insert(name, clean("", value));
        }
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let mut volumes = Map::new();
        for one in docker.list_volumes(Some(options)).await.unwrap().volumes.unwrap_or_default() {
            let name = one.name.clone();
            volumes.insert(name, clean("", serde_json::to_value(one).unwrap()));
        }
        Self(json!({ "containers": containers, "networks": networks, "volumes": volumes }))
    }
}

fn container(value: &mut Value, id: &str) {
    value.as_object_mut().unwrap().remove("Id");
    let short = &id[..12];
    let hostname = &mut value["Config"]["Hostname"];
    // Its own short id, or that of the container whose network it shares.
    if hostname.as_str().is_some_and(|name| name.len() == 12 && is_hex(name)) {
        *hostname = json!("<generated>");
    }
    let policy = &mut value["HostConfig"]["RestartPolicy"]["Name"];
    if policy == "" {
        // The engine treats both as "never".
        *policy = json!("no");
    }
    if let Some(networks) = value["NetworkSettings"]["Networks"].as_object_mut() {
        for network in networks.values_mut() {
            if let Some(aliases) = network["Aliases"].as_array_mut() {
                // Old engines add the container's own short id.
                aliases.retain(|alias| alias != short);
            }
        }
    }
    for mount in value["Mounts"].as_array_mut().into_iter().flatten() {
        let is_anonymous = mount["Name"].as_str().is_some_and(is_hex_id);
        if is_anonymous {
            mount["Name"] = json!("<anonymous>");
            mount["Source"] = json!("<anonymous>");
        }
    }
    if let Some(ports) = value["NetworkSettings"]["Ports"].as_object_mut() {
        for published in ports.values_mut() {
            let count = published.as_array().map_or(0, Vec::len);
            // Which ephemeral port the engine took is chance; how many were bound is not.
            *published = json!(count);
        }
    }
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Drops what differs by nature and what says nothing; sorts what has no order.
fn clean(key: &str, value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !DROPPED.contains(&key.as_str()));
            let kept = kept.map(|(key, value)| {
                let value = clean(&key, value);
                (key, value)
            });
            Value::Object(kept.filter(|(key, value)| says_something(key, value)).collect())
        }
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(|value| clean("", value)).collect();
            if UNORDERED.contains(&key) {
                list.sort_by_key(ToString::to_string);
            }
            Value::Array(list)
        }
        other => other,
    }
}

fn says_something(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty() || TELLING_WHEN_EMPTY.contains(&key),
        Value::Object(map) => !map.is_empty() || key == "Networks",
        _ => true,
    }
}

fn replace_ids(value: Value, ids: &HashMap<String, String>) -> Value {
    match value {
        Value::String(mut text) => {
            for (id, name) in ids {
                if text.contains(id.as_str()) {
                    text = text.replace(id.as_str(), name);
                }
            }
            Value::String(text)
        }
        Value::Array(list) => list.into_iter().map(|value| replace_ids(value, ids)).collect(),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, value)| (key, replace_ids(value, ids))).collect(),
        ),
        other => other,
    }
}
