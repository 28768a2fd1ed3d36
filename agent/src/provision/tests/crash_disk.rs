//! A disk whose power goes before a chosen operation, or in it, and that then loses what was not synced.

use crate::provision::disk::{Disk, RealDisk};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a careless writer would leave out. The tests must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    NoFileSync,
    NoDirectorySync,
    SwapInTwoSteps,
}

/// When the power goes, and what is lost then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// So many operations are carried out.
    pub(super) after: usize,
    /// The next one is carried out by half.
    pub(super) is_torn: bool,
    /// What was not synced is lost.
    pub(super) loses: bool,
}

/// A change of names that is not durable yet, and how it is undone.
enum Change {
    Made(PathBuf),
    Moved { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
    Swapped(PathBuf, PathBuf),
    Removed { path: PathBuf, grave: PathBuf },
}

#[derive(Default)]
struct Pending {
    operations: usize,
    /// Inodes whose content is not durable.
    torn: BTreeSet<u64>,
    changes: Vec<(Vec<PathBuf>, Change)>,
    graves: usize,
}

pub(super) struct CrashDisk {
    root: PathBuf,
    cut: Option<Cut>,
    mistake: Mistake,
    pending: RefCell<Pending>,
}

impl CrashDisk {
    pub(super) fn new(root: &Path, cut: Option<Cut>, mistake: Mistake) -> Self {
        fs::create_dir_all(root.join("graves")).unwrap();
        Self { root: root.to_owned(), cut, mistake, pending: RefCell::default() }
    }

    /// Counts an operation; the fatal one does its worst and fails.
    fn begin(&self, worst: impl FnOnce()) -> io::Result<()> {
        let mut pending = self.pending.borrow_mut();
        if let Some(cut) = self.cut
            && pending.operations == cut.after
        {
            drop(pending);
            if cut.is_torn {
                worst();
            }
            return Err(io::Error::other("power cut"));
        }
        pending.operations += 1;
        Ok(())
    }

    fn grave(&self, path: &Path) -> PathBuf {
        let mut pending = self.pending.borrow_mut();
        pending.graves += 1;
        let grave = self.root.join(format!("graves/{:p}-{}", self, pending.graves));
        drop(pending);
        fs::rename(path, &grave).unwrap();
        grave
    }

    fn note(&self, directories: &[&Path], change: Change) {
        let parents = directories.iter().map(|path| path.parent().unwrap().to_owned()).collect();
        self.pending.borrow_mut().changes.push((parents, change));
    }

    /// The power has gone.
    pub(super) fn crash(&self, loses: bool) {
        if !loses {
            return;
        }
        let mut pending = self.pending.borrow_mut();
        while let Some((_, change)) = pending.changes.pop() {
            undo(change);
        }
        let torn = std::mem::take(&mut pending.torn);
        for file in super::content(&self.root.join("etc")).into_keys() {
            if torn.contains(&fs::metadata(&file).unwrap().ino()) {
                fs::write(&file, b"").unwrap();
            }
        }
    }
}

fn undo(change: Change) {
    match change {
        Change::Made(path) => RealDisk.remove(&path).unwrap(),
        Change::Moved { from, to, replaced } => {
            fs::rename(&to, &from).unwrap();
            if let Some(grave) = replaced {
                fs::rename(grave, to).unwrap();
            }
        }
        Change::Swapped(one, other) => RealDisk.exchange(&one, &other).unwrap(),
        Change::Removed { path, grave } => fs::rename(grave, path).unwrap(),
    }
}

impl Disk for CrashDisk {
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.begin(|| {})?;
        let is_new = !path.exists();
        RealDisk.make_directory(path, mode)?;
        if is_new {
            self.note(&[path], Change::Made(path.to_owned()));
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.begin(|| RealDisk.write(path, &bytes[..bytes.len() / 2], mode).unwrap())?;
        RealDisk.write(path, bytes, mode)?;
        self.pending.borrow_mut().torn.insert(fs::metadata(path)?.ino());
        self.note(&[path], Change::Made(path.to_owned()));
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.begin(|| {})?;
        if self.mistake != Mistake::NoFileSync {
            self.pending.borrow_mut().torn.remove(&fs::metadata(path)?.ino());
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.begin(|| {})?;
        if self.mistake != Mistake::NoDirectorySync {
            self.pending
                .borrow_mut()
                .changes
                .retain(|(parents, _)| parents.iter().all(|p| p != path));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(|| {})?;
        let replaced = to.is_file().then(|| self.grave(to));
        RealDisk.rename(from, to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.note(&[&from.clone(), &to.clone()], Change::Moved { from, to, replaced });
        Ok(())
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        if self.mistake == Mistake::SwapInTwoSteps {
            self.remove(other)?;
            return self.rename(one, other);
        }
        self.begin(|| {})?;
        RealDisk.exchange(one, other)?;
        self.note(&[one, other], Change::Swapped(one.to_owned(), other.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let some = super::content(path).into_keys().next();
        self.begin(|| drop(some.map(fs::remove_file)))?;
        if path.symlink_metadata().is_ok() {
            let grave = self.grave(path);
            self.note(&[path], Change::Removed { path: path.to_owned(), grave });
        }
        Ok(())
    }
}
