//! The client against a scripted WFM: headers, statuses, transport errors, connection reuse.

use super::server::{Reply, Setup, answer, lab};
use crate::artifacts::digest;
use crate::identity::test_pki::NOW_UNIX_SECS;
use crate::margo::capabilities::{self, CapabilitySettings, HostFacts};
use crate::margo::status::Overall;
use crate::margo::wire::{DeploymentStatusManifest, MANIFEST_MEDIA_TYPE, State};
use crate::margo::{Accepted, DeviceId, Limits, Poll, WfmClient, WfmError};
use state_machine::failure::{Code, FailureClass};
use state_machine::ids::{DeploymentId, ManifestVersion};
use std::sync::atomic::{AtomicUsize, Ordering};

const EMPTY: &[u8] = br#"{"manifestVersion":3,"bundle":null,"deployments":[]}"#;
const ETAG: &str = "\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"";
const DEPLOYMENT: &str = "0b9c1d52-6f0e-4a57-9d0e-5a8a3f6f0c11";

#[tokio::test]
async fn a_poll_sends_what_it_must_and_no_more() {
    let lab = lab(Setup { base_path: "/some/base/", ..Setup::default() }, |seen| {
        if seen.header("if-none-match").is_some() {
            return answer(304, &[("etag", ETAG), ("cache-control", "private")], b"");
        }
        let kind = "Application/vnd.margo.manifest.v1+JSON; charset=utf-8";
        answer(200, &[("content-type", kind), ("etag", ETAG)], EMPTY)
    })
    .await;
    let Poll::Manifest(fetched) = lab.client.poll(None).await.unwrap() else { panic!("it is new") };
    assert_eq!(fetched.manifest.version, ManifestVersion(3));
    assert_eq!(fetched.etag.as_deref(), Some(ETAG));
    assert_eq!((&fetched.raw[..], &fetched.digest), (EMPTY, &digest::of(EMPTY)));
    assert_eq!(lab.client.poll(fetched.etag.as_deref()).await.unwrap(), Poll::NotModified);
    let seen = lab.log.seen.lock().unwrap();
    assert_eq!(seen[1].line, "GET /some/base/api/v1/deployments HTTP/1.1");
    assert_eq!(seen[1].header("accept"), Some(MANIFEST_MEDIA_TYPE));
    assert_eq!(seen[1].header("if-none-match"), Some(ETAG));
    assert_eq!(seen[1].headers.lines().filter(|line| !line.is_empty()).count(), 4);
    assert_eq!(lab.log.connections.load(Ordering::SeqCst), 1, "the connection is kept");
}

#[tokio::test]
async fn the_same_manifest_again_is_nothing_new_even_without_entity_tags() {
    let lab =
        lab(Setup::default(), |_| answer(200, &[("content-type", MANIFEST_MEDIA_TYPE)], EMPTY))
            .await;
    let Poll::Manifest(fetched) = lab.client.poll(None).await.unwrap() else { panic!("it is new") };
    let etag = format!("\"{}\"", digest::of(EMPTY));
    assert_eq!(fetched.etag.as_ref(), Some(&etag));
    assert_eq!(lab.client.poll(Some(&etag)).await.unwrap(), Poll::NotModified);
    let other = lab.client.poll(Some(ETAG)).await.unwrap();
    assert!(matches!(other, Poll::Manifest(_)), "other content is for the machine to judge");
}

#[tokio::test]
async fn an_unchanged_poll_costs_at_most_600_bytes_on_the_wire() {
    let lab = lab(Setup::default(), |_| {
        let date = ("date", "Sat, 21 Nov 2026 03:11:00 GMT");
        answer(304, &[("etag", ETAG), ("cache-control", "private"), date], b"")
    })
    .await;
    for _ in 0..2 {
        lab.client.poll(Some(ETAG)).await.unwrap();
    }
    let before = lab.log.wire_bytes.load(Ordering::SeqCst);
    lab.client.poll(Some(ETAG)).await.unwrap();
    let cost = lab.log.wire_bytes.load(Ordering::SeqCst) - before;
    assert!((1..=600).contains(&cost), "{cost} bytes");
}

#[tokio::test]
async fn an_old_connection_is_replaced() {
    let limits = Limits { max_connection_age_ms: 0, ..Limits::default() };
    let lab = lab(Setup { limits, ..Setup::default() }, |_| answer(304, &[], b"")).await;
    for _ in 0..3 {
        lab.client.poll(Some(ETAG)).await.unwrap();
    }
    assert_eq!(lab.log.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_protocol_errors() {
    let kind = ("content-type", MANIFEST_MEDIA_TYPE);
    type Script = (&'static str, fn() -> Reply, fn(&WfmError) -> bool);
    let cases: [Script; 9] = [
        ("no media type", || answer(200, &[], EMPTY), |e| matches!(e, WfmError::Protocol { .. })),
        (
            "a login page",
            || answer(200, &[("content-type", "text/html")], b"<html>"),
            |e| matches!(e, WfmError::Protocol { .. }),
        ),
        ("304 unasked", || answer(304, &[], b""), |e| matches!(e, WfmError::Protocol { .. })),
        ("204", || answer(204, &[], b""), |e| matches!(e, WfmError::Protocol { .. })),
        (
            "redirect",
            || answer(302, &[("location", "https://127.0.0.1:1/")], b""),
            |e| matches!(e, WfmError::Protocol { .. }),
        ),
        (
            "encoding",
            || answer(200, &[("content-encoding", "br")], EMPTY),
            |e| matches!(e, WfmError::Protocol { .. }),
        ),
        (
            "malformed",
            || answer(200, &[("content-type", MANIFEST_MEDIA_TYPE)], b"{}"),
            |e| matches!(e, WfmError::Manifest { .. }),
        ),
        (
            "announced too large",
            || Reply::Keep(b"HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n".to_vec()),
            |e| matches!(e, WfmError::TooLarge { .. }),
        ),
        (
            "not HTTP",
            || Reply::Cut(b"SSH-2.0-x\r\n\r\n".to_vec()),
            |e| matches!(e, WfmError::Unreachable { .. }),
        ),
    ];
    let limits = Limits { manifest_bytes_max: 1000, ..Limits::default() };
    for (name, reply, expected) in cases {
        let setup = Setup { limits: limits.clone(), ..Setup::default() };
        let lab = lab(setup, move |_| reply()).await;
        let error = lab.client.poll(None).await.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
    // Too large without saying so.
    let endless = |chunk: &[u8]| {
        let mut bytes = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..100 {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    };
    let lab =
        lab(Setup { limits, ..Setup::default() }, move |_| Reply::Keep(endless(&[b' '; 100])))
            .await;
    let error = lab.client.poll(None).await.unwrap_err();
    assert!(matches!(error, WfmError::TooLarge { size_bytes_max: 1000, .. }), "{kind:?} {error:?}");
}

#[tokio::test]
async fn a_gzip_encoded_answer_is_decoded_before_anything_else() {
    use std::io::Write;
    let lab = lab(Setup::default(), |_| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(EMPTY).unwrap();
        let headers = [("content-type", MANIFEST_MEDIA_TYPE), ("content-encoding", "gzip")];
        answer(200, &headers, &encoder.finish().unwrap())
    })
    .await;
    let Poll::Manifest(fetched) = lab.client.poll(None).await.unwrap() else { panic!("it is new") };
    assert_eq!(fetched.digest, digest::of(EMPTY));
    let own_tag = format!("\"{}\"", digest::of(EMPTY));
    assert_eq!(fetched.etag, Some(own_tag), "made from the body the WFM meant");
}

#[tokio::test]
async fn every_status_has_its_error_code_and_class() {
    use FailureClass::{Permanent, Retryable};
    let typed = |name: &str| {
        format!(r#"{{"type":"https://docs.margo.org/specification/problem-types#{name}"}}"#)
    };
    let retry = r#"{"retryAfterSeconds": 7}"#.to_owned();
    let none = String::new;
    let day_ms = 24 * 3600 * 1000;
    type Case = (u16, Vec<(&'static str, &'static str)>, String, Code, FailureClass, Option<u64>);
    let cases: Vec<Case> = vec![
        (403, vec![], none(), Code::WfmDenied, Permanent, None),
        (401, vec![], none(), Code::WfmDenied, Permanent, None),
        (400, vec![], typed("not-authorized"), Code::WfmDenied, Permanent, None),
        (404, vec![], none(), Code::WfmProtocol, Retryable, None),
        (404, vec![], typed("device-not-found"), Code::WfmProtocol, Retryable, None),
        (406, vec![], none(), Code::WfmProtocol, Permanent, None),
        (400, vec![], typed("invalid-request"), Code::WfmProtocol, Permanent, None),
        (422, vec![], none(), Code::WfmProtocol, Permanent, None),
        (409, vec![], r#"{"retryable":true}"#.into(), Code::WfmProtocol, Retryable, None),
        (501, vec![], none(), Code::WfmProtocol, Permanent, None),
        (429, vec![("retry-after", "30")], none(), Code::WfmBusy, Retryable, Some(30_000)),
        (503, vec![("retry-after", "30")], retry.clone(), Code::WfmBusy, Retryable, Some(30_000)),
        (503, vec![], retry.clone(), Code::WfmBusy, Retryable, Some(7_000)),
        (503, vec![("retry-after", "soon")], retry, Code::WfmBusy, Retryable, Some(7_000)),
        (500, vec![], none(), Code::WfmBusy, Retryable, None),
        (500, vec![("retry-after", "9999999")], none(), Code::WfmBusy, Retryable, Some(day_ms)),
        (
            503,
            vec![
                ("date", "Sun, 06 Nov 1994 08:49:30 GMT"),
                ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ],
            none(),
            Code::WfmBusy,
            Retryable,
            Some(7_000),
        ),
        (503, vec![], r#"{"retryable":false}"#.into(), Code::WfmBusy, Permanent, None),
    ];
    for (status, headers, body, code, class, retry_after_ms) in cases {
        let shown = format!("{status} {headers:?} {body}");
        let lab = lab(Setup::default(), move |_| answer(status, &headers, body.as_bytes())).await;
        let failure = lab.client.poll(None).await.expect_err(&shown).to_failure();
        assert_eq!((failure.code, failure.class), (code, class), "{shown}");
        assert_eq!(failure.retry_after_ms, retry_after_ms, "{shown}");
    }
}

#[tokio::test]
async fn a_huge_or_cut_problem_does_not_hide_the_status() {
    let lab = lab(Setup::default(), |_| {
        Reply::Cut(b"HTTP/1.1 403 X\r\ncontent-length: 99\r\n\r\n{\"type".to_vec())
    })
    .await;
    assert!(matches!(lab.client.poll(None).await, Err(WfmError::Denied { .. })));
    let lab = super::server::lab(Setup::default(), |_| answer(403, &[], &[b'x'; 50_000])).await;
    assert!(matches!(lab.client.poll(None).await, Err(WfmError::Denied { .. })));
}

#[tokio::test]
async fn lost_connections_and_silence_are_unreachable_and_not_reused() {
    let calls = AtomicUsize::new(0);
    let limits = Limits { request_timeout_ms: 300, ..Limits::default() };
    let lab = lab(Setup { limits, ..Setup::default() }, move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Cut(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\nhalf".to_vec()),
            1 => Reply::Hang,
            _ => answer(304, &[], b""),
        }
    })
    .await;
    for name in ["cut", "silent"] {
        let error = lab.client.poll(Some(ETAG)).await.expect_err(name);
        assert!(matches!(error, WfmError::Unreachable { .. }), "{name}: {error:?}");
        assert_eq!(error.to_failure().code, Code::WfmUnreachable);
    }
    assert_eq!(lab.client.poll(Some(ETAG)).await.unwrap(), Poll::NotModified);
    assert_eq!(lab.log.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let lab = lab(Setup::default(), |_| Reply::Hang).await;
    let tls = lab.client.http.tls_for_tests();
    let client =
        WfmClient::new(&format!("https://127.0.0.1:{port}"), tls, Limits::default()).unwrap();
    let failure = client.poll(None).await.unwrap_err().to_failure();
    assert_eq!((failure.code, failure.class), (Code::WfmUnreachable, FailureClass::Retryable));
}

#[tokio::test]
async fn trust_failures_are_told_apart_and_send_nothing() {
    let other_wfm = "spiffe://factory.example/margo/wfm/w2";
    let setups = [
        (
            Setup { wfm_id: other_wfm, ..Setup::default() },
            Code::WfmUntrusted,
            "WFM is not trusted: peer is spiffe://factory.example/margo/wfm/w2, not spiffe://",
        ),
        (
            Setup { clock_floor: NOW_UNIX_SECS + 1, ..Setup::default() },
            Code::ClockBehind,
            "device clock says",
        ),
        (Setup { client_is_foreign: true, ..Setup::default() }, Code::IdentityInvalid, "refuses"),
    ];
    for (setup, code, text) in setups {
        let lab = lab(setup, |_| answer(304, &[], b"")).await;
        let error = lab.client.poll(Some(ETAG)).await.unwrap_err();
        let failure = error.to_failure();
        assert_eq!((failure.code, failure.class), (code, FailureClass::Retryable), "{error:?}");
        assert!(failure.message.contains(text), "{}", failure.message);
        assert!(lab.log.lines().is_empty(), "no request reached an unverified peer");
    }
}

#[tokio::test]
async fn capabilities_and_reports_are_sent_where_they_belong() {
    let calls = AtomicUsize::new(0);
    let lab = lab(Setup::default(), move |_| {
        let status = [201, 200, 201, 200, 204, 422][calls.fetch_add(1, Ordering::SeqCst)];
        answer(status, &[], b"")
    })
    .await;
    let device = DeviceId::parse("gateway/edge").unwrap();
    let settings = CapabilitySettings {
        vendor: "v".into(),
        model_number: "m".into(),
        serial_number: "s".into(),
        runtimes: vec!["oci".into()],
        deployment_types: vec!["compose".into()],
        ..CapabilitySettings::default()
    };
    let facts = HostFacts {
        cores: 1,
        architecture: "arm".into(),
        memory_bytes: 1 << 30,
        storage_bytes: 1 << 30,
    };
    let manifest = capabilities::build(&device, &settings, &facts).unwrap();
    let client = &lab.client;
    assert_eq!(client.put_capabilities(&device, &manifest).await.unwrap(), Accepted::Created);
    assert_eq!(client.put_capabilities(&device, &manifest).await.unwrap(), Accepted::Updated);
    let report = DeploymentStatusManifest::new(
        &DeploymentId::from(DEPLOYMENT),
        None,
        ManifestVersion(7),
        &Overall { state: State::Pending, deployment_name: "n".into(), failure: None },
        vec![],
    );
    for _ in 0..3 {
        client.post_status(&report).await.unwrap();
    }
    let failure = client.post_status(&report).await.unwrap_err().to_failure();
    assert_eq!(failure.code, Code::ReportRejected);
    let seen = lab.log.seen.lock().unwrap();
    assert_eq!(seen[0].line, "PUT /api/v1/capabilities/gateway/edge HTTP/1.1");
    assert_eq!(seen[0].body, manifest.to_bytes());
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[2].line, format!("POST /api/v1/deployments/{DEPLOYMENT}/status HTTP/1.1"));
    assert_eq!(seen[2].body, serde_json::to_vec(&report).unwrap());
}

#[tokio::test]
async fn unusable_addresses_are_refused_at_once() {
    let lab = lab(Setup::default(), |_| Reply::Hang).await;
    for address in [
        "",
        "wfm.example",
        "http://wfm.example",
        "https://",
        "https://u@wfm.example",
        "https://u:p@wfm.example",
        "https://wfm.example/?a",
        "https://wfm.example/#a",
        "ftp://x",
    ] {
        let tls = lab.client.http.tls_for_tests();
        assert!(WfmClient::new(address, tls, Limits::default()).is_err(), "{address}");
    }
}
