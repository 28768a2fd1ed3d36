//! Real GRUB on small disks: `grub-emu` of the image tools runs the grub.cfg that goes to the ESP.

use margo_boot_env::choice::{Reason, Source};
use margo_boot_env::env::Slot;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The image tools and the disks made with them.
pub(crate) struct Rig {
    tools: PathBuf,
    dir: TempDir,
}

/// What GRUB said it would start.
pub(crate) type Started = Option<(Slot, Reason, Source)>;

impl Rig {
    /// `None`, after saying why, on a machine without the image tools. With `MARGO_TOOLS` they must work.
    pub(crate) fn new() -> Option<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let tools = if let Some(tools) = std::env::var_os("MARGO_TOOLS") {
            PathBuf::from(tools)
        } else if project.join("target/qemu/tools/usr/bin/grub-emu").exists() {
            project.join("qemu/tools")
        } else {
            eprintln!(
                "skipped: there is no GRUB to ask; run qemu/tools-root, or set MARGO_TOOLS to a command that runs its \
                 arguments where grub-emu, sfdisk, mtools, mkfs.vfat and mksquashfs are"
            );
            return None;
        };
        // In the project's directory, which the tools see.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let rig = Self { tools, dir };
        let script = project.join("agent/boot-env/tests/grub/make-disks");
        let boot = project.join("meta-margo/os/boot");
        let arguments = [OsStr::new("sh"), script.as_ref(), boot.as_ref(), rig.dir.path().as_ref()];
        let made = rig.run(rig.dir.path(), &arguments);
        assert!(made.status.success(), "make-disks: {}", String::from_utf8_lossy(&made.stderr));
        Some(rig)
    }

    /// A directory the tools see.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn run(&self, dir: &Path, arguments: &[&OsStr]) -> std::process::Output {
        let keys = fs::File::open(self.dir.path().join("keys"));
        let keys = keys.map_or_else(|_| std::process::Stdio::null(), Into::into);
        let mut command = Command::new(&self.tools);
        command.args(arguments).current_dir(dir).stdin(keys).env("TERM", "dumb");
        command.output().unwrap()
    }

    pub(crate) fn disk(&self, name: &str) -> TestDisk {
        let image = self.dir.path().join(format!("{name}.img"));
        let bytes = fs::read(&image).unwrap();
        let mark = |byte: u8| {
            let at =
                bytes.chunks(512).position(|sector| sector.iter().take(100).all(|b| *b == byte));
            at.map(|sector| u64::try_from(sector * 512).unwrap())
        };
        TestDisk { name: name.to_owned(), offsets: [mark(1), mark(2)], image }
    }

    /// Starts the "machine". `kernels` is `ab`, `a`, `b` or `none`.
    pub(crate) fn start(&self, disk: &TestDisk, kernels: &str) -> (Started, String) {
        let map = self.dir.path().join(format!("{}.map", disk.name));
        let mut arguments =
            ["timeout", "12", "grub-emu", "-r", "hd0,gpt1", "-d", "/EFI/BOOT", "-m"]
                .map(OsStr::new)
                .to_vec();
        arguments.push(map.as_ref());
        let output = self.run(&self.dir.path().join(format!("kernels-{kernels}")), &arguments);
        // The terminal breaks lines; nothing of ours has a line break in it.
        let text = String::from_utf8_lossy(&output.stdout).replace(['\r', '\n'], "");
        (started(&text), text)
    }
}

/// The last choice GRUB spoke of.
fn started(text: &str) -> Started {
    let (_, line) =
        text.rsplit_once("margo-boot: ").unwrap_or_else(|| panic!("no choice in: {text}"));
    let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or("");
    let reasons = [Reason::Committed, Reason::Trial, Reason::LastResort];
    let source = match word("env=") {
        "first" => Source::First,
        "second" => Source::Second,
        "defaults" => Source::Defaults,
        other => panic!("env={other} in: {text}"),
    };
    let slot = Slot::parse(word("slot="))?;
    let reason = reasons.into_iter().find(|reason| reason.name() == word("reason="));
    Some((slot, reason.unwrap_or_else(|| panic!("no reason in: {text}")), source))
}

/// One disk, with the places of its two copies.
pub(crate) struct TestDisk {
    name: String,
    image: PathBuf,
    offsets: [Option<u64>; 2],
}

impl TestDisk {
    /// Puts bytes into a copy's sectors. A copy that the disk does not have takes none.
    pub(crate) fn put(&self, copy: usize, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(&self.image).unwrap();
        if let Some(offset) = self.offsets[copy] {
            file.write_all_at(bytes, offset).unwrap();
        }
    }

    /// A copy's first 1024 bytes as they are on the disk.
    pub(crate) fn get(&self, copy: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1024];
        let file = fs::File::open(&self.image).unwrap();
        file.read_exact_at(&mut bytes, self.offsets[copy]?).unwrap();
        Some(bytes)
    }
}
