//! The registry with a real container engine: what it pushes and pulls, and images made without it.

use std::process::{Command, Output};

use crate::common::lab;
use margo_lab::registry::{Healthcheck, ImageConfig, ImageFormat, RegistryAuth};
use margo_lab::{Fault, FaultKind, Lab, Operation};

/// Whether there is an engine; says loudly when there is none.
fn has_engine() -> bool {
    let found = Command::new("docker").arg("info").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let is_required = std::env::var("MARGO_REQUIRE_ENGINE").is_ok_and(|value| value == "1");
    assert!(!is_required, "MARGO_REQUIRE_ENGINE=1, but there is no Docker engine");
    println!("skipped: no Docker engine");
    false
}

/// Runs docker with its own empty configuration, so that a login here is nobody else's.
async fn docker(home: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.arg("--config").arg(home.path()).args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

async fn succeed(home: &tempfile::TempDir, arguments: &[&str]) -> String {
    let output = docker(home, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

async fn remove(home: &tempfile::TempDir, references: &[&str]) {
    for reference in references {
        docker(home, &["image", "rm", "--force", reference]).await;
    }
}

fn busybox(lab: &Lab, tag: &str, config: &ImageConfig) -> String {
    lab.registry().push_busybox_image("lab/busybox", tag, config).unwrap().reference
}

#[tokio::test]
async fn images_made_here_are_pulled_and_run_in_both_formats() {
    if !has_engine() {
        return;
    }
    let (lab, home) = (lab().await, tempfile::tempdir().unwrap());
    for format in [ImageFormat::Docker, ImageFormat::Oci] {
        let check = Healthcheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval: 1_000_000_000,
            timeout: 1_000_000_000,
            retries: 3,
        };
        let config = ImageConfig {
            env: vec!["WHO=lab".to_owned()],
            healthcheck: Some(check),
            format,
            ..ImageConfig::shell("echo hello from $WHO")
        };
        let reference = busybox(&lab, &format!("{format:?}").to_lowercase(), &config);
        succeed(&home, &["pull", &reference]).await;
        let said = succeed(&home, &["run", "--rm", "--network", "none", &reference]).await;
        assert_eq!(said, "hello from lab\n", "{format:?}");
        let health = "{{json .Config.Healthcheck.Test}}";
        let test = succeed(&home, &["inspect", "--format", health, &reference]).await;
        assert_eq!(test.trim(), "[\"CMD\",\"true\"]");
        remove(&home, &[&reference]).await;
    }
}

#[tokio::test]
async fn what_the_engine_pushes_it_can_pull_again_and_its_archives_can_be_imported() {
    if !has_engine() {
        return;
    }
    let (lab, home) = (lab().await, tempfile::tempdir().unwrap());
    let original = busybox(&lab, "1", &ImageConfig::shell("echo pushed"));
    let host = lab.registry().host().to_owned();
    let pushed = format!("{host}/lab/pushed:1");
    succeed(&home, &["pull", &original]).await;
    succeed(&home, &["tag", &original, &pushed]).await;
    succeed(&home, &["push", &pushed]).await;

    let archive = home.path().join("image.tar");
    let path = archive.to_str().unwrap();
    succeed(&home, &["save", "--output", path, &original]).await;
    let config = ImageConfig::default();
    let imported =
        lab.registry().push_image_from_path("lab/imported", "1", &archive, &config).unwrap();
    for reference in [&pushed, &imported.reference] {
        remove(&home, &[&original, &pushed, &imported.reference]).await;
        succeed(&home, &["pull", reference]).await;
        let said = succeed(&home, &["run", "--rm", "--network", "none", reference]).await;
        assert_eq!(said, "pushed\n", "{reference}");
    }
    remove(&home, &[&original, &pushed, &imported.reference]).await;
}

#[tokio::test]
async fn the_engine_logs_in_with_basic_and_with_bearer() {
    if !has_engine() {
        return;
    }
    let lab = lab().await;
    let reference = busybox(&lab, "private", &ImageConfig::shell("true"));
    let host = lab.registry().host().to_owned();
    let (user, password) = ("someone".to_owned(), "secret".to_owned());
    for auth in [
        RegistryAuth::Basic { user: user.clone(), password: password.clone() },
        RegistryAuth::Bearer { user: user.clone(), password: password.clone() },
    ] {
        let home = tempfile::tempdir().unwrap();
        lab.registry().set_auth(auth.clone());
        assert!(!docker(&home, &["pull", &reference]).await.status.success(), "{auth:?}");
        let login = ["login", "--username", &user, "--password", &password, &host];
        succeed(&home, &login).await;
        succeed(&home, &["pull", &reference]).await;
        remove(&home, &[&reference]).await;
    }
}

#[tokio::test]
async fn the_engine_resumes_or_restarts_a_blob_that_was_cut_and_refuses_wrong_bytes() {
    if !has_engine() {
        return;
    }
    let (lab, home) = (lab().await, tempfile::tempdir().unwrap());
    let reference = busybox(&lab, "cut", &ImageConfig::shell("echo cut"));
    let cut = FaultKind::Cut { after_bytes: 100_000 };
    lab.fault(Fault::registry(cut).on(Operation::PullBlob).times(1)).unwrap();
    succeed(&home, &["pull", &reference]).await;
    assert!(lab.faults().is_empty(), "the cut has happened");
    remove(&home, &[&reference]).await;

    let other = busybox(&lab, "wrong", &ImageConfig::shell("echo other"));
    lab.fault(Fault::registry(FaultKind::WrongBytes).on(Operation::PullBlob)).unwrap();
    let output = docker(&home, &["pull", &other]).await;
    assert!(!output.status.success(), "wrong bytes were accepted");
    remove(&home, &[&other]).await;
}
