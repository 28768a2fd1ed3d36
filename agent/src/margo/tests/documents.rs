//! Manifests, problems, reports, capabilities, small formats.

use crate::margo::capabilities::{self, CapabilitiesError, CapabilitySettings, HostFacts};
use crate::margo::problem::{BackoffStrategy, Problem, ProblemKind};
use crate::margo::retry_after::{RETRY_AFTER_MS_MAX, parse_http_date, pause_ms};
use crate::margo::status::Overall;
use crate::margo::wire::*;
use crate::margo::{DeviceId, DevicePattern, ManifestError, StateManifest, quantity};
use serde_json::{Value, json};
use state_machine::failure::{Code, Failure};
use state_machine::ids::{DeploymentId, ManifestVersion};
use std::collections::BTreeMap;

const MANIFEST: &str = include_str!("../../../tests/fixtures/margo/manifest.json");
const CAPABILITIES: &str = include_str!("../../../tests/fixtures/margo/capabilities.json");
const STATUS: &str = include_str!("../../../tests/fixtures/margo/status.json");

#[test]
fn a_manifest_is_read_with_its_whole_version() {
    let manifest = StateManifest::parse(MANIFEST.as_bytes(), 8).unwrap();
    assert_eq!(manifest.version, ManifestVersion(u64::MAX));
    assert_eq!(manifest.deployments.len(), 1);
    let artifact = &manifest.deployments[0].artifact;
    assert!(artifact.path.starts_with("/api/v1/deployments/0b9c1d52-"));
    assert!(manifest.bundle.unwrap().path.starts_with("/api/v1/bundles/sha256:aaa"));
    let empty = br#"{"manifestVersion":1,"bundle":null,"deployments":[]}"#;
    assert_eq!(StateManifest::parse(empty, 0).unwrap().deployments, []);
}

#[test]
fn a_manifest_that_breaks_a_rule_is_refused_whole() {
    let good: Value = serde_json::from_str(MANIFEST).unwrap();
    let change = |path: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let remove = |key: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(key);
        changed.to_string()
    };
    let twice = {
        let mut changed = good.clone();
        let first = changed["deployments"][0].clone();
        changed["deployments"].as_array_mut().unwrap().push(first);
        changed.to_string()
    };
    let version = |text: &str| MANIFEST.replace("18446744073709551615", text);
    let digest = "/deployments/0/digest";
    let cases = [
        ("float version", version("1.5"), "malformed"),
        ("float whole version", version("7.0"), "malformed"),
        ("exponent version", version("1.0e3"), "malformed"),
        ("negative version", version("-1"), "malformed"),
        ("version too large", version("18446744073709551616"), "malformed"),
        ("text version", version("\"7\""), "malformed"),
        ("zero version", version("0"), "is 0"),
        ("no version", remove("manifestVersion"), "malformed"),
        ("no deployments", remove("deployments"), "malformed"),
        ("null deployments", change("/deployments", Value::Null), "malformed"),
        ("absent bundle", remove("bundle"), "bundle is absent"),
        ("null bundle with deployments", change("/bundle", Value::Null), "bundle is null"),
        ("bundle without deployments", change("/deployments", json!([])), "bundle is present"),
        (
            "bundle of another type",
            change("/bundle/mediaType", json!("application/zip")),
            "mediaType",
        ),
        ("bundle digest", change("/bundle/digest", json!("sha256:AA")), "bundle.digest"),
        ("bundle url", change("/bundle/url", json!("/api/v1/bundles/x")), "bundle.url"),
        ("other algorithm", change(digest, json!("sha512:00")), "deployments[0].digest"),
        ("digest with blank", change(digest, json!(" sha256:00")), "deployments[0].digest"),
        ("not a UUID", change("/deployments/0/deploymentId", json!("a/../b")), "not a UUID"),
        (
            "other url",
            change("/deployments/0/url", json!("/api/v1/deployments/x")),
            "url does not end",
        ),
        ("repeated", twice, "repeats"),
        ("not JSON", "<html>".to_owned(), "malformed"),
        ("duplicate member", MANIFEST.replacen('{', "{\"manifestVersion\": 3,", 1), "malformed"),
    ];
    for (name, text, expected) in cases {
        let error = StateManifest::parse(text.as_bytes(), 8).expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(error.to_failure().code, Code::ManifestInvalid);
        if name.ends_with("version") {
            let message = error.to_failure().message;
            assert!(message.contains("manifestVersion"), "{name}: {message}");
        }
    }
    let error = StateManifest::parse(MANIFEST.as_bytes(), 0).unwrap_err();
    assert!(matches!(error, ManifestError::TooManyDeployments { count: 1, count_max: 0 }));
}

#[test]
fn problems_are_read_however_odd_they_are() {
    let full = json!({
        "type": "https://docs.margo.org/specification/problem-types#semantic-error",
        "title": "T", "status": 422, "detail": "line\nbreak", "instance": "/x", "vendor": [1],
        "retryable": false, "retryAfterSeconds": 9, "backoffStrategy": "fixed",
        "errors": [{"field": "f", "message": "m"}, {"field": 3}, "x"],
    });
    let problem = Problem::parse(full.to_string().as_bytes());
    assert_eq!(problem.kind, ProblemKind::SemanticError);
    assert_eq!(problem.retryable, Some(false));
    assert_eq!(problem.retry_after_secs, Some(9));
    assert_eq!(problem.backoff, Some(BackoffStrategy::Fixed));
    assert_eq!(problem.to_string(), "line break; f: m; : ; : ");
    let kinds = [
        ("invalid-request", ProblemKind::InvalidRequest),
        ("not-authorized", ProblemKind::NotAuthorized),
        ("gateway-not-found", ProblemKind::GatewayNotFound),
        ("device-not-found", ProblemKind::DeviceNotFound),
        ("invalid-bundle", ProblemKind::InvalidBundle),
        ("deployment-not-found", ProblemKind::DeploymentNotFound),
        ("server-cannot-generate-response", ProblemKind::CannotGenerateResponse),
        ("not-authorized-at-all", ProblemKind::Other),
    ];
    for (name, kind) in kinds {
        let text = format!("https://docs.margo.org/specification/problem-types#{name}");
        assert_eq!(Problem::parse(json!({"type": text}).to_string().as_bytes()).kind, kind);
    }
    for odd in [
        "",
        "null",
        "[]",
        "\"x\"",
        "<html>",
        "{\"type\": 3}",
        "{\"title\": {}, \"errors\": {}}",
        "{\"retryAfterSeconds\": -1, \"retryable\": \"yes\", \"backoffStrategy\": 3}",
    ] {
        assert_eq!(Problem::parse(odd.as_bytes()), Problem::default(), "{odd}");
    }
    let huge = json!({"detail": "x".repeat(5000), "errors": vec![json!({"field": "f"}); 100]});
    let problem = Problem::parse(huge.to_string().as_bytes());
    assert_eq!(problem.detail.unwrap().len(), 200);
    assert_eq!(problem.errors.len(), 8);
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(parse_http_date(date), Some(784_111_777));
    assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    assert_eq!(parse_http_date("Tue, 29 Feb 2028 23:59:60 GMT"), Some(1_835_481_600));
    let cases = [
        ("30", Some(30_000)),
        (" 30 ", Some(30_000)),
        ("0", Some(0)),
        ("99999999999999999999999", Some(RETRY_AFTER_MS_MAX)),
        (date, Some(7_000)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
        ("Sun, 06 Nov 2094 08:49:00 GMT", Some(RETRY_AFTER_MS_MAX)),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Now 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
    ];
    for (header, expected) in cases {
        assert_eq!(pause_ms(header, 784_111_770), expected, "{header}");
    }
}

#[test]
fn quantities_are_read_with_and_without_a_blank() {
    assert_eq!(quantity::parse("59 Gi"), Some(59 << 30));
    assert_eq!(quantity::parse("16Gi"), Some(16 << 30));
    assert_eq!(quantity::parse("18446744073709551615Ei"), Some(u128::from(u64::MAX) << 60));
    for bad in ["", "Gi", "16", "16G", "1.5Gi", "-1Gi", "16 GiB", "é"] {
        assert_eq!(quantity::parse(bad), None, "{bad}");
    }
    for (size_bytes, text) in [(16 << 30, "16Gi"), (3 << 29, "1536Mi"), (512 << 10, "512Ki")] {
        assert_eq!(quantity::format(size_bytes), text);
    }
}

fn settings() -> CapabilitySettings {
    CapabilitySettings {
        vendor: "Acme".into(),
        model_number: "M-1".into(),
        serial_number: "S-2".into(),
        peripherals: vec![Peripheral {
            kind: "camera".into(),
            manufacturer: None,
            model: Some("C".into()),
        }],
        interfaces: ["ethernet", "canbus"].map(|kind| Interface { kind: kind.into() }).into(),
        otel_collector: true,
        runtimes: vec!["oci".into(), "custom".into()],
        deployment_types: vec!["compose".into(), "custom".into()],
        labels: BTreeMap::from([
            ("acme.example/site".into(), LabelValue::Text("north".into())),
            ("acme.example/slots".into(), LabelValue::Numbers(vec![1.into(), 2.into()])),
        ]),
        extensions: BTreeMap::from([("x-acme-extensions".into(), json!({"slot": "a"}))]),
        ..CapabilitySettings::default()
    }
}

fn facts() -> HostFacts {
    HostFacts {
        cores: 4,
        architecture: "arm64".into(),
        memory_bytes: 3776 << 20,
        storage_bytes: 16 << 30,
    }
}

#[test]
fn capabilities_have_the_published_shape_and_a_stable_digest() {
    let device = DeviceId::parse("edge-7").unwrap();
    let built = capabilities::build(&device, &settings(), &facts()).unwrap();
    let expected: Value = serde_json::from_str(CAPABILITIES).unwrap();
    assert_eq!(built.to_value(), expected);
    assert_eq!(
        built.digest(),
        capabilities::build(&device, &settings(), &facts()).unwrap().digest()
    );
    let more = HostFacts { memory_bytes: 4 << 30, ..facts() };
    assert_ne!(built.digest(), capabilities::build(&device, &settings(), &more).unwrap().digest());
    let unknown = HostFacts { architecture: "riscv64".into(), ..facts() };
    let built = capabilities::build(&device, &settings(), &unknown).unwrap();
    assert_eq!(built.properties.cpus[0].architecture, None);
    assert!(!built.to_value().to_string().contains("riscv64"));
}

#[test]
fn capabilities_that_the_interface_forbids_are_refused() {
    type Spoil = fn(&mut CapabilitySettings);
    let cases: [(&str, Spoil); 10] = [
        ("vendor is empty", |s| s.vendor = " ".into()),
        ("runtimes has no entry", |s| s.runtimes.clear()),
        ("runtimes: `wasm`", |s| s.runtimes = vec!["wasm".into()]),
        ("deployment_types: `quadlet`", |s| s.deployment_types = vec!["quadlet".into()]),
        ("peripherals.type: `laser`", |s| s.peripherals[0].kind = "laser".into()),
        ("interfaces.type: `i2c`", |s| s.interfaces[0].kind = "i2c".into()),
        ("memory: `lots`", |s| s.memory = Some("lots".into())),
        ("extension `x-Acme-extensions`", |s| {
            s.extensions.insert("x-Acme-extensions".into(), json!({}));
        }),
        ("extension `x-a-extensions`", |s| {
            s.extensions.insert("x-a-extensions".into(), json!(1));
        }),
        ("labels", |s| {
            s.labels.insert(String::new(), LabelValue::Boolean(true));
        }),
    ];
    let device = DeviceId::parse("edge-7").unwrap();
    for (expected, spoil) in cases {
        let mut spoilt = settings();
        spoil(&mut spoilt);
        let error = capabilities::build(&device, &spoilt, &facts()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn the_running_host_has_facts() {
    let place = tempfile::tempdir().unwrap();
    let facts = HostFacts::gather(place.path()).unwrap();
    assert!(facts.cores > 0 && facts.memory_bytes > 0 && facts.storage_bytes > 0);
    let error = HostFacts::gather(&place.path().join("none")).unwrap_err();
    assert!(matches!(error, CapabilitiesError::Host { .. }));
}

#[test]
fn reports_have_the_published_shape() {
    let broken = |message: &str| Failure::new(Code::StartFailed, message);
    let report = DeploymentStatusManifest::new(
        &DeploymentId::from("0b9c1d52-6f0e-4a57-9d0e-5a8a3f6f0c11"),
        None,
        ManifestVersion(u64::MAX),
        &Overall {
            state: State::Pending,
            deployment_name: "filler-line-3".into(),
            failure: Some(broken("no luck")),
        },
        vec![
            ComponentStatus::new("broker", State::Installed, None),
            ComponentStatus::new("filler", State::Failed, Some(&broken("exit 1"))),
        ],
    );
    let expected: Value = serde_json::from_str(STATUS).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    let child = DeviceId::parse("gateway/edge").unwrap();
    let report = DeploymentStatusManifest::new(
        &DeploymentId::from("x"),
        Some(&child),
        ManifestVersion(1),
        &Overall { state: State::Removed, deployment_name: "n".into(), failure: None },
        vec![],
    );
    assert_eq!(report.status, StatusEntry { state: State::Removed, error: None });
    assert_eq!(report.device_id.as_deref(), Some("gateway/edge"));
}

#[test]
fn the_most_severe_component_decides() {
    use State::*;
    let order = [Failed, Removing, Installing, Pending, Removed, Installed];
    for pair in order.windows(2) {
        assert_eq!(State::most_severe([pair[1], pair[0], pair[1]]), Some(pair[0]));
    }
    assert_eq!(State::most_severe([]), None);
}

#[test]
fn device_ids_and_patterns() {
    let device = |text: &str| DeviceId::parse(text).unwrap();
    for bad in ["", "/", "a/", "/a", "a//b", "a b", "a*", "a/*", "ä", "..", "a/../b", "."] {
        assert!(DeviceId::parse(bad).is_err(), "{bad}");
    }
    for bad in ["*", "/*", "a/*/b", "a*", "a/**"] {
        assert!(DevicePattern::parse(bad).is_err(), "{bad}");
    }
    let cases = [
        ("edge-7", "edge-7", true),
        ("edge-7", "Edge-7", false),
        ("edge-7", "edge-7/a", false),
        ("gw/*", "gw/a", true),
        ("gw/*", "gw/a/b", true),
        ("gw/*", "gw", false),
        ("gw/*", "gwx/a", false),
        ("gw/a", "gw/a", true),
    ];
    for (pattern, id, expected) in cases {
        let matched = DevicePattern::parse(pattern).unwrap().matches(&device(id));
        assert_eq!(matched, expected, "{pattern} {id}");
    }
}
