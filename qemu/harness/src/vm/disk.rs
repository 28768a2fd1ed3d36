//! A device's disk: a copy-on-write layer over the image, read and written at any place while the device is off.

use super::gpt::{self, HEAD_SECTORS, Range, SECTOR_BYTES};
use crate::error::{Doing as _, Outcome};
use crate::project::Project;
use std::path::{Path, PathBuf};

/// A disk in qcow2 format.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Disk {
    /// A fresh layer over `base`, at least `size_mib` large when given.
    pub(crate) fn over(
        project: &Project,
        base: &Path,
        path: PathBuf,
        size_mib: Option<u64>,
    ) -> Outcome<Self> {
        let format = if is_qcow2(base) { "qcow2" } else { "raw" };
        let (base, target) = (text(base), text(&path));
        let mut args = vec!["create", "-q", "-f", "qcow2", "-b", &base, "-F", format, &target];
        let size = size_mib.map(|mib| format!("{mib}M"));
        args.extend(size.as_deref());
        project.run_tool("qemu-img", &args)?;
        Ok(Self { path })
    }

    /// Where a partition is.
    pub(crate) fn partition(&self, project: &Project, name: &str) -> Outcome<Range> {
        let head = self.read(project, Range { offset: 0, length: HEAD_SECTORS * SECTOR_BYTES })?;
        gpt::find(&head, name)
    }

    /// Reads; offset and length in whole sectors.
    pub(crate) fn read(&self, project: &Project, range: Range) -> Outcome<Vec<u8>> {
        let out = self.path.with_extension("part");
        let sectors = range.length / SECTOR_BYTES;
        // `count` is where the input ends, so it includes what is skipped.
        let skip = range.offset / SECTOR_BYTES;
        let (from, to) = (format!("if={}", text(&self.path)), format!("of={}", text(&out)));
        let (skip, count) = (format!("skip={skip}"), format!("count={}", skip + sectors));
        let args = ["dd", "-f", "qcow2", "-O", "raw", "bs=512", &skip, &count, &from, &to];
        // A file that is longer from before would keep its tail.
        let _ = std::fs::remove_file(&out);
        project.run_tool("qemu-img", &args)?;
        let bytes = std::fs::read(&out).doing("read a part of the disk")?;
        std::fs::remove_file(&out).doing("remove a part of the disk")?;
        Ok(bytes)
    }

    /// Writes.
    pub(crate) fn write(&self, project: &Project, offset: u64, bytes: &[u8]) -> Outcome {
        let part = self.path.with_extension("part");
        std::fs::write(&part, bytes).doing("write a part of the disk")?;
        let command = format!("write -q -s {} {offset} {}", text(&part), bytes.len());
        project.run_tool("qemu-io", &["-f", "qcow2", "-c", &command, &text(&self.path)])?;
        std::fs::remove_file(&part).doing("remove a part of the disk")
    }
}

fn is_qcow2(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"QFI\xfb"
}
