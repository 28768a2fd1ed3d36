//! Content by digest, one file each. A file appears under its name only when it is whole.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::ids::{is_sha256_digest, random_uuid, sha256_digest};
use crate::store::{self, StoreError};

/// The directory of blobs and unfinished uploads.
#[derive(Debug)]
pub(super) struct Blobs {
    blobs: PathBuf,
    uploads: PathBuf,
}

impl Blobs {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let (blobs, uploads) = (dir.join("blobs"), dir.join("uploads"));
        store::make_dir(&blobs)?;
        // Uploads do not survive a restart; their clients start again.
        match fs::remove_dir_all(&uploads) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Write { path: uploads, source });
            }
            _ => {}
        }
        store::make_dir(&uploads)?;
        Ok(Self { blobs, uploads })
    }

    /// Where a blob is; `None` when there is none of that digest.
    pub(super) fn path(&self, digest: &str) -> Option<PathBuf> {
        let path = self.name(digest)?;
        path.is_file().then_some(path)
    }

    /// Where an upload is collected.
    pub(super) fn upload_path(&self, id: &str) -> PathBuf {
        self.uploads.join(id)
    }

    /// Stores bytes; returns their digest.
    pub(super) fn put_bytes(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let digest = sha256_digest(bytes);
        if self.path(&digest).is_none() {
            let temporary = self.upload_path(&random_uuid());
            store::write_bytes(&temporary, bytes, 0o644)?;
            self.adopt(&temporary, &digest)?;
        }
        Ok(digest)
    }

    /// Makes a finished upload a blob, if it hashes to the digest; says whether it does.
    pub(super) fn finish(&self, upload: &Path, digest: &str) -> Result<bool, StoreError> {
        if hash_file(upload)? != digest {
            return Ok(false);
        }
        self.adopt(upload, digest)?;
        Ok(true)
    }

    fn adopt(&self, file: &Path, digest: &str) -> Result<(), StoreError> {
        let Some(path) = self.name(digest) else { return Ok(()) };
        fs::rename(file, &path).map_err(|source| StoreError::Write { path, source })
    }

    fn name(&self, digest: &str) -> Option<PathBuf> {
        let encoded = digest.strip_prefix("sha256:").filter(|_| is_sha256_digest(digest))?;
        Some(self.blobs.join(encoded))
    }
}

fn hash_file(path: &Path) -> Result<String, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(failed)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..read) {
            Some([]) | None => break,
            Some(piece) => context.update(piece),
        }
    }
    Ok(format!("sha256:{}", hex::encode(context.finish())))
}
