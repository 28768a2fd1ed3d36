//! Named volumes: made when missing, never changed, removed only on request.

use super::docker::Engine;
use super::error::{EngineError, status};
use super::host_config::{map, volume_name};
use super::naming::{Names, compose_labels};
use crate::compose::model::{MountSource, Project, Volume};
use bollard::models::VolumeCreateRequest;
use futures_util::future::try_join_all;
use std::collections::BTreeSet;

/// The create request of a volume; pure.
pub(crate) fn volume_body(names: &Names, key: &str, volume: &Volume) -> VolumeCreateRequest {
    let mut labels = map(&volume.labels).unwrap_or_default();
    labels.extend(names.labels());
    labels.insert(compose_labels::VOLUME.to_owned(), key.to_owned());
    VolumeCreateRequest {
        name: Some(volume_name(names, key, Some(volume))),
        driver: volume.driver.clone(),
        driver_opts: map(&volume.driver_opts),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    }
}

/// Keys of the volumes that services mount.
fn used(project: &Project) -> BTreeSet<&str> {
    let mounts = project.services.values().flat_map(|service| &service.mounts);
    mounts
        .filter_map(|mount| match &mount.source {
            MountSource::Volume { key, .. } => Some(key.as_str()),
            MountSource::Anonymous | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .collect()
}

impl Engine {
    /// Makes missing volumes. An existing one is used as it is: its data outweighs its options.
    ///
    /// # Errors
    /// `ExternalMissing`, `Start` (for example another driver), `Unavailable`.
    pub(crate) async fn ensure_volumes(
        &self,
        project: &Project,
        names: &Names,
    ) -> Result<(), EngineError> {
        let used = used(project);
        let wanted = project.volumes.iter().filter(|(key, _)| used.contains(key.as_str()));
        try_join_all(wanted.map(|(key, volume)| self.ensure_volume(names, key, volume))).await?;
        Ok(())
    }

    async fn ensure_volume(
        &self,
        names: &Names,
        key: &str,
        volume: &Volume,
    ) -> Result<(), EngineError> {
        let docker = self.api().await?;
        let name = volume_name(names, key, Some(volume));
        if volume.external {
            return match docker.inspect_volume(&name).await {
                Ok(_) => Ok(()),
                Err(error) if status(&error) == Some(404) => {
                    Err(EngineError::ExternalMissing { kind: "volume", name })
                }
                Err(error) => self.seen("inspect a volume", Err(error)),
            };
        }
        // Creating an existing volume is no error and changes nothing: one call instead of two.
        match docker.create_volume(volume_body(names, key, volume)).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.note(&error);
                Err(EngineError::start(format!("volume `{name}`"), error))
            }
        }
    }
}
