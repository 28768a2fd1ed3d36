//! A record of everything a device asks of its disk (QEMU's `blklogwrites`), for `qemu/write-log`.
//!
//! It begins with the factory-new disk and goes on over power-offs. The machine is stopped before it is killed, so that
//! log and disk say the same.

use crate::error::{Doing as _, Outcome, Trouble};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Room for the log: QEMU does not make the file longer. It is sparse, so this costs nothing.
const ROOM_BYTES: u64 = 64 << 30;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteLog {
    path: PathBuf,
}

impl WriteLog {
    /// A log at `path`, whose directory must be there. What lies there is replaced when a device is made.
    pub(crate) fn at(path: &Path) -> Outcome<Self> {
        let text = path.display();
        let next = "next step: name a file in a directory of the project, such as target/qemu/log";
        let dir = match path.parent() {
            Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
            Some(dir) => dir,
            None => return Err(Trouble::new(format!("--write-log {text} is no file; {next}"))),
        };
        let dir = dir.canonicalize().doing(format!("--write-log {text}; {next}"))?;
        let name = path.file_name();
        let name =
            name.ok_or_else(|| Trouble::new(format!("--write-log {text} is no file; {next}")))?;
        Ok(Self { path: dir.join(name) })
    }

    /// An empty log.
    pub(crate) fn begin(&self) -> Outcome {
        let doing = || format!("cannot make the write log {}", self.path.display());
        let file = File::create(&self.path).doing(doing())?;
        file.set_len(ROOM_BYTES).doing(doing())
    }

    /// The options of the block driver that writes it; `disk` is the node whose writes are recorded.
    pub(crate) fn driver(&self, node: &str, disk: &str) -> Outcome<String> {
        // A log that says nothing yet cannot be appended to.
        let how = if self.has_begun()? { "log-append=on" } else { "log-sector-size=512" };
        let log = self.path.display();
        Ok(format!(
            "driver=blklogwrites,node-name={node},file={disk},log.driver=file,log.filename={log},{how}"
        ))
    }

    fn has_begun(&self) -> Outcome<bool> {
        let mut magic = [0; 8];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut magic));
        read.doing(format!("cannot read the write log {}", self.path.display()))?;
        Ok(magic != [0; 8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_begun_once_and_then_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let log = WriteLog::at(&dir.path().join("log")).unwrap();
        log.begin().unwrap();
        assert!(log.driver("a", "b").unwrap().ends_with("log-sector-size=512"));
        std::fs::write(dir.path().join("log"), b"anything").unwrap();
        assert!(log.driver("a", "b").unwrap().ends_with("log-append=on"));
        log.begin().unwrap();
        assert!(log.driver("a", "b").unwrap().ends_with("log-sector-size=512"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = WriteLog::at(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("next step"), "{error}");
    }
}
