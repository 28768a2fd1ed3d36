//! A package on a block device: a USB stick or another config drive.
//!
//! The file system is mounted read-only and detached: no other process ever sees it, there is no mount point, and it is gone when
//! the reading is over. A journal is not replayed, so nothing is written to the stick.

use super::package::Package;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// File systems a stick may have, with the options that keep it untouched.
const FILE_SYSTEMS: [(&str, &[&str]); 3] =
    [("vfat", &["ro"]), ("ext4", &["ro", "noload"]), ("iso9660", &["ro"])];

/// Whether a path names a block device.
pub(super) fn is_block_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}

/// Reads the package off a device. Needs the right to mount.
pub(super) fn read(device: &Path) -> Package {
    let source = format!("drive {}", device.display());
    match mount(device) {
        Ok(mounted) => {
            let inside = PathBuf::from(format!("/proc/self/fd/{}/.", mounted.as_raw_fd()));
            Package::read_directory(&inside, &source)
        }
        Err(why) => Package::unreadable(&source, &why),
    }
}

fn mount(device: &Path) -> Result<OwnedFd, String> {
    let mut reasons = Vec::new();
    for (name, options) in FILE_SYSTEMS {
        match mount_as(device, name, options) {
            Ok(mounted) => return Ok(mounted),
            Err(error) => reasons.push(format!("{name}: {error}")),
        }
    }
    Err(format!("no file system could be mounted ({})", reasons.join("; ")))
}

fn mount_as(device: &Path, name: &str, options: &[&str]) -> io::Result<OwnedFd> {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    for option in options {
        fsconfig_set_flag(&context, *option)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
