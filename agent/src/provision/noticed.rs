//! A running agent takes up new settings by itself: it watches the one file that provisioning writes.

use crate::config::Sources;
use crate::identity;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// What tells one version of the file from another: it is always replaced, never written in place.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The settings that provisioning wrote, as they were when last looked at.
#[derive(Debug)]
pub struct Provisioned {
    file: PathBuf,
    seen: Stamp,
}

impl Provisioned {
    /// Remembers the file as it is now.
    pub fn look(sources: &Sources) -> Self {
        let file = sources.provisioned_file();
        Self { seen: stamp(&file), file }
    }

    /// Resolves when the file is another one than when last looked at. Cancel-safe.
    pub async fn changed(&mut self) {
        let directory = self.file.parent().unwrap_or(&self.file).to_path_buf();
        let (tell, mut told) = mpsc::channel(1);
        let watch = identity::watch(directory, || {
            let tell = tell.clone();
            async move {
                // A full channel says the same already.
                let _ = tell.try_send(());
            }
        });
        let mut watch = std::pin::pin!(watch);
        let mut is_armed = false;
        loop {
            let now = stamp(&self.file);
            if now != self.seen {
                self.seen = now;
                return;
            }
            tokio::select! {
                biased;
                () = &mut watch => {}
                _ = told.recv() => {}
                // Once more: it may have changed between the look and the arming.
                () = std::future::ready(()), if !is_armed => is_armed = true,
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_replaced_file_is_noticed_and_another_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/margo-agent/config.d");
        let mut provisioned = Provisioned::look(&Sources::under(root.path()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("60-other.toml"), "").unwrap();
        let short = Duration::from_millis(600);
        assert!(tokio::time::timeout(short, provisioned.changed()).await.is_err());
        std::fs::write(directory.join(".new"), "x").unwrap();
        std::fs::rename(directory.join(".new"), directory.join("50-provisioned.toml")).unwrap();
        tokio::time::timeout(Duration::from_secs(30), provisioned.changed()).await.unwrap();
        assert!(tokio::time::timeout(short, provisioned.changed()).await.is_err());
    }
}
