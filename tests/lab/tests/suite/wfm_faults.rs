//! Every scripted fault of the fleet manager, as a raw client sees it.

use std::time::Duration;

use crate::common::{Client, PATIENCE, device, lab};
use flate2::read::GzDecoder;
use margo_lab::ids::sha256_digest;
use margo_lab::{
    ComponentSpec, DeploymentSpec, Fault, FaultKind, Lab, ManifestDefect, Operation, SvidDefect,
};
use serde_json::{Value, json};

async fn lab_with_deployment() -> (Lab, Client) {
    let lab = lab().await;
    let component = ComponentSpec::new("web", "oci://127.0.0.1:1/lab/web", "1.0.0");
    lab.deploy(DeploymentSpec::compose("app", vec![component])).unwrap();
    let device = device(&lab);
    (lab, device)
}

fn url(of: &Value) -> &str {
    of["url"].as_str().unwrap()
}

#[tokio::test]
async fn wrong_bytes_do_not_hash_to_the_digest_but_read_well() {
    let (lab, device) = lab_with_deployment().await;
    let manifest = device.manifest().await.json();
    lab.fault(Fault::wfm(FaultKind::WrongBytes).on(Operation::GetBundle).times(1)).unwrap();
    let bundle = device.get(url(&manifest["bundle"])).await;
    assert_ne!(sha256_digest(&bundle.body), manifest["bundle"]["digest"].as_str().unwrap());
    let mut archive = tar::Archive::new(GzDecoder::new(bundle.body.as_slice()));
    assert_eq!(archive.entries().unwrap().map(Result::unwrap).count(), 1);
    let bundle = device.get(url(&manifest["bundle"])).await;
    assert_eq!(sha256_digest(&bundle.body), manifest["bundle"]["digest"].as_str().unwrap());

    lab.fault(Fault::wfm(FaultKind::WrongBytes).on(Operation::GetDeployment)).unwrap();
    let document = device.get(url(&manifest["deployments"][0])).await;
    assert_ne!(
        sha256_digest(&document.body),
        manifest["deployments"][0]["digest"].as_str().unwrap()
    );
    let _yaml: Value =
        serde_saphyr::from_str(std::str::from_utf8(&document.body).unwrap()).unwrap();
}

#[tokio::test]
async fn a_status_fault_answers_with_the_type_that_fits_and_retry_after() {
    let (lab, device) = lab_with_deployment().await;
    let manifest = device.manifest().await.json();
    let bundle = url(&manifest["bundle"]);
    let document = url(&manifest["deployments"][0]);
    for (code, path, kind) in [
        (403, "/api/v1/deployments", "#not-authorized"),
        (406, "/api/v1/deployments", "#server-cannot-generate-response"),
        (404, bundle, "#invalid-bundle"),
        (404, document, "#deployment-not-found"),
        (429, "/api/v1/deployments", ""),
        (500, "/api/v1/deployments", ""),
        (503, bundle, ""),
    ] {
        let kind_of_fault = FaultKind::Status { code, retry_after_secs: None };
        lab.fault(Fault::wfm(kind_of_fault).times(1)).unwrap();
        let answer = device.get(path).await;
        answer.assert_problem(code, kind);
        assert_eq!(answer.json()["retryable"], [429, 500, 503].contains(&code), "{code}");
        assert!(answer.headers.get("retry-after").is_none());
    }
    let status = FaultKind::Status { code: 503, retry_after_secs: Some(7) };
    lab.fault(Fault::wfm(status).on(Operation::PostStatus).times(1)).unwrap();
    assert_eq!(device.manifest().await.status, 200, "another operation is not hit");
    let id = manifest["deployments"][0]["deploymentId"].as_str().unwrap();
    let answer = device.report(id, 2, "web", "installed").await;
    answer.assert_problem(503, "");
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.json()["retryAfterSeconds"], 7);
    assert!(lab.reports().is_empty(), "a refused report is not kept");
    assert_eq!(device.report(id, 2, "web", "installed").await.status, 201);
}

#[tokio::test]
async fn wrong_sizes_stick_to_the_version_so_that_its_body_never_changes() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::WrongSize).times(1)).unwrap();
    let first = device.manifest().await;
    assert_eq!(first.json()["bundle"]["sizeBytes"], 1);
    assert_eq!(first.json()["deployments"][0]["sizeBytes"], 1);
    assert_eq!(device.manifest().await.body, first.body);
}

#[tokio::test]
async fn an_extra_file_is_in_a_bundle_whose_digest_is_right() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::ExtraFile).times(1)).unwrap();
    let manifest = device.manifest().await.json();
    let bundle = device.get(url(&manifest["bundle"])).await;
    assert_eq!(sha256_digest(&bundle.body), manifest["bundle"]["digest"].as_str().unwrap());
    let mut archive = tar::Archive::new(GzDecoder::new(bundle.body.as_slice()));
    assert_eq!(archive.entries().unwrap().count(), 2);
    assert_eq!(manifest["deployments"].as_array().unwrap().len(), 1);
    let good = device.manifest().await.json();
    assert_ne!(good["bundle"]["digest"], manifest["bundle"]["digest"]);
}

#[tokio::test]
async fn an_old_version_is_the_earlier_manifest_byte_by_byte() {
    let lab = lab().await;
    let device = device(&lab);
    let old = device.manifest().await;
    lab.deploy(DeploymentSpec::compose("app", Vec::new())).unwrap();
    lab.fault(Fault::wfm(FaultKind::OldVersion).times(1)).unwrap();
    assert_eq!(device.manifest().await.body, old.body);
    assert_eq!(device.manifest().await.json()["manifestVersion"], 2);
}

#[tokio::test]
async fn an_equal_version_has_another_body_and_another_etag() {
    let (lab, device) = lab_with_deployment().await;
    let good = device.manifest().await;
    lab.fault(Fault::wfm(FaultKind::EqualVersion).times(1)).unwrap();
    let known = [("if-none-match", good.header("etag"))];
    let bad = device.get_with("/api/v1/deployments", &known).await;
    assert_eq!(bad.status, 200);
    assert_eq!(bad.json(), json!({"manifestVersion": 2, "bundle": null, "deployments": []}));
    assert_ne!(bad.header("etag"), good.header("etag"));
}

#[tokio::test]
async fn each_manifest_defect_breaks_its_rule() {
    let (lab, device) = lab_with_deployment().await;
    for defect in ManifestDefect::ALL {
        lab.fault(Fault::wfm(FaultKind::Manifest(*defect)).times(1)).unwrap();
        let answer = device.manifest().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("etag"), format!("\"{}\"", sha256_digest(&answer.body)));
        let parsed = serde_json::from_slice::<Value>(&answer.body);
        if *defect == ManifestDefect::Garbage {
            assert!(parsed.is_err());
            continue;
        }
        let manifest = parsed.unwrap();
        let listed = manifest["deployments"].as_array().unwrap();
        let is_there = match defect {
            ManifestDefect::BadAlgorithm => {
                listed[0]["digest"].as_str().unwrap().starts_with("sha512:")
            }
            ManifestDefect::DuplicateIds => {
                listed.len() == 2 && listed[0]["deploymentId"] == listed[1]["deploymentId"]
            }
            ManifestDefect::NullBundle => manifest["bundle"].is_null() && listed.len() == 1,
            ManifestDefect::MissingBundle => manifest.get("bundle").is_none(),
            ManifestDefect::FloatVersion => manifest["manifestVersion"].as_u64().is_none(),
            ManifestDefect::ZeroVersion => manifest["manifestVersion"] == 0,
            ManifestDefect::Oversize => answer.body.len() >= 64 * 1024 * 1024,
            ManifestDefect::Garbage => unreachable!("handled above"),
        };
        assert!(is_there, "{defect} is not in {manifest}");
    }
    assert_eq!(device.manifest().await.json()["deployments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cut_breaks_the_connection_after_the_effect() {
    let (lab, device) = lab_with_deployment().await;
    let manifest = device.manifest().await.json();
    lab.fault(Fault::wfm(FaultKind::Cut { after_bytes: 10 }).times(1)).unwrap();
    assert!(device.try_get(url(&manifest["bundle"])).await.is_err());
    assert_eq!(device.get(url(&manifest["bundle"])).await.status, 200);

    lab.fault(Fault::wfm(FaultKind::Cut { after_bytes: 0 }).times(1)).unwrap();
    let id = manifest["deployments"][0]["deploymentId"].as_str().unwrap();
    let body = json!({"deploymentId": id, "adoptedManifestVersion": 2,
        "status": {"state": "installed"}, "components": [{"name": "web", "state": "installed"}]});
    let path = format!("/api/v1/deployments/{id}/status");
    let headers = [("content-type", "application/json")];
    let result = device.send(reqwest::Method::POST, &path, &headers, body.to_string()).await;
    assert!(result.is_err(), "no answer arrives");
    assert_eq!(lab.reports().len(), 1, "but the report did");
    assert_eq!(lab.requests().last().unwrap().status, None);
}

#[tokio::test]
async fn a_slow_answer_is_whole_in_the_end() {
    let (lab, device) = lab_with_deployment().await;
    let whole = device.manifest().await;
    lab.fault(Fault::wfm(FaultKind::Slow { bytes_per_second: 2000 }).times(1)).unwrap();
    assert_eq!(device.manifest().await.body, whole.body);
    assert_eq!(lab.requests().last().unwrap().faults.len(), 1);
}

#[tokio::test]
async fn a_hanging_request_ends_when_the_fault_is_cleared() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::Hang).times(1)).unwrap();
    let hanging = tokio::spawn(async move { device.try_get("/api/v1/deployments").await });
    let has_arrived = |lab: &Lab| lab.requests().last().map(|request| request.status);
    let status = lab.wait_for("the request", PATIENCE, has_arrived).await.unwrap();
    assert_eq!(status, None);
    assert!(!hanging.is_finished());
    lab.clear_faults();
    let result = tokio::time::timeout(PATIENCE, hanging).await.unwrap().unwrap();
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn headers_can_be_missing_or_wrong() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::NoEtag).times(1)).unwrap();
    let answer = device.manifest().await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, ""));
    lab.fault(Fault::wfm(FaultKind::WrongContentType).times(1)).unwrap();
    assert_eq!(device.manifest().await.header("content-type"), "text/html");
    assert_ne!(device.manifest().await.header("content-type"), "text/html");
}

#[tokio::test]
async fn each_bad_server_certificate_is_shown_and_then_the_good_one_again() {
    let (lab, device) = lab_with_deployment().await;
    for defect in SvidDefect::ALL {
        lab.fault(Fault::wfm(FaultKind::ServerSvid(*defect)).times(1)).unwrap();
        let result = device.try_get("/api/v1/deployments").await;
        assert!(result.is_err(), "a server with {defect} was accepted");
        assert_eq!(device.manifest().await.status, 200, "after {defect}");
    }
}

#[tokio::test]
async fn a_refused_connection_never_reaches_http() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::Refuse)).unwrap();
    assert!(device.try_get("/api/v1/deployments").await.is_err());
    assert!(lab.requests().is_empty());
    assert_eq!(lab.wire(margo_lab::Service::Wfm)[0].sent_bytes, 0);
    lab.clear_faults();
    assert_eq!(device.manifest().await.status, 200);
}

#[tokio::test]
async fn a_stopped_service_is_gone_and_comes_back_on_its_port() {
    let (lab, device) = lab_with_deployment().await;
    lab.stop_wfm().await;
    let error = device.try_get("/api/v1/deployments").await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    lab.start_wfm().await.unwrap();
    assert_eq!(device.manifest().await.json()["manifestVersion"], 2);
    lab.start_wfm().await.unwrap();
}

#[tokio::test]
async fn stopping_cuts_connections_that_are_in_use() {
    let (lab, device) = lab_with_deployment().await;
    lab.fault(Fault::wfm(FaultKind::Hang)).unwrap();
    let hanging = tokio::spawn(async move { device.try_get("/api/v1/deployments").await });
    let has_arrived = |lab: &Lab| lab.requests().pop();
    lab.wait_for("the request", PATIENCE, has_arrived).await.unwrap();
    lab.stop_wfm().await;
    let result = tokio::time::timeout(PATIENCE, hanging).await.unwrap().unwrap();
    assert!(result.is_err());
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_by_name() {
    let lab = lab().await;
    let error = lab.fault(Fault::registry(FaultKind::OldVersion)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("`old-version`") && source.contains("registry"), "{source}");
    let nothing = lab.wait_for("nothing", Duration::ZERO, |_| None::<()>).await;
    assert!(nothing.unwrap_err().to_string().contains("nothing"));
}
