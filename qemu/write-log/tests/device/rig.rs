//! A device's disk in small, made with the image tools, and logs of what is written to it.
//!
//! Files are written by their sectors, as the log has them; where these are is found by what they hold.

use margo_agent::store::{Copies, Store};
use margo_boot_env::env::Env;
use margo_write_log::device::figures::Figures;
use margo_write_log::device::{Job, run};
use margo_write_log::states::Plan;
use state_machine::state::Durable;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where the partitions are, in sectors; see make-disk.
const ENV: usize = 10240;
const ROOT_B: usize = 47104;
const DATA: usize = 51200;
const SECTOR: usize = 512;

pub(crate) struct Rig {
    tools: PathBuf,
    dir: TempDir,
    /// The disk the recording begins with.
    base: Vec<u8>,
    /// The root image of firmware 2.
    pub(crate) second: Vec<u8>,
    /// The next two states of the store: the sector of each on the disk, and its content.
    pub(crate) saved: [(usize, Vec<u8>); 2],
    entries: u64,
    log: Vec<u8>,
}

impl Rig {
    /// `None`, after saying why, on a machine without the image tools. With `MARGO_TOOLS` they must work.
    pub(crate) fn new() -> Option<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let tools = if let Some(tools) = std::env::var_os("MARGO_TOOLS") {
            PathBuf::from(tools)
        } else if project.join("target/qemu/tools/usr/bin/grub-emu").exists() {
            project.join("qemu/tools")
        } else {
            eprintln!("skipped: no image tools; run qemu/tools-root, or set MARGO_TOOLS");
            return None;
        };
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::write(dir.path().join("grubenv"), Env::fresh().to_bytes().unwrap()).unwrap();
        let contents = store(&dir.path().join("store/margo-agent/state"));
        let script = project.join("qemu/write-log/tests/device/make-disk");
        let mut command = Command::new(&tools);
        command.arg("sh").arg(script).arg(project.join("meta-margo/os/boot")).arg(dir.path());
        let made = command.output().unwrap();
        assert!(made.status.success(), "make-disk: {}", String::from_utf8_lossy(&made.stderr));
        let mut base = fs::read(dir.path().join("disk.img")).unwrap();
        // The next states are not on the medium yet, but have their places.
        let saved = contents.map(|content| {
            let sector = find(&base, &content);
            base[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            (sector, content)
        });
        let second = fs::read(dir.path().join("second")).unwrap();
        Some(Self { tools, dir, base, second, saved, entries: 0, log: Vec::new() })
    }

    /// A write at a sector of the disk.
    pub(crate) fn write(&mut self, sector: usize, bytes: &[u8]) {
        self.entry(sector, 0, bytes);
    }

    pub(crate) fn flush(&mut self) {
        self.entry(0, 1, &[]);
    }

    fn entry(&mut self, sector: usize, flags: u64, bytes: &[u8]) {
        assert_eq!(bytes.len() % SECTOR, 0);
        for word in [sector as u64, (bytes.len() / SECTOR) as u64, flags, 0] {
            self.log.extend(word.to_le_bytes());
        }
        self.log.resize(self.log.len() + SECTOR - 32, 0);
        self.log.extend(bytes);
        self.entries += 1;
    }

    /// Sectors of the two copies of the environment.
    pub(crate) fn copies(&self) -> [usize; 2] {
        let wanted = Env::fresh().to_bytes().unwrap();
        let sectors: Vec<usize> = (ENV..ENV + 32768)
            .filter(|sector| self.base[sector * SECTOR..].starts_with(&wanted[..SECTOR]))
            .collect();
        sectors.try_into().expect("two copies")
    }

    /// Our way of changing the environment: the first copy, then the second.
    pub(crate) fn change_env(&mut self, env: &Env) {
        for copy in self.copies() {
            self.write(copy, &env.to_bytes().unwrap());
            self.flush();
        }
    }

    /// The directory of the environment with both files empty, as it is after opening them with `O_TRUNC`.
    pub(crate) fn truncated(&self) -> (usize, [Vec<u8>; 2]) {
        let name = b"GRUBENV    ";
        let whole = |sector: usize| self.base[sector * SECTOR..(sector + 1) * SECTOR].to_vec();
        let has = |sector: &usize| whole(*sector).chunks(32).any(|entry| entry.starts_with(name));
        let sector = (ENV..ENV + 32768).find(has).expect("the directory");
        let mut empty = whole(sector);
        for entry in empty.chunks_mut(32).filter(|entry| entry.starts_with(b"GRUBENV")) {
            entry[28..32].fill(0);
        }
        assert_ne!(empty, whole(sector));
        (sector, [empty, whole(sector)])
    }

    /// Writes firmware 2 into slot B, leaving out a sector where one is named.
    pub(crate) fn install(&mut self, without: Option<usize>) {
        let image = self.second.clone();
        for (number, sector) in image.chunks(SECTOR).enumerate() {
            if Some(number) != without {
                self.write(ROOT_B + number, sector);
            }
        }
    }

    /// Where the store's directory is, and what it is like when so many of the next states have been renamed.
    pub(crate) fn directory(&self, renamed: usize) -> (usize, Vec<u8>) {
        let at = |text: &[u8], name: &[u8]| text.windows(name.len()).position(|part| part == name);
        let sector = |number: usize| &self.base[number * SECTOR..(number + 1) * SECTOR];
        let is_directory = |number: &usize| {
            [b"state-a", b"waits-a"].iter().all(|name| at(sector(*number), *name).is_some())
        };
        let number = (DATA..DATA + 16384).find(is_directory).expect("the store's directory");
        let mut text = sector(number).to_vec();
        for (to, from) in [(b"state-a", b"waits-a"), (b"state-b", b"waits-b")].iter().take(renamed)
        {
            // The number of the inode is eight bytes before the name.
            let places = [*to, *from].map(|name| at(&text, name.as_slice()).unwrap() - 8);
            for byte in 0..4 {
                text.swap(places[0] + byte, places[1] + byte);
            }
        }
        (number, text)
    }

    pub(crate) fn judge(&self) -> Figures {
        let mut log = Vec::new();
        for word in [0x006a_7366_7773_6872, 1, self.entries, 512] {
            log.extend(word.to_le_bytes());
        }
        log.resize(SECTOR, 0);
        log.extend(&self.log);
        let path = |name: &str| self.dir.path().join(name);
        fs::write(path("log"), log).unwrap();
        fs::write(path("base"), &self.base).unwrap();
        let job = Job {
            log: path("log"),
            base: path("base"),
            tools: self.tools.clone(),
            images: vec![path("first"), path("second")],
            final_disk: None,
            env_plan: Plan::default(),
            store_plan: Plan::default(),
            other_spans: 5,
        };
        let scratch = tempfile::tempdir_in(self.dir.path()).unwrap();
        run(&job, scratch.path(), &mut |_| ()).unwrap()
    }
}

/// A store with two states saved; beside them the next two, under names that the store does not look at.
fn store(dir: &Path) -> [Vec<u8>; 2] {
    let (mut store, _) = Store::open::<Durable>(dir).unwrap();
    store.save(&Durable::default(), Copies::Both).unwrap();
    drop(store);
    let next = dir.with_file_name("next");
    fs::create_dir(&next).unwrap();
    for name in ["state-a", "state-b", "initialized"] {
        fs::copy(dir.join(name), next.join(name)).unwrap();
    }
    let (mut store, _) = Store::open::<Durable>(&next).unwrap();
    for _ in 0..2 {
        store.save(&Durable::default(), Copies::One).unwrap();
    }
    let contents = ["a", "b"].map(|copy| {
        let mut bytes = fs::read(next.join(format!("state-{copy}"))).unwrap();
        fs::write(dir.join(format!("waits-{copy}")), &bytes).unwrap();
        bytes.resize(SECTOR, 0);
        bytes
    });
    fs::remove_dir_all(&next).unwrap();
    contents
}

/// The sector that holds this.
fn find(disk: &[u8], content: &[u8]) -> usize {
    disk.chunks(SECTOR).position(|sector| sector == content).expect("the content is on the disk")
}
