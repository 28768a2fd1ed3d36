//! A disk that loses power: after a cut each 512-byte sector that was not synced is old, new, or garbage, and a name or
//! a size that was not synced may be the old one. Every such disk can be listed.

use margo_boot_env::disk::{Copy, Disk};
use std::io;
use std::path::PathBuf;

const SECTOR: usize = 512;
/// What lies in a sector that nobody has written, or that a cut tore.
const GARBAGE: u8 = 0xa5;

/// One file on the medium. Sectors beyond the size exist and cannot be read, as in a file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    named: bool,
    size: usize,
    sectors: Vec<[u8; SECTOR]>,
}

impl File {
    pub(crate) fn new(content: Option<&[u8]>) -> Self {
        let bytes = content.unwrap_or_default();
        let mut sectors = vec![[GARBAGE; SECTOR]; 8];
        for (sector, chunk) in sectors.iter_mut().zip(bytes.chunks(SECTOR)) {
            sector[..chunk.len()].copy_from_slice(chunk);
        }
        Self { named: content.is_some(), size: bytes.len(), sectors }
    }

    fn content(&self) -> Option<Vec<u8>> {
        self.named.then(|| self.sectors.concat()[..self.size].to_vec())
    }
}

/// One thing that can reach the medium or not.
#[derive(Debug, Clone)]
enum Change {
    Name(usize),
    Size(usize, usize),
    Sector(usize, usize, Box<[u8; SECTOR]>),
}

/// What was done, in order.
#[derive(Debug, Clone)]
enum Step {
    Change(Change),
    Sync(usize),
    SyncDir,
}

/// Both files, and all that was done to them.
#[derive(Debug, Clone)]
pub(crate) struct ModelDisk {
    start: [File; 2],
    now: [File; 2],
    steps: Vec<Step>,
    /// A file that cannot be written: for disks that are broken rather than cut.
    pub(crate) fails_on: Option<Copy>,
}

const fn index(copy: Copy) -> usize {
    match copy {
        Copy::First => 0,
        Copy::Second => 1,
    }
}

impl ModelDisk {
    pub(crate) fn new(files: [File; 2]) -> Self {
        Self { now: files.clone(), start: files, steps: Vec::new(), fails_on: None }
    }

    /// Changes that were asked for.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Every pair of files that a cut at any moment can leave.
    pub(crate) fn after_a_cut(&self) -> Vec<[File; 2]> {
        let mut durable = self.start.clone();
        let mut pending: Vec<Change> = Vec::new();
        let mut found = subsets(&durable, &pending);
        for step in &self.steps {
            match step {
                Step::Change(change) => pending.push(change.clone()),
                Step::Sync(file) => pending.retain(|change| match change {
                    Change::Size(of, _) | Change::Sector(of, ..) if of == file => {
                        apply(&mut durable, change);
                        false
                    }
                    _ => true,
                }),
                Step::SyncDir => pending.retain(|change| {
                    let name = matches!(change, Change::Name(_));
                    if name {
                        apply(&mut durable, change);
                    }
                    !name
                }),
            }
            found.extend(subsets(&durable, &pending));
        }
        found.sort();
        found.dedup();
        found
    }

    fn change(&mut self, copy: Copy, change: Change) -> io::Result<()> {
        if self.fails_on == Some(copy) {
            return Err(io::Error::other("this file cannot be written"));
        }
        apply(&mut self.now, &change);
        self.steps.push(Step::Change(change));
        Ok(())
    }
}

fn apply(files: &mut [File; 2], change: &Change) {
    match change {
        Change::Name(file) => files[*file].named = true,
        Change::Size(file, size) => files[*file].size = *size,
        Change::Sector(file, at, bytes) => files[*file].sectors[*at] = **bytes,
    }
}

/// The durable files with every choice among what is pending: not there, there, or (a sector) torn.
fn subsets(durable: &[File; 2], pending: &[Change]) -> Vec<[File; 2]> {
    let mut all = vec![durable.clone()];
    for change in pending {
        for mut files in all.clone() {
            apply(&mut files, change);
            all.push(files.clone());
            if let Change::Sector(file, at, _) = change {
                files[*file].sectors[*at] = [GARBAGE; SECTOR];
                all.push(files);
            }
        }
    }
    all
}

impl Disk for ModelDisk {
    fn read(&self, copy: Copy) -> io::Result<Option<Vec<u8>>> {
        Ok(self.now[index(copy)].content())
    }

    fn create(&mut self, copy: Copy) -> io::Result<()> {
        if self.now[index(copy)].named {
            return Ok(());
        }
        self.change(copy, Change::Name(index(copy)))
    }

    fn write(&mut self, copy: Copy, bytes: &[u8]) -> io::Result<()> {
        let file = index(copy);
        for (at, chunk) in bytes.chunks(SECTOR).enumerate() {
            let mut sector = self.now[file].sectors[at];
            sector[..chunk.len()].copy_from_slice(chunk);
            self.change(copy, Change::Sector(file, at, Box::new(sector)))?;
        }
        if self.now[file].size < bytes.len() {
            self.change(copy, Change::Size(file, bytes.len()))?;
        }
        Ok(())
    }

    fn cut(&mut self, copy: Copy, size_bytes: usize) -> io::Result<()> {
        self.change(copy, Change::Size(index(copy), size_bytes))
    }

    fn sync(&mut self, copy: Copy) -> io::Result<()> {
        self.steps.push(Step::Sync(index(copy)));
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.steps.push(Step::SyncDir);
        Ok(())
    }

    fn path(&self, copy: Copy) -> PathBuf {
        copy.file_name().into()
    }
}
