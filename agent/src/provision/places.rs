//! Where provisioning puts things on this device, and what is there.

use super::package::{BUNDLE, KEY, SVID};
use crate::clock::{self, Clock};
use crate::config::{Settings, Sources};
use crate::identity::{Svid, TrustBundle};
use std::path::{Path, PathBuf};

/// Where the identity is when the configuration cannot be read.
const IDENTITY_DIR: &str = "etc/margo-agent/identity";
const ETC: &str = "etc/margo-agent";
/// For the record of the last attempt and the lock; lost with the boot, as every way in but a person's tries again.
const RUN: &str = "run/margo-provision";
const STATE_DIR: &str = "var/lib/margo-agent";
/// Made by timesyncd's unit; the file in it by timesyncd when the time was confirmed.
const TIMESYNC: &str = "run/systemd/timesync";

/// Paths on the device.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration.
    pub(super) sources: Sources,
    /// What it says, if it can be read.
    pub(super) settings: Option<Settings>,
    /// `svid.pem`, `svid.key`, `bundle.json`.
    pub(super) identity_dir: PathBuf,
    /// `/etc/margo-agent`.
    pub(super) etc: PathBuf,
    /// The device's settings.
    pub(super) settings_file: PathBuf,
    /// Passwords and authorities of registries that came with a package.
    pub(super) registry_dir: PathBuf,
    /// A key that waits for its certificate.
    pub(super) request_dir: PathBuf,
    run: PathBuf,
}

impl Places {
    /// The places of the device that `sources` configures.
    pub fn of(sources: &Sources) -> Self {
        let root = sources.root();
        let settings = sources.load().ok();
        let identity_dir = match &settings {
            Some(settings) => settings.wfm.identity_dir.clone(),
            None => root.join(IDENTITY_DIR),
        };
        let etc = root.join(ETC);
        Self {
            identity_dir,
            settings,
            settings_file: sources.provisioned_file(),
            registry_dir: etc.join("registry"),
            request_dir: etc.join("request"),
            etc,
            run: root.join(RUN),
            sources: sources.clone(),
        }
    }

    /// The record of the last attempt.
    pub(super) fn attempt_file(&self) -> PathBuf {
        self.run.join("last-attempt.json")
    }

    /// One provisioning at a time.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// The directory registries' files are named by in the settings.
    pub(super) fn registry_name() -> &'static Path {
        Path::new("/etc/margo-agent/registry")
    }

    /// The fleet manager's address in force.
    pub(super) fn url(&self) -> Option<&str> {
        self.settings.as_ref()?.wfm.url.as_deref()
    }

    /// The installed identity, if it is usable.
    pub(super) fn svid(&self) -> Option<Svid> {
        Svid::load(&self.identity_dir.join(SVID), &self.identity_dir.join(KEY)).ok()
    }

    /// The installed trust bundle, if it is usable.
    pub(super) fn bundle(&self) -> Option<TrustBundle> {
        TrustBundle::load(&self.identity_dir.join(BUNDLE)).ok()
    }

    /// What the clock is worth.
    pub(super) fn now(&self) -> Now {
        let settings = self.settings.as_ref();
        let state_dir = settings.map_or_else(
            || self.sources.root().join(STATE_DIR),
            |settings| settings.paths.state_dir.clone(),
        );
        let timesync = self.sources.root().join(TIMESYNC);
        Now {
            unix_secs: clock::wall_unix_ms() / 1_000,
            floor_unix_secs: Clock::open(&state_dir).floor_unix_ms() / 1_000,
            is_unconfirmed: timesync.is_dir() && !timesync.join("synchronized").exists(),
        }
    }

    /// What a device without a fleet manager lacks: each thing with where it was looked for.
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        if self.url().is_none() {
            let directory = self.settings_file.parent().unwrap_or(&self.etc);
            lacking.push(format!("wfm.url (in {})", directory.display()));
        }
        for file in [SVID, KEY, BUNDLE] {
            let path = self.identity_dir.join(file);
            if !path.exists() {
                lacking.push(path.display().to_string());
            }
        }
        lacking
    }
}

/// What the clock says, and how far it can be believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The wall clock, in seconds since 1970.
    pub(super) unix_secs: u64,
    /// A time that has certainly passed.
    pub(super) floor_unix_secs: u64,
    /// The time service runs and has not confirmed the time yet.
    pub(super) is_unconfirmed: bool,
}

impl Now {
    /// A clock before the floor is wrong for certain.
    pub(super) fn is_behind(self) -> bool {
        self.unix_secs < self.floor_unix_secs
    }

    /// The earliest that it can be.
    pub(super) fn earliest(self) -> u64 {
        self.unix_secs.max(self.floor_unix_secs)
    }
}
