//! The ways in, and what they do to a device that already is somebody.

use super::*;
use crate::identity;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const DOMAIN: &str = "factory.example";
const OTHER_ID: &str = "spiffe://factory.example/margo/wfm/w1/client/d2";

fn files_at(ca: &Ca, id: &str, from_days: i64) -> Files {
    Files::of(ca, &issue(&valid(id, from_days, 90), ca))
}

fn outcome(attempt: &Attempt) -> Outcome {
    println!("{attempt}");
    attempt.outcome
}

#[test]
fn the_same_again_writes_nothing() {
    let (device, files) = (Device::new(), Files::good(&authority(DOMAIN)));
    assert_eq!(outcome(&device.install(&files)), Outcome::Installed);
    let stamps = || -> Vec<_> {
        let mut all: Vec<PathBuf> = device.content().into_keys().collect();
        all.extend([device.etc(), device.etc().join("identity"), device.etc().join("config.d")]);
        let stamp = |path: &PathBuf| {
            let found = fs::metadata(path).unwrap();
            (path.clone(), found.ino(), found.ctime(), found.ctime_nsec())
        };
        all.iter().map(stamp).collect()
    };
    let before = stamps();
    assert_eq!(outcome(&device.install(&files)), Outcome::Unchanged);
    assert_eq!(outcome(&device.install_by(&files, Way::Unattended)), Outcome::Unchanged);
    assert_eq!(stamps(), before);
    let mode =
        |file: &str| fs::metadata(device.etc().join(file)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("identity"), mode("identity/svid.key")), (0o700, 0o600));
    assert_eq!(mode("config.d/50-provisioned.toml"), 0o644);
}

#[test]
fn another_identity_needs_a_word() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    device.install(&files_at(&ca, CLIENT_ID, -9));
    let before = device.content();
    let other = files_at(&ca, OTHER_ID, -1);
    for way in [Way::Person { replace: false }, Way::Unattended] {
        let attempt = device.install_by(&other, way);
        assert_eq!(told(&attempt), [(DefectCode::OtherIdentity, "svid.pem", "")]);
        assert!(attempt.defects[0].what.contains(CLIENT_ID), "{attempt}");
    }
    assert_eq!(device.content(), before);
    let replace = Way::Person { replace: true };
    assert_eq!(outcome(&device.install_by(&other, replace)), Outcome::Installed);
    let back = files_at(&ca, CLIENT_ID, -9)
        .with("margo-provision.toml", format!("[package]\nreplace = true\n{SETTINGS}"));
    assert_eq!(outcome(&device.install_by(&back, Way::Unattended)), Outcome::Installed);
    assert_eq!(device.places().svid().unwrap().id().to_string(), CLIENT_ID);
}

#[test]
fn another_fleet_managers_address_needs_a_word_too() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    let files = files_at(&ca, CLIENT_ID, -9);
    device.install(&files);
    let elsewhere = files.clone().with("margo-provision.toml", "[wfm]\nurl = \"https://b\"\n");
    let attempt = device.install(&elsewhere);
    let expected = [(DefectCode::OtherIdentity, "margo-provision.toml", "wfm.url")];
    assert_eq!(told(&attempt), expected);
    // By itself it is no refusal at every boot, but no change either.
    let attempt = device.install_by(&elsewhere, Way::Unattended);
    assert_eq!(outcome(&attempt), Outcome::Kept);
    assert!(attempt.notes[0].contains("https://b"), "{attempt}");
    let meant = elsewhere
        .with("margo-provision.toml", "[package]\nreplace = true\n[wfm]\nurl = \"https://b\"\n");
    assert_eq!(outcome(&device.install_by(&meant, Way::Unattended)), Outcome::Installed);
    assert_eq!(device.places().url(), Some("https://b"));
}

#[test]
fn what_stays_plugged_in_does_not_undo_a_renewal() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    let first = files_at(&ca, CLIENT_ID, -9);
    device.install_by(&first, Way::Unattended);
    let renewed = files_at(&ca, CLIENT_ID, -1);
    assert_eq!(outcome(&device.install_by(&renewed, Way::Unattended)), Outcome::Installed);
    let after = device.content();
    let attempt = device.install_by(&first, Way::Unattended);
    assert_eq!(outcome(&attempt), Outcome::Kept);
    assert_eq!(device.content(), after);
    // A person may, and is told.
    let attempt = device.install(&first);
    assert_eq!(outcome(&attempt), Outcome::Installed);
    assert!(attempt.notes[0].contains("older"), "{attempt}");
}

#[test]
fn an_older_bundle_is_a_rollback() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    device.install(&files_at(&ca, CLIENT_ID, -9));
    let older = bundle_json(&[ca.der()]).replace("\"spiffe_sequence\":7", "\"spiffe_sequence\":6");
    let renewal = files_at(&ca, CLIENT_ID, -1).with("bundle.json", older);
    let attempt = device.install(&renewal);
    assert_eq!(told(&attempt), [(DefectCode::BundleOlder, "bundle.json", "spiffe_sequence")]);
    let replace = Way::Person { replace: true };
    assert_eq!(outcome(&device.install_by(&renewal, replace)), Outcome::Installed);
}

#[test]
fn a_damaged_identity_is_repaired_without_a_word() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    device.install(&files_at(&ca, CLIENT_ID, -9));
    fs::write(device.etc().join("identity/svid.pem"), b"").unwrap();
    let other = files_at(&ca, OTHER_ID, -9);
    assert_eq!(outcome(&device.install_by(&other, Way::Unattended)), Outcome::Installed);
}

#[test]
fn directories_and_archives_are_read_alike() {
    let (files, place) = (Files::good(&authority(DOMAIN)), TempDir::new().unwrap());
    let directory = place.path().join("stick");
    let files = files.with("config.d/20-x.toml", "[device]\nid = \"x\"\n");
    files.write(&directory);
    let tar = place.path().join("package.tar");
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new("tar");
        let told = command.args(args).arg("-C").arg(&directory).arg(".").status().unwrap();
        assert!(told.success());
    };
    run(&["-cf", tar.to_str().unwrap()]);
    let compressed = place.path().join("package.tar.gz");
    run(&["-czf", compressed.to_str().unwrap()]);
    for path in [&directory, &tar, &compressed] {
        let device = Device::new();
        let way = Way::Person { replace: false };
        let attempt = provision_path(path, &device.places(), way, Mode::Install);
        assert_eq!(outcome(&attempt), Outcome::Installed);
        assert_eq!(device.places().settings.unwrap().device.id, "x");
    }
    let way = Way::Person { replace: false };
    for path in [place.path().join("nothing"), directory.join("svid.pem")] {
        let attempt = provision_path(&path, &Device::new().places(), way, Mode::Check);
        assert_eq!(attempt.defects[0].code, DefectCode::PackageUnreadable, "{attempt}");
        assert_eq!(attempt.defects.len(), 1, "{attempt}");
    }
}

#[test]
fn credentials_are_a_package_too() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    let directory = TempDir::new().unwrap();
    assert_eq!(provision_credentials(Some(directory.path()), &device.places()), None);
    let put = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    put("margo.wfm-url", format!("{URL}\n").as_bytes());
    let attempt = provision_credentials(Some(directory.path()), &device.places()).unwrap();
    let missing: Vec<_> =
        told(&attempt).iter().map(|(code, file, _)| (*code, file.to_string())).collect();
    let expected = ["svid.pem", "svid.key", "bundle.json"];
    assert_eq!(missing, expected.map(|file| (DefectCode::FileMissing, file.to_owned())));
    let files = Files::good(&ca);
    for (name, file) in [
        ("margo.svid", "svid.pem"),
        ("margo.svid-key", "svid.key"),
        ("margo.trust-bundle", "bundle.json"),
    ] {
        put(name, &files.0[file]);
    }
    put("margo.registry.token", b"secret");
    put("other.credential", b"not ours");
    let attempt = provision_credentials(Some(directory.path()), &device.places()).unwrap();
    assert_eq!(outcome(&attempt), Outcome::Installed);
    assert_eq!(device.places().url(), Some(URL));
    assert_eq!(fs::read(device.etc().join("registry/token")).unwrap(), b"secret");
    // The next boot brings them again.
    let attempt = provision_credentials(Some(directory.path()), &device.places()).unwrap();
    assert_eq!(outcome(&attempt), Outcome::Unchanged);
    put("margo.wfm-url", b"http://plain");
    let attempt = provision_credentials(Some(directory.path()), &Device::new().places()).unwrap();
    assert_eq!(told(&attempt), [(DefectCode::UrlInvalid, "margo.wfm-url:2", "wfm.url")]);
}

/// The authority's part: a certificate for the key in the request.
fn sign(ca: &Ca, request: &str, id: &str) -> String {
    use rustls_pki_types::CertificateSigningRequestDer;
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer as _;
    struct Key(Vec<u8>);
    impl rcgen::PublicKeyData for Key {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }
        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_ECDSA_P256_SHA256
        }
    }
    let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
    let key = request.certification_request_info.subject_pki.subject_public_key.data.to_vec();
    valid(id, -1, 90).signed_by(&Key(key), ca).unwrap().pem()
}

#[test]
fn a_key_made_here_gets_its_chain() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    let place = TempDir::new().unwrap();
    let (chain, bundle) = (place.path().join("chain.pem"), place.path().join("bundle.json"));
    fs::write(&bundle, bundle_json(&[ca.der()])).unwrap();
    let ingest = Ingest { chain: chain.clone(), bundle: Some(bundle), url: Some(URL.to_owned()) };
    let way = Way::Person { replace: false };
    let take = || provision_chain(&ingest, &device.places(), way, Mode::Install);
    fs::write(&chain, pem_chain(&issue(&leaf(CLIENT_ID), &ca).chain)).unwrap();
    let early = take();
    assert_eq!(told(&early), [(DefectCode::KeyRequestMissing, "svid.key", "")]);

    let id = Some(crate::identity::SpiffeId::parse(CLIENT_ID).unwrap());
    let asked = KeyRequest { id, renew_key: false };
    let request = key_request(&device.places(), &asked).unwrap();
    let waiting = device.etc().join("request/svid.key");
    let key = fs::read(&waiting).unwrap();
    assert_eq!(fs::metadata(&waiting).unwrap().permissions().mode() & 0o777, 0o600);
    key_request(&device.places(), &asked).unwrap();
    assert_eq!(fs::read(&waiting).unwrap(), key, "asking again is about the same key");
    assert_eq!(told(&take()), [(DefectCode::KeyMismatch, "svid.key", "")]);

    fs::write(&chain, sign(&ca, &request, CLIENT_ID)).unwrap();
    assert_eq!(outcome(&take()), Outcome::Installed);
    assert_eq!(fs::read(device.etc().join("identity/svid.key")).unwrap(), key);
    assert!(!waiting.exists(), "one copy of a key is enough");
    assert_eq!(device.places().lacking(), Vec::<String>::new());
    let renewed = key_request(&device.places(), &KeyRequest::default()).unwrap();
    assert_ne!(fs::read(&waiting).unwrap(), key, "a renewal is about a new key");
    fs::write(&chain, sign(&ca, &renewed, CLIENT_ID)).unwrap();
    let ingest = Ingest { bundle: None, url: None, ..ingest.clone() };
    let attempt = provision_chain(&ingest, &device.places(), way, Mode::Install);
    assert_eq!(outcome(&attempt), Outcome::Installed);
}

#[test]
fn settings_may_come_before_the_identity_if_that_is_said() {
    let device = Device::new();
    let text = format!("[package]\nidentity = \"later\"\n{SETTINGS}");
    let files = Files(BTreeMap::new()).with("margo-provision.toml", text);
    assert_eq!(outcome(&device.install(&files)), Outcome::Installed);
    let lacking = device.places().lacking();
    assert_eq!(lacking.len(), 3, "{lacking:?}");
    assert!(lacking[0].ends_with("identity/svid.pem"), "{lacking:?}");
}

#[test]
fn what_cannot_be_written_is_said_with_its_path() {
    let device = Device::new();
    // A file where a directory belongs: that fails for root as well.
    let file = device.0.path().join("file");
    fs::write(&file, b"").unwrap();
    let text = format!("[wfm]\nidentity_dir = \"{}/identity\"\n", file.display());
    fs::write(device.0.path().join("usr/lib/margo-agent/config.d/20-odd.toml"), text).unwrap();
    let attempt = device.install(&Files::good(&authority(DOMAIN)));
    let codes: Vec<_> = attempt.defects.iter().map(|defect| defect.code).collect();
    assert_eq!(codes, [DefectCode::InstallFailed], "{attempt}");
    assert!(attempt.defects[0].file.starts_with(&file.display().to_string()), "{attempt}");
}

/// A drive that is found as a disk and as a partition is mounted by one of the two at a time: the other waits before it reads,
/// and does not refuse what the first one keeps busy.
#[test]
fn a_package_is_read_when_its_turn_has_come() {
    let (place, device) = (TempDir::new().unwrap(), Device::new());
    let files = Files::good(&authority(DOMAIN));
    let lock_file = device.places().lock_file();
    fs::create_dir_all(lock_file.parent().unwrap()).unwrap();
    let other = fs::File::create(&lock_file).unwrap();
    other.lock().unwrap();
    let places = device.places();
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| provision_path(place.path(), &places, Way::Unattended, Mode::Install));
        // The kernel says who waits: `12: -> FLOCK ADVISORY WRITE 4711 fe:00:815 0 EOF`.
        let inode =
            format!(":{} ", std::os::unix::fs::MetadataExt::ino(&other.metadata().unwrap()));
        let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&inode);
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            assert!(!waiting.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        files.write(place.path());
        drop(other);
        let attempt = waiting.join().unwrap();
        assert_eq!(outcome(&attempt), Outcome::Installed, "{attempt}");
    });
    // By the other name, after that.
    let again = provision_path(place.path(), &device.places(), Way::Unattended, Mode::Install);
    assert_eq!(outcome(&again), Outcome::Unchanged, "{again}");
}

/// A stick as a person would write it, on a loop device. Needs root.
#[test]
fn a_drive_is_read_and_left_as_it_is() {
    let (place, device) = (TempDir::new().unwrap(), Device::new());
    let (directory, image) = (place.path().join("files"), place.path().join("stick"));
    Files::good(&authority(DOMAIN)).write(&directory);
    fs::write(&image, vec![0; 4 << 20]).unwrap();
    let run = |program: &str, args: &[&str]| {
        let told = std::process::Command::new(program).args(args).output();
        let told = told.map_err(|error| format!("{program}: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if told.status.success() { Ok(text(&told.stdout)) } else { Err(text(&told.stderr)) }
    };
    let (from, to) = (directory.to_str().unwrap(), image.to_str().unwrap());
    let made = run("mkfs.ext4", &["-q", "-L", "MARGOCONFIG", "-d", from, to]);
    let before = fs::read(&image).unwrap();
    let looped = match made.and_then(|_| run("losetup", &["-f", "--show", to])) {
        Ok(looped) => looped,
        Err(why) => return println!("skipped: no loop device with ext4 can be made: {why}"),
    };
    let attempt =
        provision_path(Path::new(&looped), &device.places(), Way::Unattended, Mode::Install);
    run("losetup", &["-d", &looped]).unwrap();
    if attempt.to_string().contains("Operation not permitted") {
        return println!("skipped: nothing may be mounted here: {attempt}");
    }
    assert_eq!(outcome(&attempt), Outcome::Installed);
    assert!(attempt.source.starts_with("drive /dev/loop"), "{attempt}");
    assert!(fs::read(&image).unwrap() == before, "nothing was written to the drive");
}

#[tokio::test]
async fn a_running_agent_notices_the_swap() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    device.install(&files_at(&ca, CLIENT_ID, -9));
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let directory = device.etc().join("identity");
    let task = tokio::spawn(async move {
        identity::watch(directory, || {
            let tell = tell.clone();
            async move { tell.send(()).await.unwrap() }
        })
        .await;
    });
    // Until the watch stands a change may be missed: renew until one is seen.
    let mut seen = None;
    for day in 2..50 {
        device.install(&files_at(&ca, CLIENT_ID, -9 - day));
        let wait = tokio::time::timeout(std::time::Duration::from_secs(1), told.recv());
        seen = wait.await.ok().flatten();
        if seen.is_some() {
            break;
        }
    }
    assert_eq!(seen, Some(()));
    task.abort();
}
