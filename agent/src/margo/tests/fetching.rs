//! Fetching documents: both ways, falling back, never returning anything unverified.

use super::bundles::{Entry, bundle_of};
use super::server::{Reply, Seen, Setup, answer, lab};
use crate::artifacts::digest;
use crate::margo::{FetchPreference, StateManifest, WfmError};
use state_machine::failure::Code;
use std::collections::BTreeMap;
use tar::EntryType;

const IDS: [&str; 2] =
    ["0b9c1d52-6f0e-4a57-9d0e-5a8a3f6f0c11", "1b9c1d52-6f0e-4a57-9d0e-5a8a3f6f0c11"];
const DOCUMENTS: [&[u8]; 2] = [b"one", b"two"];

fn bundle() -> Vec<u8> {
    let entries: Vec<Entry<'_>> =
        vec![("a", EntryType::Regular, DOCUMENTS[0]), ("b", EntryType::Regular, DOCUMENTS[1])];
    bundle_of(&entries)
}

/// A manifest of both documents; `prefix` stands before every URL.
fn manifest(prefix: &str, bundle: &[u8]) -> StateManifest {
    let bundle = digest::of(bundle);
    let deployments: Vec<serde_json::Value> = IDS
        .iter()
        .zip(DOCUMENTS)
        .map(|(id, bytes)| {
            let digest = digest::of(bytes);
            let url = format!("{prefix}/api/v1/deployments/{id}/{digest}");
            serde_json::json!({"deploymentId": id, "digest": digest, "url": url})
        })
        .collect();
    let body = serde_json::json!({
        "manifestVersion": 1,
        "bundle": {
            "mediaType": "application/vnd.margo.bundle.v1+tar+gzip",
            "digest": bundle,
            "url": format!("{prefix}/api/v1/bundles/{bundle}"),
        },
        "deployments": deployments,
    });
    StateManifest::parse(body.to_string().as_bytes(), 8).unwrap()
}

fn is_bundle(seen: &Seen) -> bool {
    seen.line.contains("/bundles/")
}

fn document(seen: &Seen) -> Reply {
    let found = DOCUMENTS.iter().find(|bytes| seen.line.contains(digest::of(bytes).as_str()));
    answer(200, &[("content-type", "application/yaml")], found.unwrap())
}

#[tokio::test]
async fn more_than_one_missing_document_is_fetched_as_a_bundle() {
    let lab = lab(Setup::default(), |seen| {
        assert!(is_bundle(seen));
        answer(200, &[], &bundle())
    })
    .await;
    let manifest = manifest("", &bundle());
    let found = lab.client.fetch_deployments(&manifest, |_| false, FetchPreference::Auto).await;
    assert_eq!(found.unwrap().len(), 2);
    assert_eq!(lab.log.lines().len(), 1);
}

#[tokio::test]
async fn what_is_already_there_is_not_fetched() {
    let lab = lab(Setup::default(), document).await;
    let manifest = manifest("", &bundle());
    let have = digest::of(DOCUMENTS[0]);
    let prefer = FetchPreference::Auto;
    let found =
        lab.client.fetch_deployments(&manifest, |digest| *digest == have, prefer).await.unwrap();
    assert_eq!(found, BTreeMap::from([(digest::of(DOCUMENTS[1]), DOCUMENTS[1].into())]));
    assert_eq!(
        lab.log.lines(),
        [format!("GET /api/v1/deployments/{}/{} HTTP/1.1", IDS[1], digest::of(DOCUMENTS[1]))]
    );
    let found = lab.client.fetch_deployments(&manifest, |_| true, prefer).await.unwrap();
    assert!(found.is_empty());
    assert_eq!(lab.log.lines().len(), 1);
}

#[tokio::test]
async fn each_way_stands_in_for_the_other() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(&str, FetchPreference, Script); 5] = [
        ("no bundle", FetchPreference::Bundle, |seen| {
            if is_bundle(seen) { answer(404, &[], b"") } else { document(seen) }
        }),
        ("wrong bundle", FetchPreference::Bundle, |seen| {
            if is_bundle(seen) { answer(200, &[], b"other") } else { document(seen) }
        }),
        ("no documents", FetchPreference::Individual, |seen| {
            if is_bundle(seen) { answer(200, &[], &bundle()) } else { answer(404, &[], b"") }
        }),
        ("wrong documents", FetchPreference::Individual, |seen| {
            if is_bundle(seen) { answer(200, &[], &bundle()) } else { answer(200, &[], b"three") }
        }),
        ("one wrong document", FetchPreference::Individual, |seen| {
            if is_bundle(seen) {
                answer(200, &[], &bundle())
            } else if seen.line.contains(IDS[0]) {
                document(seen)
            } else {
                answer(200, &[], b"three")
            }
        }),
    ];
    for (name, prefer, script) in cases {
        let lab = lab(Setup::default(), script).await;
        let manifest = manifest("", &bundle());
        let found = lab.client.fetch_deployments(&manifest, |_| false, prefer).await.expect(name);
        for bytes in DOCUMENTS {
            assert_eq!(found[&digest::of(bytes)], bytes, "{name}");
        }
    }
}

#[tokio::test]
async fn a_mismatch_that_remains_fails_the_whole_fetch() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(&str, Script); 3] = [
        ("bundle wrong, documents gone", |seen| {
            if is_bundle(seen) { answer(200, &[], b"other") } else { answer(404, &[], b"") }
        }),
        ("bundle gone, one document wrong", |seen| {
            if is_bundle(seen) {
                answer(404, &[], b"")
            } else if seen.line.contains(IDS[0]) {
                document(seen)
            } else {
                answer(200, &[], b"three")
            }
        }),
        ("all wrong", |_| answer(200, &[], b"other")),
    ];
    for (name, script) in cases {
        for prefer in [FetchPreference::Bundle, FetchPreference::Individual] {
            let lab = lab(Setup::default(), script).await;
            let manifest = manifest("", &bundle());
            let result = lab.client.fetch_deployments(&manifest, |_| false, prefer).await;
            let failure = result.expect_err(name).to_failure();
            assert_eq!(failure.code, Code::ArtifactDigestMismatch, "{name} {prefer:?}");
        }
    }
}

#[tokio::test]
async fn a_bundle_with_the_right_digest_but_wrong_content_is_refused() {
    let extra: Vec<Entry<'_>> =
        vec![("a", EntryType::Regular, b"one"), ("b", EntryType::Regular, b"more")];
    let wrong = bundle_of(&extra);
    let served = wrong.clone();
    let lab = lab(Setup::default(), move |seen| {
        if is_bundle(seen) { answer(200, &[], &served) } else { answer(404, &[], b"") }
    })
    .await;
    let manifest = manifest("", &wrong);
    let result = lab.client.fetch_deployments(&manifest, |_| false, FetchPreference::Auto).await;
    assert!(matches!(result, Err(WfmError::Bundle { .. })), "{result:?}");
}

#[tokio::test]
async fn denial_and_pauses_are_not_answered_with_more_requests() {
    for (status, code) in [(403, Code::WfmDenied), (503, Code::WfmBusy)] {
        let lab = lab(Setup::default(), move |_| answer(status, &[], b"")).await;
        let manifest = manifest("", &bundle());
        let result =
            lab.client.fetch_deployments(&manifest, |_| false, FetchPreference::Auto).await;
        assert_eq!(result.unwrap_err().to_failure().code, code);
        assert_eq!(lab.log.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_absolute_url_of_the_same_origin_is_a_second_chance() {
    let lab = lab(Setup { base_path: "/base", ..Setup::default() }, |seen| {
        if seen.line.contains("/elsewhere/") { document(seen) } else { answer(404, &[], b"") }
    })
    .await;
    let origin = lab.base.trim_end_matches("/base").to_owned();
    let manifest_here = manifest(&format!("{origin}/elsewhere"), &bundle());
    let prefer = FetchPreference::Individual;
    let found = lab.client.fetch_deployments(&manifest_here, |_| false, prefer).await.unwrap();
    assert_eq!(found.len(), 2);
    let manifest_there = manifest("https://other.example/elsewhere", &bundle());
    let result = lab.client.fetch_deployments(&manifest_there, |_| false, prefer).await;
    assert!(matches!(result, Err(WfmError::NotFound { .. })), "{result:?}");
}
