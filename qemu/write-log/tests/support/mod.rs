//! A write log made by hand, and a disk to go with it.

use margo_write_log::run::{Figures, Job, Reader, run};
use margo_write_log::states::Plan;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The partition begins here; before it, nothing matters.
pub(crate) const OFFSET: u64 = 4096;

pub(crate) struct Recording {
    dir: TempDir,
    entries: u64,
    bytes: Vec<u8>,
    partition_bytes: u64,
}

impl Recording {
    /// A disk with this partition. `parent`: a directory the tools see.
    pub(crate) fn new(parent: &Path, partition: &[u8]) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let partition_bytes = u64::try_from(partition.len()).unwrap();
        let mut base = vec![0; usize::try_from(OFFSET).unwrap()];
        base.extend(partition);
        base.extend([0; 4096]);
        fs::write(dir.path().join("base"), base).unwrap();
        Self { dir, entries: 0, bytes: Vec::new(), partition_bytes }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn entry(&mut self, sector: u64, flags: u64, data: &[u8]) {
        let sectors = u64::try_from(data.len() / 512).unwrap();
        let mut header = Vec::new();
        for word in [sector, sectors, flags, 0] {
            header.extend(word.to_le_bytes());
        }
        header.resize(512, 0);
        self.bytes.extend(header);
        self.bytes.extend(data);
        self.entries += 1;
    }

    /// A write into the partition.
    pub(crate) fn write(&mut self, sector: u64, data: &[u8]) {
        self.entry(OFFSET / 512 + sector, 0, data);
    }

    pub(crate) fn judge(&self, tools: PathBuf, reader: Reader) -> Figures {
        let mut log = Vec::new();
        for word in [0x006a_7366_7773_6872, 1, self.entries, 512] {
            log.extend(word.to_le_bytes());
        }
        log.resize(512, 0);
        log.extend(&self.bytes);
        fs::write(self.path("log"), log).unwrap();
        let job = Job {
            log: self.path("log"),
            base: self.path("base"),
            offset: OFFSET,
            size_bytes: Some(self.partition_bytes),
            tools,
            reader,
            plan: Plan::default(),
            distinct_max: 1000,
        };
        run(&job, self.dir.path()).unwrap()
    }
}
