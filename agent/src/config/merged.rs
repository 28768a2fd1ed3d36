//! All fragments together: the later one wins key by key; labels and registries add up by name and host.

use super::fragment::{Fragment, Located};
use super::keys::{LABELS, REGISTRY};
use std::collections::BTreeMap;

/// What the files say, each value with its origin. Keys that nobody set are absent.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) values: BTreeMap<&'static str, Located>,
    pub(super) labels: BTreeMap<String, Located>,
    /// By host.
    pub(super) registries: BTreeMap<String, Located>,
}

impl Merged {
    /// Lays a fragment over what is there.
    pub(super) fn add(&mut self, fragment: Fragment) {
        for (path, Located { value, place }) in fragment.values {
            match (path, value) {
                (LABELS, toml::Value::Table(labels)) => {
                    self.labels.extend(
                        labels
                            .into_iter()
                            .map(|(name, value)| (name, Located { value, place: place.clone() })),
                    );
                }
                (REGISTRY, toml::Value::Array(registries)) => {
                    self.registries.extend(registries.into_iter().filter_map(|value| {
                        let host = value.get("host")?.as_str()?.to_owned();
                        Some((host, Located { value, place: place.clone() }))
                    }));
                }
                (path, value) => {
                    self.values.insert(path, Located { value, place });
                }
            }
        }
    }
}
