//! A private bus, and an updater on it.

use margo_agent::updater::{BootFacts, Health, Pace, Updater};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zbus::connection::Builder;

/// A bus that ends with its owner.
pub(crate) struct Bus {
    dir: TempDir,
    daemon: Child,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Bus {
    pub(crate) async fn start() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let address = format!("unix:path={}/bus", dir.path().display());
        let daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--address", &address])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(daemon) = daemon else {
            assert!(std::env::var_os("MARGO_REQUIRE_RAUC").is_none(), "there is no dbus-daemon");
            println!("skipped: there is no dbus-daemon");
            return None;
        };
        let bus = Self { dir, daemon };
        let began = Instant::now();
        let mut look_again = tokio::time::interval(Duration::from_millis(5));
        while !bus.path("bus").exists() {
            assert!(began.elapsed() < Duration::from_secs(20), "the bus does not start");
            look_again.tick().await;
        }
        Some(bus)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.dir.path().display())
    }

    pub(crate) fn builder(&self) -> Builder<'static> {
        Builder::address(self.address().as_str())
    }

    pub(crate) fn updater(&self) -> Updater {
        let pace = Pace {
            pause_ms: 5,
            patience_ms: 400,
            look_ms: 5,
            install_timeout_ms: 30_000,
            ..Pace::default()
        };
        let health = Health {
            dirs: vec![self.path("health.d")],
            check_timeout_ms: 300,
            require_running: true,
        };
        Updater::on_bus(BootFacts::default(), health, pace, Some(self.address()))
    }
}
