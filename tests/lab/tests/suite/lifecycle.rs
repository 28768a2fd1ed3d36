//! The lab over time: waiting for devices, restarts, and what a poll costs.

use std::path::Path;
use std::time::Duration;

use crate::common::{PATIENCE, device, device_from, lab, mutual_tls};
use margo_lab::{
    ComponentSpec, DeploymentSpec, Lab, LabConfig, LabError, Service, State, SvidDefect,
};

fn spec() -> DeploymentSpec {
    let component = ComponentSpec::new("web", "oci://127.0.0.1:1/lab/web", "1.0.0");
    DeploymentSpec::compose("app", vec![component])
}

fn config(dir: &Path) -> LabConfig {
    LabConfig { dir: Some(dir.to_owned()), ..LabConfig::default() }
}

#[tokio::test]
async fn waiting_ends_with_the_report_that_adopts_the_present_content() {
    let lab = lab().await;
    let device = device(&lab);
    let id = lab.deploy(spec()).unwrap();
    device.report(id.as_str(), 2, "web", "installed").await;
    lab.wait_status(&id, State::Installed, PATIENCE).await.unwrap();

    lab.update(&id, spec().parameter("X", "1")).unwrap();
    let early = lab.wait_status(&id, State::Installed, Duration::ZERO).await.unwrap_err();
    assert!(early.to_string().contains("adopted 2"), "{early}");
    let waiting = lab.wait_status(&id, State::Installed, PATIENCE);
    let reporting = async {
        lab.wait_served(PATIENCE).await.unwrap();
        device.report(id.as_str(), 3, "web", "installed").await
    };
    let polling = device.manifest();
    let (report, reported, _polled) = tokio::join!(waiting, reporting, polling);
    assert_eq!(report.unwrap().adopted_version, 3);
    assert_eq!(reported.status, 200);

    lab.remove(&id).unwrap();
    device.report(id.as_str(), 4, "web", "removed").await;
    lab.wait_status(&id, State::Removed, PATIENCE).await.unwrap();
    assert!(lab.remove(&id).is_err(), "it is gone already");
    assert!(lab.update(&id, spec()).is_err());
}

#[tokio::test]
async fn the_same_content_again_is_a_new_version_but_the_old_adoption_counts() {
    let lab = lab().await;
    let device = device(&lab);
    let id = lab.deploy(spec()).unwrap();
    device.report(id.as_str(), 2, "web", "installed").await;
    lab.update(&id, spec()).unwrap();
    assert_eq!(lab.version(), 3);
    lab.wait_status(&id, State::Installed, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_deployment_without_a_device_goes_to_the_only_one_reported() {
    let lab = lab().await;
    let device = device(&lab);
    device.put_capabilities("edge-7").await;
    lab.deploy(spec()).unwrap();
    let manifest = device.manifest().await.json();
    let document = device.get(manifest["deployments"][0]["url"].as_str().unwrap()).await;
    assert!(String::from_utf8(document.body).unwrap().contains("deviceId: \"edge-7\""));

    let none = LabConfig { device_id: None, ..LabConfig::default() };
    let error = Lab::start(none).await.unwrap().deploy(spec()).unwrap_err();
    assert!(error.to_string().contains("no device"), "{error}");
}

#[tokio::test]
async fn a_restarted_lab_continues_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let provisioned = tempfile::tempdir().unwrap();
    let first = Lab::start(config(dir.path())).await.unwrap();
    first.provision(provisioned.path()).unwrap();
    let (url, wfm) = (first.endpoints().wfm_url.clone(), first.pki().wfm_spiffe_id());
    let device = device_from(provisioned.path(), &url, &wfm);
    device.put_capabilities("edge-1").await;
    let id = first.deploy(spec()).unwrap();
    device.report(id.as_str(), 2, "web", "installed").await;
    let manifest = device.manifest().await;
    let compose = "services: {}\n";
    let pushed = first.registry().push_compose_text("lab/web", "1.0.0", compose).unwrap();
    assert!(matches!(Lab::start(config(dir.path())).await, Err(LabError::InUse { .. })));
    first.shutdown().await;

    let second = Lab::start(config(dir.path())).await.unwrap();
    assert_eq!(second.endpoints().wfm_url, url, "the ports are kept");
    assert_eq!(device.manifest().await.body, manifest.body, "the device's identity still holds");
    assert_eq!(second.reports_of(&id).len(), 1);
    assert_eq!(second.client().unwrap().devices.len(), 1);
    assert_eq!(second.spec(&id), Some(spec()));
    second.remove(&id).unwrap();
    assert_eq!(second.version(), 3, "the sequence goes on");
    let digests: Vec<String> = second.registry().tags().into_iter().map(|(_, _, d)| d).collect();
    assert_eq!(digests, [pushed.digest]);
    let url = manifest.json()["bundle"]["url"].as_str().unwrap().to_owned();
    assert_eq!(device.get(&url).await.status, 200, "older content is still there");
}

#[tokio::test]
async fn a_damaged_state_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wfm")).unwrap();
    std::fs::write(dir.path().join("wfm/clients.json"), "{").unwrap();
    let error = Lab::start(config(dir.path())).await.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(text.contains("clients.json"), "{text}");
}

#[tokio::test]
async fn bytes_are_counted_below_tls_for_each_connection() {
    let lab = lab().await;
    let dir = tempfile::tempdir().unwrap();
    lab.provision(dir.path()).unwrap();
    let keep_alive = reqwest::Client::builder()
        .tls_backend_preconfigured(mutual_tls(dir.path(), &lab.pki().wfm_spiffe_id()))
        .http1_only()
        .build()
        .unwrap();
    let url = format!("{}/api/v1/deployments", lab.endpoints().wfm_url);
    let mut sent = Vec::new();
    for _ in 0..2 {
        let answer = keep_alive.get(&url).send().await.unwrap();
        let body = answer.bytes().await.unwrap();
        let connection = lab.wire(Service::Wfm).pop().unwrap();
        assert!(connection.sent_bytes > u64::try_from(body.len()).unwrap());
        sent.push(connection.sent_bytes);
    }
    let connections = lab.wire(Service::Wfm);
    assert_eq!(connections.len(), 1, "the connection was kept");
    assert_eq!(connections[0].requests, 2);
    assert!(connections[0].is_open);
    assert!(sent[1] - sent[0] < sent[0], "the second poll needs no handshake: {sent:?}");
}

#[tokio::test]
async fn the_provisioning_directory_keeps_its_key_private() {
    use std::os::unix::fs::PermissionsExt;
    let lab = lab().await;
    let dir = tempfile::tempdir().unwrap();
    assert!(!lab.is_provisioned(dir.path()));
    lab.provision(dir.path()).unwrap();
    assert!(lab.is_provisioned(dir.path()));
    assert!(!crate::common::lab().await.is_provisioned(dir.path()), "another lab has other ports");
    lab.provision_client(dir.path(), &lab.config().client_id, SvidDefect::Expired.into()).unwrap();
    assert!(!lab.is_provisioned(dir.path()), "an expired SVID is to be renewed");
    lab.provision(dir.path()).unwrap();
    let mode = std::fs::metadata(dir.path().join("svid.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(dir.path().join("svid.key")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "bootstrap-anchors.pem",
            "bundle.json",
            "endpoints.json",
            "margo-provision.toml",
            "svid.key",
            "svid.pem"
        ]
    );
}
