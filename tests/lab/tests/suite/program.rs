//! The program as an OEM uses it: `up` in one process, commands in others, a device on the wire.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use crate::common::{Client, PATIENCE, device_from};
use serde_json::{Value, json};

/// A running `margo-lab up`; killed when dropped.
struct Up {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Up {
    fn start(dir: &Path) -> Self {
        let mut child = command(dir).arg("up").stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let up = Self { child, lines };
        up.line("  control");
        up
    }

    /// The next line that begins so.
    fn line(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line `{beginning}`: {error}"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margo-lab"));
    command.arg("--dir").arg(dir);
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir).args(arguments).output().unwrap()
}

fn text(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn refusal(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted");
    String::from_utf8(output.stderr).unwrap()
}

fn status(dir: &Path) -> Value {
    serde_json::from_str(&text(dir, &["--json", "status"])).unwrap()
}

fn device(dir: &Path) -> Client {
    let status = status(dir);
    let url = status["endpoints"]["wfm_url"].as_str().unwrap();
    device_from(&dir.join("device"), url, "spiffe://lab.example/margo/wfm/lab-wfm")
}

/// A directory named `shop` with a compose file, inside another.
fn compose_dir() -> (tempfile::TempDir, String) {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("shop");
    std::fs::create_dir(&dir).unwrap();
    let compose = "services:\n  web:\n    image: ${LAB_REGISTRY}/lab/app:1\n";
    std::fs::write(dir.join("compose.yaml"), compose).unwrap();
    let path = dir.to_str().unwrap().to_owned();
    (outer, path)
}

/// The first deployment's id and version in the manifest.
async fn listed(device: &Client) -> (String, u64) {
    let manifest = device.manifest().await.json();
    let id = manifest["deployments"][0]["deploymentId"].as_str().unwrap().to_owned();
    (id, manifest["manifestVersion"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_brought_up_deployed_to_updated_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let up = Up::start(dir);
    let device = device(dir);
    let (_outer, compose) = compose_dir();
    assert!(refusal(dir, &["deploy", &compose]).contains("no device"), "nobody has reported yet");
    assert_eq!(device.put_capabilities("edge-1").await.status, 201);
    assert!(up.line("capabilities").contains("edge-1 (Acme M1 S1)"));

    let rootfs = tempfile::tempdir().unwrap();
    std::fs::write(rootfs.path().join("hello"), "hello").unwrap();
    let image = format!("lab/app:1={}", rootfs.path().display());
    let id = text(dir, &["deploy", &compose, "--param", "PORT=8080", "--image", &image]);
    assert!(up.line("published").contains("manifest 2 with 1 deployment"));
    assert_eq!(listed(&device).await, (id.clone(), 2));
    up.line("served");
    assert_eq!(device.report(&id, 2, "shop", "installing").await.status, 201);
    assert!(up.line("status").contains("installing"));

    let shown = status(dir);
    let deployment = &shown["clients"][0]["deployments"][0];
    assert_eq!(deployment["latest"]["state"], "installing");
    assert_eq!(deployment["is_converged"], false);
    assert_eq!(shown["clients"][0]["devices"]["edge-1"]["body"]["properties"]["vendor"], "Acme");
    let people = text(dir, &["status"]);
    assert!(people.contains("shop: installing") && people.contains("edge-1"), "{people}");
    let images: Value = serde_json::from_str(&text(dir, &["--json", "images"])).unwrap();
    let names: Vec<&str> =
        images.as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lab/app", "lab/shop"]);

    // A waiting update ends with the device's report, and its exit code tells which.
    let waiting = {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || {
            run(&dir, &["update", "shop", &compose_again(), "--wait"])
        })
    };
    up.line("published");
    assert_eq!(listed(&device).await.1, 3);
    let failed = json!({"deploymentId": id, "adoptedManifestVersion": 3,
        "status": {"state": "failed",
                   "error": {"code": "START_FAILED", "source": "shop", "message": "exit 1"}},
        "components": [{"name": "shop", "state": "failed",
                        "error": {"code": "START_FAILED", "source": "shop", "message": "exit 1"}}]});
    let path = format!("/api/v1/deployments/{id}/status");
    device.send_json(reqwest::Method::POST, &path, &failed).await;
    let output = waiting.await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("START_FAILED: exit 1"));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the device reported failed"));

    let reports: Value = serde_json::from_str(&text(dir, &["--json", "reports", "shop"])).unwrap();
    assert_eq!(reports.as_array().unwrap().len(), 2);
    assert_eq!(text(dir, &["remove", &id[..8]]), id);
    let manifest = device.manifest().await.json();
    assert_eq!(manifest, json!({"manifestVersion": 4, "bundle": null, "deployments": []}));
    assert!(refusal(dir, &["remove", "shop"]).contains("has no deployment `shop`"));
    let requests = text(dir, &["requests", "--service", "wfm"]);
    assert!(requests.contains("GET /api/v1/deployments -> 200"), "{requests}");
    assert!(text(dir, &["wire"]).contains("B received"));
}

/// Another content for the same application.
fn compose_again() -> String {
    let (outer, path) = compose_dir();
    std::fs::write(Path::new(&path).join("compose.yaml"), "services: {web: {image: b}}\n").unwrap();
    // The program reads it later; the system's temporary directory is cleaned by others.
    let _kept = outer.keep();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_services_and_identities_are_scripted_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let up = Up::start(dir);
    let device = device(dir);
    let set = ["fault", "set", "wfm", "status=503,retry-after=9", "--on", "get-manifest"];
    assert!(text(dir, &set).contains("fault 1"));
    assert_eq!(device.manifest().await.header("retry-after"), "9");
    assert!(up.line("fault").contains("status=503,retry-after=9 on get-manifest"));
    assert!(text(dir, &["fault", "list"]).contains("1 hits"));
    text(dir, &["fault", "clear", "1"]);
    assert_eq!(device.manifest().await.status, 200);
    assert!(refusal(dir, &["fault", "set", "wfm", "statos=503"]).contains("statos"));
    assert!(refusal(dir, &["fault", "set", "mis", "old-version"]).contains("makes no sense"));
    assert!(text(dir, &["fault", "kinds"]).contains("null-bundle"));

    text(dir, &["stop", "wfm"]);
    assert!(device.try_get("/api/v1/deployments").await.is_err());
    assert!(text(dir, &["status"]).contains("wfm is stopped"));
    text(dir, &["start", "wfm"]);
    assert_eq!(device.manifest().await.status, 200);
    text(dir, &["policy", "lab-client", "refuse"]);
    assert_eq!(device.manifest().await.status, 403);
    assert!(up.line("refused").contains("403"));

    let bad = dir.join("bad");
    text(dir, &["provision", bad.to_str().unwrap(), "--bad", "expired"]);
    let bad = device_from(&bad, &device.base, "spiffe://lab.example/margo/wfm/lab-wfm");
    assert!(bad.try_get("/api/v1/deployments").await.is_err());
    assert!(up.line("tls").contains("wfm"));
    assert!(text(dir, &["registry-auth", "basic"]).contains("done"));
    assert!(text(dir, &["rotate", "publish"]).contains("done"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_continues_an_earlier_run_and_refuses_a_second_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(refusal(dir, &["status"]).contains("no lab runs in"));
    let first = Up::start(dir);
    let device = device(dir);
    device.put_capabilities("edge-1").await;
    let (_outer, compose) = compose_dir();
    text(dir, &["deploy", &compose]);
    let second = refusal(dir, &["up"]);
    assert!(second.contains("another lab is running with"), "{second}");
    assert_eq!(device.manifest().await.status, 200, "the first one is unharmed");
    drop(first);

    let _again = Up::start(dir);
    assert_eq!(listed(&device).await.1, 2);
    let compose_in = std::fs::canonicalize(&compose).unwrap();
    text(dir, &["update", "shop", compose_in.to_str().unwrap()]);
    assert_eq!(listed(&device).await.1, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_shows_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let _up = Up::start(dir);
    let device = device(dir);
    let mut watch =
        command(dir).args(["--json", "status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["clients"][0]["devices"], json!({}));
    device.put_capabilities("edge-1").await;
    assert_eq!(next()["clients"][0]["devices"]["edge-1"]["count"], 1);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_deployed_as_firmware_and_replaced_under_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let _up = Up::start(dir);
    let device = device(dir);
    assert_eq!(device.put_capabilities("edge-1").await.status, 201);
    let bundle = dir.join("fw.raucb");
    std::fs::write(&bundle, "one").unwrap();
    let bundle = bundle.display().to_string();
    let id = text(dir, &["firmware", "press-os", &bundle]);
    assert_eq!(listed(&device).await, (id.clone(), 2));
    std::fs::write(&bundle, "two").unwrap();
    assert_eq!(text(dir, &["firmware", "press-os", &bundle]), id, "another bundle, the same id");
    assert_eq!(listed(&device).await, (id, 3));
    let images: Value = serde_json::from_str(&text(dir, &["--json", "images"])).unwrap();
    let tags: Vec<&str> =
        images.as_array().unwrap().iter().map(|image| image["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["1.0.0", "1.0.1"]);
    assert!(refusal(dir, &["firmware", "press-os", "/nowhere"]).contains("cannot read"));
}
