//! Small file systems that tests may fill, and an engine on one of them. Needs root.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted file system of its own; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts a file system in memory. `None`, said loudly, where that is not permitted.
    pub fn in_memory(size_kib: u32) -> Option<Self> {
        Self::mount(|dir| {
            let size = format!("size={size_kib}k");
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output()
        })
    }

    /// Mounts an ext4 file system in a file of this size. `None`, said loudly, where that is not permitted.
    pub fn in_file(size_mib: u32) -> Option<Self> {
        Self::mount(|dir| {
            let file = dir.with_extension("ext4");
            let made = std::fs::File::create(&file)?;
            made.set_len(u64::from(size_mib) << 20)?;
            let made = Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&file).output();
            let mounted = made.and_then(|made| {
                if !made.status.success() {
                    return Ok(made);
                }
                Command::new("mount").args(["-o", "loop"]).arg(&file).arg(dir).output()
            });
            // The mount keeps it.
            std::fs::remove_file(&file)?;
            mounted
        })
    }

    fn mount(mount: impl FnOnce(&Path) -> std::io::Result<std::process::Output>) -> Option<Self> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let problem = match mount(dir.path()) {
            Ok(output) if output.status.success() => return Some(Self { dir }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: cannot mount a small file system: {}", problem.trim());
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fills it to the last byte but `spare_kib`.
    ///
    /// # Panics
    /// When it cannot be written for another reason.
    pub fn fill(&self, spare_kib: usize) {
        let mut spare = std::fs::File::create(self.path().join("spare")).expect("spare");
        spare.write_all(&vec![1; spare_kib << 10]).expect("spare");
        // Space that is only promised is not used up.
        spare.sync_all().expect("sync");
        let mut filler = std::fs::File::create(self.filler()).expect("filler");
        for size in [1 << 20, 1 << 12, 1] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
        // A full disk cannot always keep what it took.
        let _ = filler.sync_all();
        std::fs::remove_file(self.path().join("spare")).expect("remove the spare file");
    }

    /// Frees what was filled.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("remove the filler");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: somebody may still be looking.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).output();
    }
}

/// A Docker engine of its own; ended when dropped.
#[derive(Debug)]
pub struct OwnEngine {
    process: Child,
    dir: TempDir,
    _bridge: Bridge,
}

/// A bridge for an engine of its own. One that is told to have none removes `docker0` from under the machine's engine.
#[derive(Debug)]
struct Bridge {
    name: String,
}

impl Bridge {
    fn new() -> Result<Self, String> {
        // Interface names have at most 15 characters.
        let bridge = Self { name: format!("mrg{}", std::process::id()) };
        bridge.ip(&["link", "add", "name", &bridge.name, "type", "bridge"])?;
        bridge.ip(&["addr", "add", "10.231.255.1/24", "dev", &bridge.name])?;
        Ok(bridge)
    }

    fn ip(&self, args: &[&str]) -> Result<(), String> {
        let output = Command::new("ip").args(args).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Not there: as good as removed.
        let _ = self.ip(&["link", "del", &self.name]);
    }
}

impl OwnEngine {
    /// Starts an engine with its data in this directory. `None`, said loudly, where that is not possible.
    pub fn start(data_root: &Path) -> Option<Self> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("daemon.json"), "{}").expect("configuration");
        let log = std::fs::File::create(path("log")).expect("log");
        let bridge = match Bridge::new() {
            Ok(bridge) => bridge,
            Err(why) => {
                println!("skipped: another engine has no bridge: {why}");
                return None;
            }
        };
        let process = Command::new("dockerd")
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--data-root")
            .arg(data_root.join("docker"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("sock").display()))
            .arg(format!("--bridge={}", bridge.name))
            .args(["--iptables=false", "--ip-masq=false"])
            .args(["--default-address-pool", "base=10.231.0.0/16,size=24"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: cannot start another engine: {error}");
                return None;
            }
        };
        let mut engine = Self { process, dir, _bridge: bridge };
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(engine.socket()).is_err() {
            let has_ended = engine.process.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || began.elapsed() > crate::PATIENCE {
                let log = std::fs::read_to_string(engine.dir.path().join("log"));
                println!("skipped: another engine does not start: {}", log.unwrap_or_default());
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(engine)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        // It ends its own helpers when it is asked to.
        let _ = Command::new("kill").args(["-TERM", &pid]).output();
        let _ = self.process.wait();
    }
}
