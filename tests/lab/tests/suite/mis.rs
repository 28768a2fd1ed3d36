//! The trust-bundle service, its faults, and what an anchor rotation does to both sides.

use crate::common::{Client, device, lab, web};
use margo_lab::pki::RotationStep;
use margo_lab::{Fault, FaultKind, Lab, Service};
use serde_json::Value;

fn mis(lab: &Lab) -> Client {
    web(&lab.pki().web_anchor_pem(), "")
}

#[tokio::test]
async fn discovery_names_the_bundle_and_the_bundle_carries_the_anchor() {
    let lab = lab().await;
    let mis = mis(&lab);
    let discovery = mis.get(&lab.endpoints().discovery_url).await.json();
    assert_eq!(discovery["trustDomain"], "lab.example");
    let uri = discovery["trustBundleUri"].as_str().unwrap().to_owned();
    assert_eq!(uri, lab.endpoints().trust_bundle_uri);
    let answer = mis.get(&uri).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let bundle = answer.json();
    assert_eq!(bundle["spiffe_sequence"], 1);
    assert!(bundle["spiffe_refresh_hint"].is_u64());
    assert_eq!(bundle["keys"].as_array().unwrap().len(), 1);
    let known = [("if-none-match", answer.header("etag"))];
    assert_eq!(mis.get_with(&uri, &known).await.status, 304);
    lab.pki().set_refresh_hint(7).unwrap();
    let changed = mis.get_with(&uri, &known).await;
    assert_eq!(changed.json()["spiffe_refresh_hint"], 7);
}

#[tokio::test]
async fn the_service_is_vouched_for_by_the_web_authority_only() {
    let lab = lab().await;
    let other = Lab::start(Default::default()).await.unwrap();
    let stranger = web(&other.pki().web_anchor_pem(), "");
    assert!(stranger.try_get(&lab.endpoints().discovery_url).await.is_err());
}

#[tokio::test]
async fn bundles_can_be_empty_old_or_missing() {
    let lab = lab().await;
    let (mis, uri) = (mis(&lab), lab.endpoints().trust_bundle_uri.clone());
    lab.fault(Fault::mis(FaultKind::EmptyBundle).times(1)).unwrap();
    assert_eq!(mis.get(&uri).await.json()["keys"], Value::Array(Vec::new()));
    lab.fault(Fault::mis(FaultKind::LowerSequence).times(1)).unwrap();
    assert_eq!(mis.get(&uri).await.json()["spiffe_sequence"], 0);
    lab.fault(Fault::mis(FaultKind::Status { code: 404, retry_after_secs: None }).times(1))
        .unwrap();
    mis.get(&uri).await.assert_problem(404, "");
    lab.fault(Fault::mis(FaultKind::Cut { after_bytes: 5 }).times(1)).unwrap();
    assert!(mis.try_get(&uri).await.is_err());
    assert_eq!(mis.get(&uri).await.json()["spiffe_sequence"], 1);
    lab.stop(Service::Mis).await;
    assert!(mis.try_get(&uri).await.is_err());
    lab.resume(Service::Mis).await.unwrap();
    assert_eq!(mis.get(&uri).await.status, 200);
}

#[tokio::test]
async fn a_rotation_is_seen_in_the_bundle_and_in_the_servers_certificate() {
    let lab = lab().await;
    let (mis, uri) = (mis(&lab), lab.endpoints().trust_bundle_uri.clone());
    let old_device = device(&lab);
    lab.rotate_anchor(RotationStep::Publish).unwrap();
    let both = mis.get(&uri).await.json();
    assert_eq!(both["keys"].as_array().unwrap().len(), 2);
    assert_eq!(both["spiffe_sequence"], 2);
    assert_eq!(old_device.manifest().await.status, 200);

    let refreshed = device(&lab);
    lab.rotate_anchor(RotationStep::Switch).unwrap();
    assert!(old_device.try_get("/api/v1/deployments").await.is_err(), "it knows one anchor only");
    assert_eq!(refreshed.manifest().await.status, 200, "old SVID, new bundle");
    lab.rotate_anchor(RotationStep::Retire).unwrap();
    assert!(refreshed.try_get("/api/v1/deployments").await.is_err(), "its SVID's anchor is gone");
    assert_eq!(device(&lab).manifest().await.status, 200);
}
