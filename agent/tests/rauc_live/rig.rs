//! A device in a directory: bus, RAUC, two slots, a boot environment, and bundles for it.

use futures_util::future::BoxFuture;
use margo_agent::updater::{BootFacts, Health, Origin, Pace, Slots, Updater};
use state_machine::effect::Bundle;
use state_machine::failure::Failure;
use state_machine::ids::{SlotName, TransactionId};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Size of an image.
pub(crate) const IMAGE_BYTES: usize = 1 << 20;

/// The boot loader: three files. A slot is `good`, `trial` or `bad`.
const BACKEND: &str = r#"#!/bin/sh
env=$(dirname "$0")/env
case $1 in
get-primary) cat "$env/primary" ;;
set-primary) echo "$2" >"$env/primary"; [ "$(cat "$env/$2")" != bad ] || echo trial >"$env/$2" ;;
get-state) if [ "$(cat "$env/$2")" = good ]; then echo good; else echo bad; fi ;;
set-state) echo "$3" >"$env/$2" ;;
get-current) cat "$env/current" ;;
esac
"#;

/// Stays as long as a file named `hold-<name>` exists, fails if `fail-<name>` does; says each time that it ran.
const HANDLER: &str = r#"#!/bin/sh
dir=$(dirname "$0")
name=$(basename "$0")
echo ran >>"$dir/ran-$name"
while [ -e "$dir/hold-$name" ]; do sleep 0.02; done
[ ! -e "$dir/fail-$name" ]
"#;

/// A device.
pub(crate) struct Rig {
    // Before the directory: what it stands on is let go of first.
    small_slot: Option<LoopDevice>,
    dir: TempDir,
    bus: Child,
    rauc: Option<Child>,
    pub(crate) updater: Updater,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill_rauc();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// A block device: unlike a file it does not grow.
struct LoopDevice(String);

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Why this machine cannot run these tests.
fn missing() -> Option<String> {
    let runs = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    };
    if !rustix::process::getuid().is_root() {
        return Some("RAUC mounts bundles, which needs root".to_owned());
    }
    let tools = [
        ("dbus-daemon", "--version"),
        ("mksquashfs", "-version"),
        ("openssl", "version"),
        ("losetup", "--version"),
    ];
    if let Some((tool, _)) = tools.iter().find(|(tool, flag)| !runs(tool, &[*flag])) {
        return Some(format!("there is no {tool}"));
    }
    let Ok(output) = Command::new(rauc()).arg("--version").output() else {
        return Some("there is no rauc".to_owned());
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor = said.trim().strip_prefix("rauc 1.").and_then(|rest| {
        rest.split(|char: char| !char.is_ascii_digit()).next()?.parse::<u32>().ok()
    });
    if minor.is_none_or(|minor| minor < 10) {
        return Some(format!("RAUC 1.10 or newer is needed, this is `{}`", said.trim()));
    }
    (!Path::new("/dev/loop-control").exists()).then(|| "there are no loop devices".to_owned())
}

fn rauc() -> String {
    let named = std::env::var("MARGO_RAUC").ok().filter(|named| !named.is_empty());
    named.unwrap_or_else(|| "rauc".to_owned())
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Waits for a condition.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut look_again = tokio::time::interval(Duration::from_millis(10));
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        look_again.tick().await;
    }
}

pub(crate) fn transaction(name: &str) -> TransactionId {
    TransactionId::new(name)
}

impl Rig {
    /// A device that runs from A; `None`, and a word why, on a machine that cannot.
    pub(crate) async fn start() -> Option<Self> {
        if let Some(why) = missing() {
            assert!(std::env::var_os("MARGO_REQUIRE_RAUC").is_none(), "{why}");
            println!("skipped: {why}");
            return None;
        }
        let dir = TempDir::new().unwrap();
        make_device(dir.path());
        let address = format!("unix:path={}/bus", dir.path().display());
        let bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--address", &address])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let updater = updater(&address, dir.path());
        let mut rig = Self { small_slot: None, dir, bus, rauc: None, updater };
        until("the bus", || rig.path("bus").exists().then_some(())).await;
        rig.start_rauc();
        rig.updater.slots().await.unwrap();
        Some(rig)
    }

    /// Makes slot B a partition of this size, in bytes.
    pub(crate) fn shrink_slot_b(&mut self, size_bytes: u64) {
        let slot = self.path("slot-b");
        let file = std::fs::File::options().write(true).open(&slot).unwrap();
        file.set_len(size_bytes).unwrap();
        let output =
            Command::new("losetup").args(["--find", "--show"]).arg(&slot).output().unwrap();
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(output.status.success() && device.starts_with("/dev/loop"), "{device}");
        let conf = std::fs::read_to_string(self.path("system.conf")).unwrap();
        let file = format!("device={}\n", slot.display());
        assert!(conf.contains(&file), "{conf}");
        self.write("system.conf", &conf.replace(&file, &format!("device={device}\n")));
        self.small_slot = Some(LoopDevice(device));
        self.start_rauc();
    }

    /// Another updater on the same bus: the agent after a restart.
    pub(crate) fn restarted(&self) -> Updater {
        updater(&self.address(), self.dir.path())
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}/bus", self.dir.path().display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start_rauc(&mut self) {
        self.kill_rauc();
        let log =
            std::fs::File::options().create(true).append(true).open(self.path("rauc.log")).unwrap();
        let child = Command::new(rauc())
            .args(["service", "--override-boot-slot=A", "--conf"])
            .arg(self.path("system.conf"))
            .env("DBUS_STARTER_BUS_TYPE", "session")
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.rauc = Some(child);
    }

    pub(crate) fn kill_rauc(&mut self) {
        if let Some(mut rauc) = self.rauc.take() {
            let _ = rauc.kill();
            let _ = rauc.wait();
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// How often a handler ran.
    pub(crate) fn runs(&self, handler: &str) -> usize {
        let text = std::fs::read_to_string(self.path(&format!("ran-{handler}")));
        text.map_or(0, |text| text.lines().count())
    }

    /// Waits until a handler has run so often.
    pub(crate) async fn reached(&self, handler: &str, runs: usize) {
        until(handler, || (self.runs(handler) >= runs).then_some(())).await;
    }

    /// Primary, state of A, state of B.
    pub(crate) fn env(&self) -> [String; 3] {
        ["env/primary", "env/A", "env/B"]
            .map(|name| std::fs::read_to_string(self.path(name)).unwrap().trim().to_owned())
    }

    /// A bundle whose image is made from its name.
    pub(crate) fn bundle(&self, name: &str, edit: impl Fn(String) -> String) -> String {
        self.bundle_signed_by("key", name, edit)
    }

    pub(crate) fn bundle_signed_by(
        &self,
        signer: &str,
        name: &str,
        edit: impl Fn(String) -> String,
    ) -> String {
        let content = self.path(&format!("content-{name}"));
        std::fs::create_dir(&content).unwrap();
        std::fs::write(content.join("rootfs.img"), image(name)).unwrap();
        let manifest = "[update]\ncompatible=margo-test\nversion=2.0.0\n\
                        [bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n";
        std::fs::write(content.join("manifest.raucm"), edit(manifest.to_owned())).unwrap();
        let file = self.path(&format!("{name}.raucb"));
        run(Command::new(rauc())
            .arg("bundle")
            .arg(format!("--cert={}", self.path(&format!("{signer}.crt")).display()))
            .arg(format!("--key={}", self.path(&format!("{signer}.pem")).display()))
            .arg(&content)
            .arg(&file));
        file.display().to_string()
    }

    pub(crate) fn install<'a>(
        updater: &'a Updater,
        name: &str,
        location: &str,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let (transaction, origin) = (transaction(name), Origin::plain(location));
        let bundle = Bundle { version: "2.0.0".into(), manifest: None };
        let target = SlotName::new("rootfs.1");
        Box::pin(async move { updater.install(&transaction, origin, &bundle, &target).await })
    }

    pub(crate) async fn slots(&self) -> Slots {
        self.updater.slots().await.unwrap()
    }
}

/// Bytes that do not compress to nothing: a bundle in verity format has a least size.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let mut state = u32::try_from(name.len()).unwrap().wrapping_mul(2_654_435_761).max(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(IMAGE_BYTES / 4).flatten().collect()
}

fn updater(address: &str, dir: &Path) -> Updater {
    let pace = Pace {
        pause_ms: 20,
        patience_ms: 10_000,
        look_ms: 20,
        install_timeout_ms: 60_000,
        ..Pace::default()
    };
    let facts = BootFacts {
        boot: "b1".to_owned(),
        version: Some("1.0.0".to_owned()),
        ..BootFacts::default()
    };
    let health =
        Health { dirs: vec![dir.join("health.d")], check_timeout_ms: 1_000, require_running: true };
    Updater::on_bus(facts, health, pace, Some(address.to_owned()))
}

fn make_device(dir: &Path) {
    for name in ["env", "data", "mnt"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    for (name, text) in [("primary", "A"), ("current", "A"), ("A", "good"), ("B", "good")] {
        std::fs::write(dir.join("env").join(name), text).unwrap();
    }
    for (name, text) in [("backend", BACKEND), ("before", HANDLER), ("after", HANDLER)] {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["slot-a", "slot-b"] {
        std::fs::File::create(dir.join(name)).unwrap().set_len(4 << 20).unwrap();
    }
    for name in ["key", "stranger"] {
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "3650", "-subj", &format!("/CN={name}")])
            .arg("-keyout")
            .arg(dir.join(format!("{name}.pem")))
            .arg("-out")
            .arg(dir.join(format!("{name}.crt"))));
    }
    let dir_name = dir.display();
    let conf = format!(
        "[system]\ncompatible=margo-test\nbootloader=custom\nmountprefix={dir_name}/mnt\n\
         data-directory={dir_name}/data\nbundle-formats=plain verity\n\
         [keyring]\npath={dir_name}/key.crt\n\
         [handlers]\nbootloader-custom-backend={dir_name}/backend\n\
         pre-install={dir_name}/before\npost-install={dir_name}/after\n\
         [slot.rootfs.0]\ndevice={dir_name}/slot-a\ntype=raw\nbootname=A\n\
         [slot.rootfs.1]\ndevice={dir_name}/slot-b\ntype=raw\nbootname=B\n"
    );
    std::fs::write(dir.join("system.conf"), conf).unwrap();
}
