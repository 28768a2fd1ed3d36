//! Notices that identity files appeared or changed, so that provisioning and renewal need no restart (R033).

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Files come in groups (key, chain, bundle): look once they have settled.
const SETTLE: Duration = Duration::from_millis(250);
/// Before watching is tried again after an error, for example when watches ran out.
const RETRY: Duration = Duration::from_secs(30);
const EVENT_BUFFER_BYTES: usize = 4096;

/// Calls `changed` after every change in `directory`, for ever. The directory need not exist yet.
pub async fn watch<F>(directory: PathBuf, mut changed: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    let mut missed = false;
    loop {
        // Armed before `changed` is called: what changes while it looks is seen the next time round.
        let armed = arm(&directory);
        if missed {
            changed().await;
        }
        let seen = match armed {
            Ok(armed) => armed.readable().await.map(|mut ready| {
                drain(armed.get_ref());
                ready.clear_ready();
            }),
            Err(error) => Err(error),
        };
        missed = true;
        match seen {
            Ok(()) => tokio::time::sleep(SETTLE).await,
            Err(error) => {
                tracing::warn!(
                    directory = %directory.display(),
                    %error,
                    "cannot watch the identity directory, looking again later"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// A new watch each time: the directory may have been replaced or mounted over.
#[expect(
    deprecated,
    reason = "unsound only for types that do not keep their descriptor; OwnedFd does, and unsafe is forbidden"
)]
fn arm(directory: &Path) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let changes = WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&fd, nearest_existing(directory), changes)?;
    AsyncFd::new(fd)
}

fn drain(fd: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); EVENT_BUFFER_BYTES];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    // What changed does not matter: the files are read again as a whole.
    while let Ok(event) = reader.next() {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            break;
        }
    }
}

fn nearest_existing(directory: &Path) -> &Path {
    directory.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sees_a_file_in_a_directory_that_did_not_exist() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("identity");
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let watched = directory.clone();
        let task = tokio::spawn(async move {
            watch(watched, || {
                let tell = tell.clone();
                async move { tell.send(()).await.unwrap() }
            })
            .await;
        });
        // Until the watch stands a change may be missed, so change until one is seen.
        let mut number = 0;
        let seen = loop {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(format!("svid-{number}.pem")), b"x").unwrap();
            number += 1;
            let wait = tokio::time::timeout(Duration::from_millis(500), told.recv());
            match wait.await {
                Ok(seen) => break seen,
                Err(_) if number < 100 => {}
                Err(_) => break None,
            }
        };
        assert_eq!(seen, Some(()));
        task.abort();
    }
}
