//! What each client should run and what it has said, kept across restarts of the lab.
//!
//! Every change of a client's desired state makes a new version; older bundles and documents stay fetchable by digest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::WfmError;
use super::client::{CapabilityReport, Client, ClientView, Deployment, described};
use super::manifest::{self, Listed, Object, Published};
use super::validate::{Known, StatusBody};
use crate::deployments::DeploymentSpec;
use crate::events::{Event, Journal};
use crate::fault::{FaultKind, Hits};
use crate::ids::{ClientId, DeploymentId, now_ms, sha256_digest};
use crate::report::StatusReport;
use crate::store;

/// All clients of the WFM.
#[derive(Debug)]
pub(crate) struct Clients {
    dir: PathBuf,
    journal: Arc<Journal>,
    state: Mutex<BTreeMap<ClientId, Client>>,
}

impl Clients {
    /// Loads what an earlier run left.
    pub(crate) fn open(dir: &Path, journal: Arc<Journal>) -> Result<Self, WfmError> {
        store::make_dir(&dir.join("objects"))?;
        let mut state: BTreeMap<ClientId, Client> =
            store::read_json(&dir.join("clients.json"))?.unwrap_or_default();
        let reports = store::read_bytes(&dir.join("reports.jsonl"))?.unwrap_or_default();
        for line in reports.split(|byte| *byte == b'\n') {
            // A line torn by a crash is the last one and is not a report.
            if let Ok(report) = serde_json::from_slice::<StatusReport>(line)
                && let Some(client) = state.get_mut(&report.client)
            {
                client.remember(report);
            }
        }
        Ok(Self { dir: dir.to_owned(), journal, state: Mutex::new(state) })
    }

    /// Accepts a client that was never seen before; what policy said of a known one stays.
    pub(crate) fn introduce(&self, id: &ClientId) -> Result<(), WfmError> {
        if self.lock().contains_key(id) {
            return Ok(());
        }
        self.set_accepted(id, true)
    }

    /// Accepts a client by local policy, or stops doing so (R085).
    pub(crate) fn set_accepted(&self, id: &ClientId, accepted: bool) -> Result<(), WfmError> {
        self.change(|state| {
            state.entry(id.clone()).or_insert_with(Client::new).is_accepted = accepted;
            Ok(())
        })
    }

    pub(crate) fn is_accepted(&self, id: &ClientId) -> bool {
        self.lock().get(id).is_some_and(|client| client.is_accepted)
    }

    /// Adds a deployment or replaces its document; publishes a new version.
    pub(crate) fn put(
        &self,
        id: &ClientId,
        deployment: &DeploymentId,
        yaml: &[u8],
        spec: Option<DeploymentSpec>,
    ) -> Result<u64, WfmError> {
        let object = Object::of(yaml);
        self.keep(&object.digest, yaml)?;
        let (version, change) = self.change(|state| {
            let client = state.entry(id.clone()).or_insert_with(Client::new);
            let version = client.next_version(id)?;
            let (name, components) = described(yaml);
            let old = client.deployments.get(deployment);
            // The same content again is a new version, but nothing new to adopt.
            let same = old.filter(|old| old.digest.as_deref() == Some(object.digest.as_str()));
            let new = Deployment {
                digest: Some(object.digest.clone()),
                target_version: same.map_or(version, |old| old.target_version),
                name,
                components,
                spec,
            };
            client.documents.insert(object.digest.clone(), deployment.clone());
            let old = client.deployments.insert(deployment.clone(), new);
            let was_there = old.is_some_and(|old| old.digest.is_some());
            self.publish(client, version)?;
            Ok((version, if was_there { "updated" } else { "added" }))
        })?;
        self.announce(id, deployment, change, version);
        Ok(version)
    }

    /// Takes a deployment out of the desired state; publishes a new version.
    pub(crate) fn remove(&self, id: &ClientId, deployment: &DeploymentId) -> Result<u64, WfmError> {
        let version = self.change(|state| {
            let unknown = || WfmError::UnknownDeployment {
                client: id.clone(),
                deployment: deployment.clone(),
            };
            let client = state.get_mut(id).ok_or_else(unknown)?;
            let version = client.next_version(id)?;
            let entry = client.deployments.get_mut(deployment).ok_or_else(unknown)?;
            if entry.digest.take().is_none() {
                return Err(unknown());
            }
            entry.target_version = version;
            self.publish(client, version)?;
            Ok(version)
        })?;
        self.announce(id, deployment, "removed", version);
        Ok(version)
    }

    /// The description a deployment was last made from.
    pub(crate) fn spec(&self, id: &ClientId, deployment: &DeploymentId) -> Option<DeploymentSpec> {
        self.lock().get(id)?.deployments.get(deployment)?.spec.clone()
    }

    /// What a client is to be given now, with scripted defects: the body of the manifest.
    pub(crate) fn manifest(&self, id: &ClientId, hits: &Hits) -> Result<Vec<u8>, WfmError> {
        if !hits.has(&FaultKind::WrongSize) && !hits.has(&FaultKind::ExtraFile) {
            let mut state = self.lock();
            let client = state.entry(id.clone()).or_insert_with(Client::new);
            client.last_poll_ms = Some(now_ms());
            return Ok(client.current.render(client.previous.as_ref(), hits));
        }
        self.change(|state| {
            let client = state.entry(id.clone()).or_insert_with(Client::new);
            client.last_poll_ms = Some(now_ms());
            if hits.has(&FaultKind::WrongSize) {
                client.current.are_sizes_wrong = true;
            }
            let mut served = client.current.clone();
            if hits.has(&FaultKind::ExtraFile) && !served.deployments.is_empty() {
                let extra = Some(("extra.yaml", b"extra: true\n".as_slice()));
                let packed = self.pack(&served.deployments, extra)?;
                let object = Object::of(&packed);
                self.keep(&object.digest, &packed)?;
                client.allow_bundle(&object.digest);
                served.bundle = Some(object);
            }
            Ok(served.render(client.previous.as_ref(), hits))
        })
    }

    /// Notes that the current version went out.
    pub(crate) fn served(&self, id: &ClientId) -> Result<(), WfmError> {
        let current = |client: &Client| client.served_version == Some(client.current.version);
        if self.lock().get(id).is_none_or(current) {
            return Ok(());
        }
        let news = self.change(|state| {
            let Some(client) = state.get_mut(id) else { return Ok(None) };
            let version = client.current.version;
            let news = client.served_version != Some(version);
            client.served_version = Some(version);
            Ok(news.then_some(version))
        })?;
        if let Some(version) = news {
            self.journal.say(Event::Served { client: id.clone(), version });
        }
        Ok(())
    }

    /// A bundle this client may fetch, the deployments in it when it is the current one.
    pub(crate) fn bundle(&self, id: &ClientId, digest: &str) -> Option<Bytes> {
        let is_known = self.lock().get(id)?.bundles.iter().any(|known| known == digest);
        is_known.then(|| self.object(digest)).flatten()
    }

    /// A document this client may fetch.
    pub(crate) fn document(
        &self,
        id: &ClientId,
        deployment: &DeploymentId,
        digest: &str,
    ) -> Option<Bytes> {
        let is_known = self.lock().get(id)?.documents.get(digest) == Some(deployment);
        is_known.then(|| self.object(digest)).flatten()
    }

    /// Whether a device of this client has reported.
    pub(crate) fn has_device(&self, id: &ClientId, device: &str) -> bool {
        self.lock().get(id).is_some_and(|client| client.devices.contains_key(device))
    }

    /// Keeps a capability report; says whether it is the device's first.
    pub(crate) fn put_device(
        &self,
        id: &ClientId,
        device: &str,
        body: Map<String, Value>,
    ) -> Result<bool, WfmError> {
        let text = |key: &str| body.get("properties")?.get(key)?.as_str();
        let summary = format!(
            "{} {} {}",
            text("vendor").unwrap_or("?"),
            text("modelNumber").unwrap_or("?"),
            text("serialNumber").unwrap_or("?")
        );
        let (is_first, is_news) = self.change(|state| {
            let client = state.entry(id.clone()).or_insert_with(Client::new);
            let old = client.devices.get(device);
            let is_news = old.is_none_or(|old| old.body != body);
            let count = old.map_or(0, |old| old.count) + 1;
            let report = CapabilityReport { time_ms: now_ms(), count, body };
            Ok((client.devices.insert(device.to_owned(), report).is_none(), is_news))
        })?;
        if is_news {
            let device = device.to_owned();
            self.journal.say(Event::Capabilities { client: id.clone(), device, summary });
        }
        Ok(is_first)
    }

    /// Forgets a device; false when there was none.
    pub(crate) fn delete_device(&self, id: &ClientId, device: &str) -> Result<bool, WfmError> {
        let was_there = self.change(|state| {
            let client = state.get_mut(id);
            Ok(client.is_some_and(|client| client.devices.remove(device).is_some()))
        })?;
        if was_there {
            let device = device.to_owned();
            self.journal.say(Event::DeviceGone { client: id.clone(), device });
        }
        Ok(was_there)
    }

    /// What is known of a deployment that a report is about.
    pub(super) fn known(&self, id: &ClientId, deployment: &DeploymentId) -> Known {
        let state = self.lock();
        let found = state.get(id).and_then(|client| client.deployments.get(deployment));
        // A removed deployment may be reported as the device last knew it.
        let found = found.filter(|deployment| deployment.digest.is_some());
        found.map_or_else(Known::default, |deployment| Known {
            target_version: deployment.target_version,
            name: deployment.name.clone(),
            components: deployment.components.clone(),
        })
    }

    /// Keeps a status report; says whether it is the deployment's first.
    pub(super) fn add_report(
        &self,
        id: &ClientId,
        deployment: &DeploymentId,
        body: StatusBody,
        raw: String,
    ) -> Result<bool, WfmError> {
        let (report, is_first) = {
            let mut state = self.lock();
            let client = state.entry(id.clone()).or_insert_with(Client::new);
            let is_first = !client.reports.iter().any(|report| report.deployment == *deployment);
            let report = StatusReport {
                index: client.reports_count + 1,
                time_ms: now_ms(),
                client: id.clone(),
                deployment: deployment.clone(),
                device: body.device,
                adopted_version: body.adopted_version,
                state: body.state,
                error: body.error,
                components: body.components,
                warnings: client.warnings(deployment, body.adopted_version),
                raw,
            };
            client.remember(report.clone());
            (report, is_first)
        };
        let line = serde_json::to_string(&report).map_err(|source| store::StoreError::Decode {
            path: self.dir.join("reports.jsonl"),
            source,
        })?;
        store::append_line(&self.dir.join("reports.jsonl"), &line)?;
        self.journal.say(Event::Status(Box::new(report)));
        Ok(is_first)
    }

    /// All remembered reports of a client in the order of arrival.
    pub(crate) fn reports(&self, id: &ClientId) -> Vec<StatusReport> {
        self.lock().get(id).map(|c| c.reports.iter().cloned().collect()).unwrap_or_default()
    }

    /// Everything about every client.
    pub(crate) fn views(&self) -> Vec<ClientView> {
        self.lock().iter().map(|(id, client)| client.view(id)).collect()
    }

    fn announce(
        &self,
        id: &ClientId,
        deployment: &DeploymentId,
        change: &'static str,
        version: u64,
    ) {
        let deployments = self.lock().get(id).map_or(0, |c| c.current.deployments.len());
        self.journal.say(Event::Deployment { id: deployment.clone(), change });
        self.journal.say(Event::Published { client: id.clone(), version, deployments });
    }

    /// Makes the next version of what the client's deployments are now.
    fn publish(&self, client: &mut Client, version: u64) -> Result<(), WfmError> {
        let mut listed = Vec::new();
        for (id, deployment) in &client.deployments {
            if let Some(digest) = &deployment.digest {
                let size_bytes = self.object(digest).map_or(0, |bytes| bytes.len());
                let size_bytes = u64::try_from(size_bytes).unwrap_or(u64::MAX);
                let yaml = Object { digest: digest.clone(), size_bytes };
                listed.push(Listed { id: id.clone(), yaml });
            }
        }
        let bundle = if listed.is_empty() {
            None
        } else {
            let packed = self.pack(&listed, None)?;
            let object = Object::of(&packed);
            self.keep(&object.digest, &packed)?;
            client.allow_bundle(&object.digest);
            Some(object)
        };
        let next = Published { version, bundle, deployments: listed, are_sizes_wrong: false };
        client.previous = Some(std::mem::replace(&mut client.current, next));
        Ok(())
    }

    fn pack(&self, listed: &[Listed], extra: Option<(&str, &[u8])>) -> Result<Vec<u8>, WfmError> {
        let documents: Vec<(DeploymentId, Bytes)> = listed
            .iter()
            .filter_map(|item| Some((item.id.clone(), self.object(&item.yaml.digest)?)))
            .collect();
        let documents = documents.iter().map(|(id, bytes)| (id, bytes.as_ref()));
        Ok(manifest::pack(documents, extra)?)
    }

    fn object_path(&self, digest: &str) -> PathBuf {
        self.dir.join("objects").join(digest.replace(':', "-"))
    }

    fn keep(&self, digest: &str, bytes: &[u8]) -> Result<(), WfmError> {
        let path = self.object_path(digest);
        if !path.exists() {
            store::write_bytes(&path, bytes, 0o644)?;
        }
        Ok(())
    }

    /// Reads an object back, if it is still what its name says.
    fn object(&self, digest: &str) -> Option<Bytes> {
        let bytes = store::read_bytes(&self.object_path(digest)).ok().flatten()?;
        (sha256_digest(&bytes) == digest).then(|| Bytes::from(bytes))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<ClientId, Client>) -> Result<T, WfmError>,
    ) -> Result<T, WfmError> {
        let mut state = self.lock();
        let result = change(&mut state)?;
        store::write_json(&self.dir.join("clients.json"), &*state, 0o644)?;
        drop(state);
        self.journal.ring();
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClientId, Client>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
