//! Tests of provisioning: what is refused and how it is said, what is installed, and every moment the power may go.

mod crash;
mod crash_disk;
mod defects;
mod settings;
mod ways;

use super::*;
use crate::clock::wall_unix_ms;
use crate::config::Sources;
use crate::identity::test_pki::{
    CLIENT_ID, Ca, Issued, bundle_json, ca_params, issue, leaf_params, pem_chain,
};
use rcgen::{CertificateParams, KeyPair, SanType};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const URL: &str = "https://wfm.factory.example";
const SETTINGS: &str = "[wfm]\nurl = \"https://wfm.factory.example\"\n";

/// An authority that names its trust domain.
fn authority(domain: &str) -> Ca {
    let mut params = ca_params("root");
    let uri = format!("spiffe://{domain}");
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    rcgen::CertifiedIssuer::self_signed(params, key).unwrap()
}

/// The wall clock's now: the device's clock is the real one.
fn now() -> OffsetDateTime {
    let secs = i64::try_from(wall_unix_ms() / 1000).unwrap();
    OffsetDateTime::from_unix_timestamp(secs).unwrap()
}

fn leaf(id: &str) -> CertificateParams {
    leaf_params(&[id])
}

/// Begins and ends so many days from now.
fn valid(id: &str, from_days: i64, to_days: i64) -> CertificateParams {
    let mut params = leaf(id);
    params.not_before = now() + Duration::days(from_days);
    params.not_after = now() + Duration::days(to_days);
    params
}

/// The files of a package; tests spoil them.
#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(ca: &Ca, issued: &Issued) -> Self {
        let files = [
            ("margo-provision.toml", SETTINGS.to_owned()),
            ("svid.pem", pem_chain(&issued.chain)),
            ("svid.key", issued.key.serialize_pem()),
            ("bundle.json", bundle_json(&[ca.der()])),
        ];
        Self(files.into_iter().map(|(n, t)| (n.to_owned(), t.into_bytes())).collect())
    }

    fn good(ca: &Ca) -> Self {
        Self::of(ca, &issue(&leaf(CLIENT_ID), ca))
    }

    fn with(mut self, name: &str, text: impl Into<Vec<u8>>) -> Self {
        self.0.insert(name.to_owned(), text.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    fn package(&self) -> Package {
        let mut package = Package::new("package");
        for (name, bytes) in &self.0 {
            package.add(name, bytes.clone());
        }
        package
    }

    /// As a directory, for the ways that read one.
    fn write(&self, directory: &Path) {
        for (name, bytes) in &self.0 {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A device's file system, with the directories where the agent's configuration has them.
struct Device(TempDir);

impl Device {
    fn new() -> Self {
        let device = Self(TempDir::new().unwrap());
        let text = format!(
            "[wfm]\nidentity_dir = \"{}\"\n[paths]\nstate_dir = \"{}\"\n",
            device.etc().join("identity").display(),
            device.0.path().join("state").display()
        );
        let image = device.0.path().join("usr/lib/margo-agent/config.d");
        fs::create_dir_all(&image).unwrap();
        fs::write(image.join("10-image.toml"), text).unwrap();
        fs::create_dir_all(device.etc()).unwrap();
        device
    }

    fn etc(&self) -> PathBuf {
        self.0.path().join("etc/margo-agent")
    }

    fn places(&self) -> Places {
        Places::of(&Sources::under(self.0.path()))
    }

    fn check(&self, files: &Files) -> Attempt {
        let way = Way::Person { replace: false };
        provision(&files.package(), &self.places(), way, Mode::Check)
    }

    fn install(&self, files: &Files) -> Attempt {
        self.install_by(files, Way::Person { replace: false })
    }

    fn install_by(&self, files: &Files, way: Way) -> Attempt {
        provision(&files.package(), &self.places(), way, Mode::Install)
    }

    /// Every file with its content, but not what is in memory on a device.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        content(&self.etc())
    }
}

fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// Code, file and field of each defect.
fn told(attempt: &Attempt) -> Vec<(DefectCode, &str, &str)> {
    attempt
        .defects
        .iter()
        .map(|defect| (defect.code, defect.file.as_str(), defect.field.as_deref().unwrap_or("")))
        .collect()
}
