//! One writer at a time: RAUC, the trial guard, the repair and a person at the console.
//!
//! The lock is on a file in `/run`, so a dead process or a reboot leaves nothing behind.

use crate::error::LockError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for another writer; each of them writes 2 KiB.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Closing it gives the lock back.
    _file: File,
}

impl Lock {
    /// Waits for the lock, at most `wait_max`.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn take(path: &Path, wait_max: Duration) -> Result<Self, LockError> {
        let open_error = |source| LockError::Open { path: path.to_path_buf(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(open_error)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < wait_max => {
                    // flock has no time limit of its own.
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let waited_secs = wait_max.as_secs();
                    return Err(LockError::Busy { path: path.to_path_buf(), waited_secs });
                }
                Err(errno) => return Err(open_error(errno.into())),
            }
        }
    }
}
