//! Tables of bodies that must and must not pass.

use super::status::Known;
use super::*;
use serde_json::json;

fn good_capabilities() -> Value {
    json!({
        "properties": {
            "id": "edge-01", "vendor": "V", "modelNumber": "M", "serialNumber": "S",
            "cpus": [{"cores": 4, "architecture": "amd64"}],
            "memory": "59 Gi", "storage": "1Ti",
            "peripherals": [{"type": "gpu"}], "interfaces": [{"type": "ethernet"}],
            "otelCollector": true,
            "supportedRuntimes": ["oci"], "supportedDeploymentTypes": ["compose", "custom"],
        },
        "labels": {"a": "text", "b": 1, "c": true, "d": ["x"], "e": [1, 2]},
        "x-vendor-extensions": {"anything": 1},
    })
}

fn good_status() -> Value {
    json!({
        "deploymentId": "d1", "adoptedManifestVersion": 3,
        "status": {
            "state": "failed",
            "error": {"code": "X", "source": "app", "message": "m"},
        },
        "components": [
            {"name": "a", "state": "installed"},
            {"name": "b", "state": "failed",
             "error": {"code": "X", "source": "b", "message": "m"}},
        ],
    })
}

fn status_code(problem: &Problem) -> u16 {
    problem.response("/", None).status().as_u16()
}

/// A copy with the value at a JSON pointer replaced, or removed by null.
fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(object) if new.is_null() => {
            object.remove(key);
        }
        Value::Object(object) => {
            object.insert(key.to_owned(), new);
        }
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = new,
        other => panic!("{pointer} leads into {other}"),
    }
    value
}

#[test]
fn capabilities_that_break_a_rule_are_refused_with_the_right_code() {
    let check = |value: &Value| {
        capabilities(value.to_string().as_bytes(), "edge-01").map_err(|p| status_code(&p)).err()
    };
    assert_eq!(check(&good_capabilities()), None);
    let relay = json!({"properties":
        {"id": "edge-01", "vendor": "V", "modelNumber": "M", "serialNumber": "S"}});
    assert_eq!(check(&relay), None, "a relaying gateway reports no hosting fields");
    for (pointer, new, code) in [
        ("/apiVersion", json!("v1"), 400),
        ("/x-Vendor-extensions", json!({}), 400),
        ("/x-vendor-extensions", json!(1), 400),
        ("/labels/a", json!({}), 400),
        ("/labels/a", json!(["x", 1]), 400),
        ("/properties", json!([]), 400),
        ("/properties", Value::Null, 400),
        ("/properties/vendor", Value::Null, 400),
        ("/properties/id", json!("a b"), 400),
        ("/properties/id", json!("edge-02"), 422),
        ("/properties/cpus/0/cores", json!("4"), 400),
        ("/properties/cpus/0/architecture", json!("x86"), 400),
        ("/properties/interfaces/0/type", json!("token-ring"), 400),
        ("/properties/memory", json!(5), 400),
        ("/properties/memory", json!("5Ti"), 422),
        ("/properties/memory", Value::Null, 422),
        ("/properties/otelCollector", json!(false), 422),
        ("/properties/otelCollector", json!("yes"), 400),
        ("/properties/supportedRuntimes", json!([]), 422),
        ("/properties/supportedDeploymentTypes", json!(["deb"]), 400),
    ] {
        let body = with(good_capabilities(), pointer, new.clone());
        assert_eq!(check(&body), Some(code), "{pointer} = {new}");
    }
    assert_eq!(
        capabilities(b"[1]", "edge-01").map_err(|p| status_code(&p)).err(),
        Some(400),
        "not an object"
    );
}

#[test]
fn status_reports_that_break_a_rule_are_refused_with_the_right_code() {
    let known = Known {
        target_version: 3,
        name: Some("app".to_owned()),
        components: vec!["a".to_owned(), "b".to_owned()],
    };
    let check = |value: &Value| {
        status(value.to_string().as_bytes(), "d1", &known).map_err(|p| status_code(&p)).err()
    };
    assert_eq!(check(&good_status()), None);
    for (pointer, new, code) in [
        ("/deploymentId", json!("d2"), 422),
        ("/deploymentId", Value::Null, 400),
        ("/adoptedManifestVersion", json!(0), 400),
        ("/adoptedManifestVersion", json!(1.5), 400),
        ("/adoptedManifestVersion", json!("3"), 400),
        ("/adoptedManifestVersion", Value::Null, 400),
        ("/deviceId", json!("a//b"), 400),
        ("/status/state", json!("updating"), 400),
        ("/status/state", json!("installed"), 422),
        ("/status/error/source", json!("b"), 422),
        ("/status/error/code", Value::Null, 400),
        ("/components/1/error/source", json!("app"), 422),
        ("/components/1/name", json!("c"), 422),
        ("/components/1/name", json!("a"), 422),
        ("/components/1", json!("b"), 400),
        ("/components", Value::Null, 400),
    ] {
        let body = with(good_status(), pointer, new.clone());
        assert_eq!(check(&body), Some(code), "{pointer} = {new}");
    }
}

#[test]
fn a_report_about_an_older_revision_is_not_judged_by_the_newer_one() {
    let known = Known {
        target_version: 4,
        name: Some("renamed".to_owned()),
        components: vec!["other".to_owned()],
    };
    assert!(status(good_status().to_string().as_bytes(), "d1", &known).is_ok());
    let newer = with(good_status(), "/adoptedManifestVersion", json!(4));
    assert!(status(newer.to_string().as_bytes(), "d1", &known).is_err());
}

#[test]
fn removed_is_more_severe_than_installed_and_less_than_pending() {
    let body = |overall: &str, one: &str, other: &str| {
        json!({
            "deploymentId": "d1", "adoptedManifestVersion": 1, "status": {"state": overall},
            "components": [{"name": "a", "state": one}, {"name": "b", "state": other}],
        })
        .to_string()
    };
    let passes = |text: &str| status(text.as_bytes(), "d1", &Known::default()).is_ok();
    assert!(passes(&body("removed", "removed", "installed")));
    assert!(passes(&body("pending", "removed", "pending")));
    assert!(!passes(&body("installed", "removed", "installed")));
}
