//! A disk that forgets. It keeps what programs see and what is durable apart, and lists every state that
//! may be found after power loss.
//!
//! Durable for certain: file content that was synced, names as of the last directory sync. In doubt: each
//! later change of names on its own (the file system may have written any of them, in any order), and each
//! sector of unsynced content (a prefix may be there, the rest cut or zero).

use crate::store::{Disk, DiskFile};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

const SECTOR: usize = 512;

/// What is on the medium: names and their content.
pub(super) type Image = BTreeMap<String, Vec<u8>>;

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// Counting from 0 over all changing operations.
    pub(super) at: usize,
    pub(super) errno: Errno,
    /// From then on everything fails, not just once.
    pub(super) for_good: bool,
}

#[derive(Default)]
struct Inner {
    inodes: Vec<Inode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes of names since the last directory sync: name, and the inode it then meant.
    pending: Vec<(String, Option<usize>)>,
    operations: usize,
    fault: Option<Fault>,
    /// Images possible after each operation, when recorded.
    snapshots: Option<Vec<BTreeSet<Image>>>,
    /// Seeded mistakes.
    mistake: Mistake,
}

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    /// `None` = never synced: any sector prefix of `live` may be there.
    durable: Option<Vec<u8>>,
}

/// Ways of writing files that are wrong on purpose, to see the checks fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mistake {
    #[default]
    None,
    /// Syncing a file does nothing.
    NoFileSync,
    /// Syncing the directory does nothing.
    NoDirSync,
    /// The temporary file is the real one, truncated and rewritten in place.
    InPlace,
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct CrashDisk(Rc<RefCell<Inner>>);

/// An open file.
pub(super) struct CrashFile {
    disk: CrashDisk,
    inode: usize,
}

impl CrashDisk {
    /// A disk found after a crash.
    pub(super) fn from_image(image: &Image) -> Self {
        let disk = Self::default();
        {
            let mut inner = disk.0.borrow_mut();
            for (index, (name, content)) in image.iter().enumerate() {
                inner.inodes.push(Inode { live: content.clone(), durable: Some(content.clone()) });
                inner.live.insert(name.clone(), index);
                inner.durable.insert(name.clone(), index);
            }
        }
        disk
    }

    pub(super) fn with_mistake(self, mistake: Mistake) -> Self {
        self.0.borrow_mut().mistake = mistake;
        self
    }

    pub(super) fn recording(self) -> Self {
        self.0.borrow_mut().snapshots = Some(Vec::new());
        self
    }

    pub(super) fn with_fault(self, fault: Fault) -> Self {
        self.0.borrow_mut().fault = Some(fault);
        self
    }

    /// Changing operations so far.
    pub(super) fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    /// What a program would see now.
    pub(super) fn live(&self) -> Image {
        let inner = self.0.borrow();
        inner.live.iter().map(|(n, i)| (n.clone(), inner.inodes[*i].live.clone())).collect()
    }

    /// Everything that may be found if the power went now.
    pub(super) fn images(&self) -> BTreeSet<Image> {
        self.0.borrow().images()
    }

    /// Images possible after each operation since recording began or was last taken.
    pub(super) fn take_snapshots(&self) -> Vec<BTreeSet<Image>> {
        self.0.borrow_mut().snapshots.replace(Vec::new()).expect("recording is on")
    }

    /// Counts an operation and lets it fail if it is its turn.
    fn begin(&self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let number = inner.operations;
        inner.operations += 1;
        match inner.fault {
            Some(fault) if number == fault.at || (fault.for_good && number > fault.at) => {
                Err(fault.errno.into())
            }
            _ => Ok(()),
        }
    }

    fn end(&self) {
        let mut inner = self.0.borrow_mut();
        if inner.snapshots.is_some() {
            let images = inner.images();
            inner.snapshots.as_mut().expect("just seen").push(images);
        }
    }
}

impl Inner {
    fn images(&self) -> BTreeSet<Image> {
        let mut names = BTreeSet::new();
        for chosen in 0..(1_usize << self.pending.len()) {
            let mut dir = self.durable.clone();
            for (bit, (name, inode)) in self.pending.iter().enumerate() {
                if chosen & (1 << bit) != 0 {
                    match inode {
                        Some(inode) => dir.insert(name.clone(), *inode),
                        None => dir.remove(name),
                    };
                }
            }
            names.insert(dir);
        }
        names.iter().flat_map(|dir| self.contents(dir)).collect()
    }

    /// All combinations of contents the files of one directory may have.
    fn contents(&self, dir: &BTreeMap<String, usize>) -> Vec<Image> {
        let mut images = vec![Image::new()];
        for (name, inode) in dir {
            let variants = self.inodes[*inode].variants();
            images = images
                .iter()
                .flat_map(|image| {
                    variants.iter().map(|content| {
                        let mut image = image.clone();
                        image.insert(name.clone(), content.clone());
                        image
                    })
                })
                .collect();
        }
        images
    }
}

impl Inode {
    fn variants(&self) -> BTreeSet<Vec<u8>> {
        let Some(durable) = &self.durable else {
            return torn(&self.live);
        };
        let mut variants = if durable == &self.live { BTreeSet::new() } else { torn(&self.live) };
        variants.insert(durable.clone());
        variants
    }
}

/// Every prefix of whole sectors, the rest cut off or zero, and the whole.
fn torn(content: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut variants = BTreeSet::from([content.to_vec()]);
    for end in (0..content.len()).step_by(SECTOR) {
        let prefix = content[..end].to_vec();
        let mut zeroed = prefix.clone();
        zeroed.resize(content.len(), 0);
        variants.insert(prefix);
        variants.insert(zeroed);
    }
    variants
}

impl Disk for CrashDisk {
    type File = CrashFile;

    fn read(&self, name: &str, _size_bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let inner = self.0.borrow();
        Ok(inner.live.get(name).map(|inode| inner.inodes[*inode].live.clone()))
    }

    fn create(&mut self, name: &str) -> io::Result<CrashFile> {
        self.begin()?;
        let inode = {
            let mut inner = self.0.borrow_mut();
            let name = match inner.mistake {
                Mistake::InPlace => name.trim_end_matches(".tmp"),
                Mistake::None | Mistake::NoFileSync | Mistake::NoDirSync => name,
            };
            if let Some(inode) = inner.live.get(name).copied() {
                inner.inodes[inode].live.clear();
                inode
            } else {
                let inode = inner.inodes.len();
                inner.inodes.push(Inode::default());
                inner.live.insert(name.to_owned(), inode);
                inner.pending.push((name.to_owned(), Some(inode)));
                inode
            }
        };
        self.end();
        Ok(CrashFile { disk: self.clone(), inode })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.begin()?;
        {
            let mut inner = self.0.borrow_mut();
            let is_temporary = from.ends_with(".tmp");
            if !(inner.mistake == Mistake::InPlace && is_temporary) {
                let inode = inner.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
                inner.live.insert(to.to_owned(), inode);
                inner.pending.push((from.to_owned(), None));
                inner.pending.push((to.to_owned(), Some(inode)));
            }
        }
        self.end();
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.begin()?;
        {
            let mut inner = self.0.borrow_mut();
            inner.live.remove(name).ok_or(io::ErrorKind::NotFound)?;
            inner.pending.push((name.to_owned(), None));
        }
        self.end();
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.begin()?;
        {
            let mut inner = self.0.borrow_mut();
            if inner.mistake == Mistake::NoDirSync {
                // Old doubts would pile up without end; the oldest are settled as they would be in time.
                let settled = inner.pending.len().saturating_sub(6);
                for (name, inode) in inner.pending.drain(..settled).collect::<Vec<_>>() {
                    match inode {
                        Some(inode) => inner.durable.insert(name, inode),
                        None => inner.durable.remove(&name),
                    };
                }
            } else {
                inner.durable = inner.live.clone();
                inner.pending.clear();
            }
        }
        self.end();
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().live.keys().cloned().collect())
    }
}

impl DiskFile for CrashFile {
    /// Fails with half of the bytes written, as a full disk does.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begun = self.disk.begin();
        let written = if begun.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.disk.0.borrow_mut().inodes[self.inode].live.extend_from_slice(written);
        self.disk.end();
        begun
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.begin()?;
        {
            let mut inner = self.disk.0.borrow_mut();
            if inner.mistake != Mistake::NoFileSync {
                let inode = &mut inner.inodes[self.inode];
                inode.durable = Some(inode.live.clone());
            }
        }
        self.disk.end();
        Ok(())
    }
}
