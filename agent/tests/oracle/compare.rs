//! The comparison, and the differences that are meant.

use crate::fixtures;
use crate::normal::Snapshot;
use crate::support::{self, Bench, NO_WAIT};
use futures_util::{StreamExt, stream};
use margo_agent::compose::model::Project;
use margo_agent::engine::{Names, Unit, VolumePolicy};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Projects compared at once. Most of a comparison is waiting for the engine.
const AT_ONCE: usize = 4;

/// Differences that are meant, as path in the snapshot and reason. A path covers everything below it;
/// `*` stands for one step.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "containers.*.Config.Image",
        "created from the content id, so that a moved tag changes nothing; the reference is a label",
    ),
    (
        "containers.*.Config.Labels.org.margo.",
        "our own labels say whose container it is and from what it was made",
    ),
    (
        "containers.*.Config.Labels.com.docker.compose.",
        "compose's bookkeeping: we set what `docker compose ls` and `ps` need, not its hashes and paths",
    ),
    ("networks.*.Labels.org.margo.", "our own labels"),
    ("networks.*.Labels.com.docker.compose.", "compose's bookkeeping"),
    ("volumes.*.Labels.org.margo.", "our own labels"),
    ("volumes.*.Labels.com.docker.compose.", "compose's bookkeeping"),
];

fn compose_program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("MARGO_DOCKER_COMPOSE") {
        return Some(path.into());
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let dirs = [
        format!("{home}/.docker/cli-plugins"),
        "/usr/local/lib/docker/cli-plugins".to_owned(),
        "/usr/local/libexec/docker/cli-plugins".to_owned(),
        "/usr/lib/docker/cli-plugins".to_owned(),
        "/usr/libexec/docker/cli-plugins".to_owned(),
    ];
    dirs.iter().map(|dir| Path::new(dir).join("docker-compose")).find(|path| path.exists())
}

async fn compose(
    program: &Path,
    dir: &Path,
    project: &str,
    arguments: &[&str],
) -> Result<(), String> {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(["-p", project, "--project-directory"])
        .arg(dir)
        .arg("-f")
        .arg(dir.join("compose.yaml"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("DOCKER_HOST", format!("unix://{}", support::socket().display()))
        .envs(fixtures::parameters())
        .output()
        .await
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or_default().to_owned();
    Err(format!("docker compose {arguments:?}: {last}"))
}

/// All differences of two trees as `path: left | right`.
fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<(String, String)>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let side = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or(Value::Null)
                };
                differences(&format!("{path}.{key}"), &side(a), &side(b), found);
            }
        }
        _ if left == right => {}
        _ => found.push((path.trim_start_matches('.').to_owned(), format!("{left} | {right}"))),
    }
}

fn is_accepted(path: &str) -> bool {
    ACCEPTED.iter().any(|(pattern, _)| {
        let mut rest = path;
        for (index, part) in pattern.split('*').enumerate() {
            if index > 0 {
                let Some(dot) = rest.find('.') else { return false };
                rest = &rest[dot..];
            }
            let Some(after) = rest.strip_prefix(part) else { return false };
            rest = after;
        }
        true
    })
}

async fn compare(program: &Path, dir: &Path, project: Result<Project, String>) -> Option<String> {
    let bench = Bench::new().await?;
    let project = match project {
        Ok(project) => project,
        Err(why) => return Some(format!("  not loaded: {why}\n")),
    };
    let unit = Unit {
        archive_dir: dir.to_owned(),
        bind_roots: vec![PathBuf::from("/srv/lab"), dir.to_owned()],
        ..bench.unit(project)
    };
    let names = Names::new(&unit.deployment, &unit.component);

    let up = compose(program, dir, names.project(), &["up", "-d", "--quiet-pull"]).await;
    let theirs = Snapshot::take(&bench.docker, names.project(), &unit.project).await;
    let down = compose(program, dir, names.project(), &["down", "-v", "--timeout", "0"]).await;

    let applied = bench.engine.apply(&unit, &NO_WAIT).await;
    let ours = Snapshot::take(&bench.docker, names.project(), &unit.project).await;
    let deployment = bench.deployment.clone();
    let removed = bench.engine.remove_deployment(&deployment, VolumePolicy::Delete).await;

    let mut report = String::new();
    let ours_failed = [applied.map(|_| ()), removed].map(|result| result.map_err(|e| e.chain()));
    for error in ours_failed.into_iter().chain([up, down]).filter_map(Result::err) {
        writeln!(report, "  {error}").unwrap();
    }
    let mut found = Vec::new();
    differences("", &theirs.0, &ours.0, &mut found);
    for (path, values) in found.into_iter().filter(|(path, _)| !is_accepted(path)) {
        writeln!(report, "  {path}: {values}").unwrap();
    }
    (!report.is_empty()).then_some(report)
}

/// A directory of the host that is removed again, if it was not there before.
struct HostDirectory {
    path: Option<PathBuf>,
}

impl HostDirectory {
    fn new(path: &str) -> Self {
        let path = PathBuf::from(path);
        let is_ours = !path.exists();
        std::fs::create_dir_all(path.join("secrets")).unwrap();
        std::fs::write(path.join("secrets/token"), "s3cret").unwrap();
        Self { path: is_ours.then_some(path) }
    }
}

impl Drop for HostDirectory {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What is left behind is harmless.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

#[tokio::test]
async fn the_corpus_comes_up_as_under_docker_compose() {
    let must = std::env::var("MARGO_REQUIRE_ENGINE").is_ok_and(|value| value == "1");
    let Some(program) = compose_program() else {
        assert!(!must, "no docker compose found; set MARGO_DOCKER_COMPOSE");
        eprintln!("skipped: no docker compose found; set MARGO_DOCKER_COMPOSE");
        return;
    };
    if Bench::new().await.is_none() {
        return;
    }
    let only = std::env::var("MARGO_ORACLE_ONLY").unwrap_or_default();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose/corpus");
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    // The host's side of the corpus: bind mounts make their directories, a secret has to be there before.
    let host = HostDirectory::new("/srv/lab");
    let name = |dir: &Path| dir.file_name().unwrap().to_str().unwrap().to_owned();
    dirs.retain(|dir| dir.is_dir() && name(dir).contains(&only));
    let compared = dirs.len();
    let found = stream::iter(&dirs)
        .map(|dir| compare(&program, dir, fixtures::load(dir)))
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut report = String::new();
    for (dir, found) in dirs.iter().zip(found) {
        if let Some(found) = found {
            write!(report, "{}:\n{found}", name(dir)).unwrap();
        }
    }
    drop(host);
    println!("compared {compared} compose files");
    assert!(compared >= 40 || !only.is_empty(), "the corpus is too small: {compared}");
    assert!(report.is_empty(), "docker compose | margo-agent\n{report}");
}

#[test]
fn accepted_patterns_match_by_steps() {
    assert!(is_accepted("containers.web-1.Config.Image"));
    assert!(is_accepted("containers.web-1.Config.Labels.org.margo.owner"));
    assert!(!is_accepted("containers.web-1.HostConfig.RestartPolicy.Name"));
    assert!(!is_accepted("containers.web-1.Config.Labels.mine"));
}
