//! The real `margoctl provision` on a device's file system: what it prints, and how it ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Device(TempDir);

impl Device {
    fn new() -> Self {
        let device = Self(TempDir::new().unwrap());
        let config = device.0.path().join("usr/lib/margo-agent/config.d");
        std::fs::create_dir_all(&config).unwrap();
        let (identity, state) = (device.path("etc/margo-agent/identity"), device.path("state"));
        let text = format!("[wfm]\nidentity_dir = {identity:?}\n[paths]\nstate_dir = {state:?}\n");
        std::fs::write(config.join("10-image.toml"), text).unwrap();
        device
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn run(&self, args: &[&str], credentials: Option<&Path>) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_margoctl"));
        command.arg("provision").args(args).env("MARGO_ROOT", self.0.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        match credentials {
            Some(directory) => command.env("CREDENTIALS_DIRECTORY", directory),
            None => command.env_remove("CREDENTIALS_DIRECTORY"),
        };
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn everything_that_is_wrong_is_printed_with_the_next_step() {
    let device = Device::new();
    let package = device.path("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("margo-provision.toml"), "[wfm]\nurl = \"http://x\"\n").unwrap();
    std::fs::write(package.join("svid.key"), "x").unwrap();
    std::fs::write(package.join("bundle.json"), "{}").unwrap();
    let named = package.to_str().unwrap();
    let (exit, out, err) = device.run(&[named], None);
    let expected = format!(
        "FILE_MISSING svid.pem: is not in {named}\n  \
         next: Add the file. A package without an identity says so: `identity = \"later\"` under `[package]`.\n\
         KEY_NOT_PEM svid.key: svid.key holds no unencrypted PKCS#8 key (`BEGIN PRIVATE KEY`)\n  \
         next: Convert it: `openssl pkcs8 -topk8 -nocrypt -in old.key -out svid.key`.\n\
         BUNDLE_INVALID bundle.json [keys]: trust bundle has no usable X.509 anchor\n  \
         next: Fetch the trust domain's bundle again, as JSON.\n\
         URL_INVALID margo-provision.toml:2 [wfm.url]: wfm.url is \"http://x\": \
         it must be a URL like \"https://wfm.example.com\"\n  \
         next: Write it like `https://wfm.example.com`, without user, query or fragment.\n\
         refused: 4 problems; nothing was changed\n"
    );
    let mut lines: Vec<_> = out.lines().collect();
    let mut wanted: Vec<_> = expected.lines().collect();
    assert_eq!(lines.last(), wanted.last());
    lines.sort_unstable();
    wanted.sort_unstable();
    assert_eq!((exit, err.as_str(), lines), (1, "", wanted));
    assert!(!device.path("etc").exists(), "nothing was written");
    let (exit, out, _) = device.run(&[named, "--check", "--json"], None);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &json["outcome"]), (1, &"refused".into()));
    assert_eq!(json["defects"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_no_package_is_said() {
    let device = Device::new();
    let (exit, out, _) = device.run(&["/nonexistent"], None);
    assert_eq!(exit, 1);
    assert!(out.starts_with("PACKAGE_UNREADABLE /nonexistent: No such file"), "{out}");
    let (exit, _, err) = device.run(&[], None);
    assert_eq!(exit, 2, "{err}");
    let (exit, _, err) = device.run(&["key-request", "--id", "spiffe://a/margo/wfm/w"], None);
    assert_eq!(exit, 2);
    assert!(err.contains("a fleet manager's, not a client's"), "{err}");
}

#[test]
fn a_key_request_is_a_request_and_no_key() {
    let device = Device::new();
    let (exit, out, err) = device.run(&["key-request"], None);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert!(out.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{out}");
    assert!(!out.contains("PRIVATE"), "{out}");
    let key = device.path("etc/margo-agent/request/svid.key");
    let kept = std::fs::read_to_string(&key).unwrap();
    assert!(kept.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let file = device.path("device.csr");
    let (exit, out, _) = device.run(&["key-request", "--new", "-o", file.to_str().unwrap()], None);
    assert_eq!((exit, out.as_str()), (0, ""));
    assert_ne!(std::fs::read_to_string(&key).unwrap(), kept);
    // Another program understands it, where there is one.
    let openssl =
        Command::new("openssl").args(["req", "-verify", "-noout", "-in"]).arg(&file).output();
    match openssl {
        Ok(told) => assert!(told.status.success(), "{told:?}"),
        Err(error) => println!("skipped: openssl: {error}"),
    }
}

#[test]
fn a_boot_without_credentials_is_quiet_and_with_bad_ones_says_so() {
    let device = Device::new();
    assert_eq!(device.run(&["boot"], None), (0, String::new(), String::new()));
    let credentials = device.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("margo.wfm-url"), "https://wfm.example.com").unwrap();
    let (exit, out, err) = device.run(&["boot"], Some(&credentials));
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(err.contains("systemd credentials: refused"), "{err}");
    assert!(err.contains("FILE_MISSING svid.key"), "{err}");
    let last = std::fs::read_to_string(device.path("run/margo-provision/last-attempt.json"));
    assert!(last.unwrap().contains("FILE_MISSING"));
}
