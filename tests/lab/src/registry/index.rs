//! Which repositories, tags and manifests exist, and who may use them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::auth::RegistryAuth;
use super::blobs::Blobs;
use crate::ids::{is_sha256_digest, random_uuid};
use crate::store::{self, StoreError};

/// Tokens that are valid at the same time; a client that asks for more gets the oldest ones revoked.
const TOKENS_MAX: usize = 10_000;

/// The registry's content.
#[derive(Debug)]
pub(crate) struct Index {
    blobs: Blobs,
    path: PathBuf,
    state: Mutex<BTreeMap<String, Repository>>,
    access: Mutex<(RegistryAuth, HashSet<String>)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Repository {
    tags: BTreeMap<String, String>,
    /// Media type by digest.
    manifests: BTreeMap<String, String>,
}

/// A manifest as stored.
#[derive(Debug)]
pub(super) struct StoredManifest {
    pub(super) digest: String,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl Index {
    pub(crate) fn open(dir: &Path, auth: RegistryAuth) -> Result<Self, StoreError> {
        let blobs = Blobs::open(dir)?;
        let path = dir.join("index.json");
        let state = store::read_json(&path)?.unwrap_or_default();
        let access = Mutex::new((auth, HashSet::new()));
        Ok(Self { blobs, path, state: Mutex::new(state), access })
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    pub(super) fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<String, StoreError> {
        let digest = self.blobs.put_bytes(bytes)?;
        let mut state = self.lock();
        let entry = state.entry(repository.to_owned()).or_default();
        entry.manifests.insert(digest.clone(), media_type.to_owned());
        if let Some(tag) = tag {
            entry.tags.insert(tag.to_owned(), digest.clone());
        }
        store::write_json(&self.path, &*state, 0o644)?;
        Ok(digest)
    }

    /// Looks a manifest up by tag or digest.
    pub(super) fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<StoredManifest>, StoreError> {
        let found = {
            let state = self.lock();
            state.get(repository).and_then(|entry| {
                let digest = if is_sha256_digest(reference) {
                    reference.to_owned()
                } else {
                    entry.tags.get(reference)?.clone()
                };
                let media_type = entry.manifests.get(&digest)?.clone();
                Some((digest, media_type))
            })
        };
        let Some((digest, media_type)) = found else { return Ok(None) };
        let Some(path) = self.blobs.path(&digest) else { return Ok(None) };
        let bytes = store::read_bytes(&path)?.unwrap_or_default();
        Ok(Some(StoredManifest { digest, media_type, bytes }))
    }

    pub(super) fn retag(
        &self,
        repository: &str,
        tag: &str,
        digest: &str,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let entry = state.get_mut(repository).filter(|e| e.manifests.contains_key(digest));
        let Some(entry) = entry else { return Ok(false) };
        entry.tags.insert(tag.to_owned(), digest.to_owned());
        store::write_json(&self.path, &*state, 0o644)?;
        Ok(true)
    }

    pub(super) fn remove(&self, repository: &str) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let was_there = state.remove(repository).is_some();
        store::write_json(&self.path, &*state, 0o644)?;
        Ok(was_there)
    }

    /// (repository, tag, digest) of every tag.
    pub(super) fn tags(&self) -> Vec<(String, String, String)> {
        let state = self.lock();
        let all = state.iter().flat_map(|(name, entry)| {
            entry.tags.iter().map(|(tag, digest)| (name.clone(), tag.clone(), digest.clone()))
        });
        all.collect()
    }

    pub(super) fn tags_of(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.lock().get(repository)?.tags.keys().cloned().collect())
    }

    pub(super) fn repositories(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    pub(super) fn auth(&self) -> RegistryAuth {
        self.access().0.clone()
    }

    pub(super) fn set_auth(&self, auth: RegistryAuth) {
        *self.access() = (auth, HashSet::new());
    }

    pub(super) fn new_token(&self) -> String {
        let token = random_uuid();
        let mut access = self.access();
        if access.1.len() >= TOKENS_MAX {
            access.1.clear();
        }
        access.1.insert(token.clone());
        token
    }

    pub(super) fn is_token(&self, token: &str) -> bool {
        self.access().1.contains(token)
    }

    fn access(&self) -> MutexGuard<'_, (RegistryAuth, HashSet<String>)> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
