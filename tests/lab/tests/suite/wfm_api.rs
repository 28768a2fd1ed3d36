//! Every operation of the Workload Management API, as a raw client sees it.

use std::io::Read;

use crate::common::{Client, PATIENCE, capabilities, device, device_as, lab};
use flate2::read::GzDecoder;
use margo_lab::ids::sha256_digest;
use margo_lab::{ClientId, ComponentSpec, DeploymentSpec, Lab, State, SvidDefect, SvidOptions};
use reqwest::Method;
use serde_json::{Value, json};

fn spec(name: &str) -> DeploymentSpec {
    let component = ComponentSpec::new("web", "oci://127.0.0.1:1/lab/web", "1.0.0");
    DeploymentSpec::compose(name, vec![component])
}

/// File names and contents of a bundle.
fn unpacked(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(bundle));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

#[tokio::test]
async fn the_first_manifest_is_version_1_without_deployments_and_bundle_null() {
    let lab = lab().await;
    let answer = device(&lab).manifest().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/vnd.margo.manifest.v1+json");
    assert_eq!(answer.header("cache-control"), "private");
    assert_eq!(answer.header("etag"), format!("\"{}\"", sha256_digest(&answer.body)));
    assert_eq!(answer.json(), json!({"manifestVersion": 1, "bundle": null, "deployments": []}));
}

#[tokio::test]
async fn an_unchanged_manifest_is_304_and_a_change_is_the_next_version() {
    let lab = lab().await;
    let device = device(&lab);
    let first = device.manifest().await;
    let known = [("if-none-match", first.header("etag"))];
    let again = device.get_with("/api/v1/deployments", &known).await;
    assert_eq!(again.status, 304);
    assert!(again.body.is_empty());
    lab.deploy(spec("app")).unwrap();
    let changed = device.get_with("/api/v1/deployments", &known).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["manifestVersion"], 2);
    assert_eq!(lab.requests().last().unwrap().if_none_match.as_deref(), Some(known[0].1));
}

#[tokio::test]
async fn an_accept_header_that_excludes_the_manifest_is_406() {
    let lab = lab().await;
    let device = device(&lab);
    for (accept, is_acceptable) in [
        ("application/vnd.margo.manifest.v1+json", true),
        ("text/html, application/*;q=0.5", true),
        ("*/*", true),
        ("application/json", false),
        ("application/vnd.margo.manifest.v1+json;q=0", false),
    ] {
        let answer = device.get_with("/api/v1/deployments", &[("accept", accept)]).await;
        if is_acceptable {
            assert_eq!(answer.status, 200, "{accept}");
        } else {
            answer.assert_problem(406, "#server-cannot-generate-response");
        }
    }
}

#[tokio::test]
async fn bundle_and_single_documents_carry_the_same_bytes_under_their_digests() {
    let lab = lab().await;
    let device = device(&lab);
    let ids = [lab.deploy(spec("one")).unwrap(), lab.deploy(spec("two")).unwrap()];
    let manifest = device.manifest().await.json();
    let listed = manifest["deployments"].as_array().unwrap();
    assert_eq!(listed.len(), 2);

    let url = manifest["bundle"]["url"].as_str().unwrap();
    let bundle = device.get(url).await;
    let digest = manifest["bundle"]["digest"].as_str().unwrap();
    assert_eq!(sha256_digest(&bundle.body), digest);
    assert_eq!(url, format!("/api/v1/bundles/{digest}"));
    assert_eq!(bundle.header("content-type"), "application/vnd.margo.bundle.v1+tar+gzip");
    assert_eq!(bundle.header("etag"), format!("\"{digest}\""));
    assert_eq!(bundle.header("cache-control"), "private, max-age=31536000, immutable");
    assert_eq!(manifest["bundle"]["sizeBytes"], bundle.body.len());
    let etag = format!("\"{digest}\"");
    assert_eq!(device.get_with(url, &[("if-none-match", &etag)]).await.status, 304);

    let files = unpacked(&bundle.body);
    assert_eq!(files.len(), 2);
    for entry in listed {
        let id = entry["deploymentId"].as_str().unwrap();
        assert!(ids.iter().any(|known| known.as_str() == id));
        let document = device.get(entry["url"].as_str().unwrap()).await;
        assert_eq!(document.status, 200);
        assert_eq!(document.header("content-type"), "application/yaml");
        assert_eq!(sha256_digest(&document.body), entry["digest"].as_str().unwrap());
        let (_, packed) = files.iter().find(|(name, _)| *name == format!("{id}.yaml")).unwrap();
        assert_eq!(*packed, document.body);
        let read: Value =
            serde_saphyr::from_str(std::str::from_utf8(&document.body).unwrap()).unwrap();
        assert_eq!(read["id"], id);
    }
}

#[tokio::test]
async fn a_document_can_come_compressed_and_hashes_after_decoding() {
    let lab = lab().await;
    let device = device(&lab);
    lab.deploy(spec("app")).unwrap();
    let entry = device.manifest().await.json()["deployments"][0].clone();
    let url = entry["url"].as_str().unwrap();
    let answer = device.get_with(url, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("vary"), "Accept-Encoding");
    let mut decoded = Vec::new();
    GzDecoder::new(answer.body.as_slice()).read_to_end(&mut decoded).unwrap();
    assert_eq!(sha256_digest(&decoded), entry["digest"].as_str().unwrap());
}

#[tokio::test]
async fn older_content_stays_fetchable_and_unknown_content_is_404() {
    let lab = lab().await;
    let device = device(&lab);
    let id = lab.deploy(spec("app")).unwrap();
    let old = device.manifest().await.json();
    lab.update(&id, spec("app").parameter("X", "1")).unwrap();
    lab.remove(&id).unwrap();
    let now = device.manifest().await.json();
    assert_eq!(now, json!({"manifestVersion": 4, "bundle": null, "deployments": []}));
    for url in [&old["bundle"]["url"], &old["deployments"][0]["url"]] {
        assert_eq!(device.get(url.as_str().unwrap()).await.status, 200, "{url}");
    }
    let unknown = sha256_digest(b"unknown");
    let path = format!("/api/v1/bundles/{unknown}");
    device.get(&path).await.assert_problem(404, "#invalid-bundle");
    let path = format!("/api/v1/deployments/{id}/{unknown}");
    device.get(&path).await.assert_problem(404, "#deployment-not-found");
    let digest = old["deployments"][0]["digest"].as_str().unwrap();
    let path = format!("/api/v1/deployments/00000000-0000-4000-a000-000000000000/{digest}");
    device.get(&path).await.assert_problem(404, "#deployment-not-found");
}

#[tokio::test]
async fn capabilities_are_created_updated_deleted_and_kept_as_received() {
    let lab = lab().await;
    let device = device(&lab);
    assert_eq!(device.put_capabilities("edge-1").await.status, 201);
    assert_eq!(device.put_capabilities("edge-1").await.status, 200);
    let kept = lab.client().unwrap().devices["edge-1"].clone();
    assert_eq!(Value::Object(kept.body), capabilities("edge-1"));
    assert_eq!(kept.count, 2);

    let wrong = device.put_capabilities("gateway/child").await;
    wrong.assert_problem(404, "#gateway-not-found");
    assert_eq!(device.put_capabilities("gateway").await.status, 201);
    assert_eq!(device.put_capabilities("gateway/child").await.status, 201);

    let path = "/api/v1/capabilities/edge-1";
    let delete = || device.send(Method::DELETE, path, &[], "");
    assert_eq!(delete().await.unwrap().status, 204);
    delete().await.unwrap().assert_problem(404, "#device-not-found");
}

#[tokio::test]
async fn bad_capabilities_name_the_field() {
    let lab = lab().await;
    let device = device(&lab);
    let path = "/api/v1/capabilities/edge-1";
    let mut body = capabilities("edge-1");
    body["apiVersion"] = json!("v1");
    let answer = device.send_json(Method::PUT, path, &body).await;
    answer.assert_problem(400, "#invalid-request");
    assert_eq!(answer.json()["errors"][0]["field"], "apiVersion");
    let answer = device.send_json(Method::PUT, path, &capabilities("edge-2")).await;
    answer.assert_problem(422, "#semantic-error");
    assert_eq!(answer.json()["errors"][0]["field"], "properties.id");
    let answer = device.send(Method::PUT, path, &[("content-type", "text/plain")], "{}").await;
    answer.unwrap().assert_problem(400, "#invalid-request");
    let huge = "x".repeat(2 * 1024 * 1024);
    let answer = device.send(Method::PUT, path, &[("content-type", "application/json")], huge);
    answer.await.unwrap().assert_problem(400, "#invalid-request");
    assert!(lab.client().unwrap().devices.is_empty());
    let note = lab.requests()[0].note.clone().unwrap();
    assert!(note.contains("apiVersion"), "{note}");
}

#[tokio::test]
async fn reports_are_kept_in_order_with_their_raw_body() {
    let lab = lab().await;
    let device = device(&lab);
    let id = lab.deploy(spec("app")).unwrap();
    assert_eq!(device.report(id.as_str(), 2, "web", "installing").await.status, 201);
    assert_eq!(device.report(id.as_str(), 2, "web", "installed").await.status, 200);
    let states: Vec<State> = lab.reports_of(&id).iter().map(|report| report.state).collect();
    assert_eq!(states, [State::Installing, State::Installed]);
    let last = lab.reports().pop().unwrap();
    let raw: Value = serde_json::from_str(&last.raw).unwrap();
    assert_eq!(raw["adoptedManifestVersion"], 2);
    assert!(last.warnings.is_empty(), "{:?}", last.warnings);
    let view = lab.client().unwrap();
    assert!(view.deployments[0].is_converged);
}

#[tokio::test]
async fn bad_reports_are_refused_and_odd_ones_carry_a_warning() {
    let lab = lab().await;
    let device = device(&lab);
    let id = lab.deploy(spec("app")).unwrap();
    let wrong_component = device.report(id.as_str(), 2, "db", "installed").await;
    wrong_component.assert_problem(422, "#semantic-error");
    device.report(id.as_str(), 0, "web", "installed").await.assert_problem(400, "#invalid-request");
    let path = format!("/api/v1/deployments/{id}/status");
    let other = json!({"deploymentId": "other", "adoptedManifestVersion": 2,
        "status": {"state": "pending"}, "components": [{"name": "web", "state": "pending"}]});
    let answer = device.send_json(Method::POST, &path, &other).await;
    answer.assert_problem(422, "#semantic-error");
    assert!(lab.reports().is_empty());

    device.report(id.as_str(), 99, "web", "installed").await;
    assert!(lab.reports()[0].warnings[0].contains("the newest is 2"));
    device.report(id.as_str(), 2, "web", "installed").await;
    assert!(lab.reports()[1].warnings[0].contains("after 99"));
    device.report("00000000-0000-4000-a000-000000000000", 2, "x", "removed").await;
    assert!(lab.reports()[2].warnings[0].contains("never in the desired state"));
}

#[tokio::test]
async fn clients_do_not_see_each_other_and_policy_decides_per_request() {
    let lab = lab().await;
    let one = device(&lab);
    let other_id = ClientId::from("other");
    let other = device_as(&lab, &other_id, SvidOptions::default());
    lab.deploy(spec("app")).unwrap();
    let manifest = one.manifest().await.json();
    assert_eq!(other.manifest().await.json()["manifestVersion"], 1);
    let url = manifest["bundle"]["url"].as_str().unwrap();
    other.get(url).await.assert_problem(404, "#invalid-bundle");
    let url = manifest["deployments"][0]["url"].as_str().unwrap();
    other.get(url).await.assert_problem(404, "#deployment-not-found");

    lab.set_client_accepted(&other_id, false).unwrap();
    other.manifest().await.assert_problem(403, "#not-authorized");
    other.put_capabilities("edge-1").await.assert_problem(403, "#not-authorized");
    assert_eq!(one.manifest().await.status, 200);
    lab.set_client_accepted(&other_id, true).unwrap();
    assert_eq!(other.manifest().await.status, 200);
}

#[tokio::test]
async fn a_client_with_a_bad_svid_does_not_get_through_tls() {
    let lab = lab().await;
    let mut events = lab.events();
    for defect in SvidDefect::ALL {
        let bad = device_as(&lab, &ClientId::from("lab-client"), (*defect).into());
        let result = bad.try_get("/api/v1/deployments").await;
        assert!(result.is_err(), "{defect}: {result:?}");
    }
    let next = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(next.to_string().starts_with("tls"), "{next}");
    assert!(lab.requests().is_empty());
}

#[tokio::test]
async fn a_client_without_a_certificate_does_not_get_through_tls() {
    let lab = lab().await;
    let anchor: String = lab
        .pki()
        .anchors()
        .unwrap()
        .iter()
        .map(|der| {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        })
        .collect();
    let client = crate::common::web(&anchor, &lab.endpoints().wfm_url);
    assert!(client.try_get("/api/v1/deployments").await.is_err());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let lab = lab().await;
    let device = device(&lab);
    device.get("/api/v1/onboarding").await.assert_problem(404, "");
    device.get("/api/v1/capabilities/x").await.assert_problem(405, "");
}

#[tokio::test]
async fn the_api_can_be_mounted_under_a_base_path() {
    let config =
        margo_lab::LabConfig { wfm_base_path: "/v1alpha2/margo".to_owned(), ..Default::default() };
    let lab = Lab::start(config).await.unwrap();
    let device = device(&lab);
    assert!(device.base.ends_with("/v1alpha2/margo"));
    assert_eq!(device.manifest().await.status, 200);
    let root = device.base.trim_end_matches("/v1alpha2/margo").to_owned();
    let outside = Client { base: root, ..device };
    outside.get("/api/v1/deployments").await.assert_problem(404, "");
}
