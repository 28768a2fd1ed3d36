//! Every operator, and how expressions, selectors and rules combine.

use crate::margo::eligibility::{Eligibility, evaluate};
use crate::margo::wire::DeviceConstraints;
use serde_json::{Value, json};

fn device() -> Value {
    json!({
        "properties": {
            "vendor": "Acme",
            "cpus": [{"cores": 2, "architecture": "arm64"}, {"cores": 3, "architecture": "amd64"}],
            "memory": "4 Gi",
            "storage": "100Gi",
            "otelCollector": true,
            "weight": 2.5,
            "supportedRuntimes": ["oci", "custom"],
            "interfaces": [{"type": "ethernet", "speed": 1000}, {"type": "wifi", "speed": 300}],
            "peripherals": [],
            "object": {"a/b": 1},
            "nothing": null,
            "mixed": [1, "a"],
        },
        "labels": {"site": "north", "slots": [1, 2], "ok": true, "/vendor": "trap"},
    })
}

fn verdict(constraints: &Value) -> Eligibility {
    let constraints: DeviceConstraints = serde_json::from_value(constraints.clone()).unwrap();
    evaluate(&constraints, &device())
}

fn property(expression: Value) -> bool {
    let selector = json!({"matchExpressions": [expression]});
    verdict(&json!({"eligibilityRules": [{"propertySelector": selector}]})) == Eligibility::Eligible
}

fn label(expression: Value) -> bool {
    let selector = json!({"matchExpressions": [expression]});
    verdict(&json!({"eligibilityRules": [{"labelSelector": selector}]})) == Eligibility::Eligible
}

#[test]
fn every_operator_over_properties() {
    let cases = [
        // (key, operator, values, expected)
        ("/vendor", "In", json!(["Acme"]), true),
        ("/vendor", "In", json!(["acme", "Other"]), false),
        ("/vendor", "In", json!([]), false),
        ("/vendor", "In", json!(["Acme", 1]), false),
        ("/vendor", "NotIn", json!(["Other"]), true),
        ("/vendor", "NotIn", json!(["Acme", "Other"]), false),
        ("/vendor", "NotIn", json!([]), false),
        ("/vendor", "Exists", json!([]), true),
        ("/vendor", "DoesNotExist", json!([]), false),
        ("/vendor", "Gt", json!([1]), false),
        ("/vendor", "Is", json!(["Acme"]), false),
        ("vendor", "Exists", json!([]), false),
        ("/absent", "Exists", json!([]), false),
        ("/absent", "DoesNotExist", json!([]), true),
        ("/absent", "In", json!(["x"]), false),
        ("/absent", "NotIn", json!(["x"]), false),
        ("/absent", "Lt", json!([1]), false),
        ("/weight", "In", json!([2.5]), true),
        ("/cpus/0/cores", "In", json!([2.0]), true),
        ("/cpus/0/cores", "In", json!(["2"]), false),
        ("/weight", "Gt", json!([2]), true),
        ("/weight", "Gt", json!([2.5]), false),
        ("/weight", "Lt", json!([2.6]), true),
        ("/weight", "Lt", json!([2.5]), false),
        ("/weight", "Gt", json!([1, 2]), false),
        ("/weight", "Gt", json!(["1"]), false),
        ("/weight", "Gt", json!([]), false),
        ("/otelCollector", "In", json!([true]), true),
        ("/otelCollector", "In", json!([false]), false),
        ("/otelCollector", "In", json!([true, false]), false),
        ("/supportedRuntimes", "In", json!(["wasm", "oci"]), true),
        ("/supportedRuntimes", "In", json!(["wasm"]), false),
        ("/supportedRuntimes", "NotIn", json!(["wasm"]), true),
        ("/supportedRuntimes", "NotIn", json!(["oci"]), false),
        ("/supportedRuntimes/0", "In", json!(["oci"]), true),
        ("/interfaces", "In", json!(["ethernet"]), false),
        ("/interfaces", "Exists", json!([]), false),
        ("/peripherals", "Exists", json!([]), true),
        ("/peripherals", "In", json!(["gpu"]), false),
        ("/object", "Exists", json!([]), false),
        ("/object", "DoesNotExist", json!([]), false),
        ("/object/a~1b", "In", json!([1]), true),
        ("/nothing", "Exists", json!([]), false),
        ("/nothing", "DoesNotExist", json!([]), false),
        ("/mixed", "In", json!([1]), false),
        ("", "Exists", json!([]), false),
    ];
    for (key, operator, values, expected) in cases {
        let expression = json!({"key": key, "operator": operator, "values": values});
        assert_eq!(property(expression.clone()), expected, "{expression}");
    }
    assert!(property(json!({"key": "/vendor", "operator": "Exists"})));
    assert!(!property(json!({"key": "/vendor", "operator": "In"})));
}

#[test]
fn elements_of_arrays_are_matched_as_a_whole() {
    let case = |operator: &str, inner: Value| {
        property(json!({
            "key": "/interfaces", "operator": operator, "itemSelector": {"matchExpressions": inner},
        }))
    };
    let ethernet = json!({"key": "/type", "operator": "In", "values": ["ethernet"]});
    let slow = json!({"key": "/speed", "operator": "Lt", "values": [500]});
    let fast = json!({"key": "/speed", "operator": "Gt", "values": [500]});
    let canbus = json!({"key": "/type", "operator": "In", "values": ["canbus"]});
    assert!(case("ContainsAll", json!([ethernet, fast])));
    assert!(!case("ContainsAll", json!([ethernet, slow])), "of two different elements");
    assert!(case("ContainsAny", json!([canbus, slow])));
    assert!(case("ContainersAny", json!([canbus, slow])));
    assert!(!case("ContainsAny", json!([canbus])));
    assert!(!property(json!({"key": "/interfaces", "operator": "ContainsAll"})));
    let with_values = json!({
        "key": "/interfaces", "operator": "ContainsAny", "values": ["x"],
        "itemSelector": {"matchExpressions": [slow]},
    });
    assert!(!property(with_values));
    let on_scalars = json!({
        "key": "/supportedRuntimes", "operator": "ContainsAny",
        "itemSelector": {"matchExpressions": [{"key": "", "operator": "In", "values": ["oci"]}]},
    });
    assert!(!property(on_scalars));
    let on_nothing = json!({
        "key": "/peripherals", "operator": "ContainsAll", "itemSelector": {"matchExpressions": []},
    });
    assert!(!property(on_nothing));
}

#[test]
fn labels_are_exact_keys() {
    assert!(label(json!({"key": "site", "operator": "In", "values": ["north"]})));
    assert!(label(json!({"key": "slots", "operator": "In", "values": [2]})));
    assert!(label(json!({"key": "ok", "operator": "In", "values": [true]})));
    assert!(label(json!({"key": "/vendor", "operator": "In", "values": ["trap"]})));
    assert!(!label(json!({"key": "/site", "operator": "Exists"})));
    assert!(label(json!({"key": "none", "operator": "DoesNotExist"})));
}

#[test]
fn rules_are_alternatives_and_selectors_are_not() {
    let yes = json!({"key": "/vendor", "operator": "Exists"});
    let no = json!({"key": "/absent", "operator": "Exists"});
    let on_label = json!({"matchExpressions": [{"key": "site", "operator": "Exists"}]});
    let off_label = json!({"matchExpressions": [{"key": "none", "operator": "Exists"}]});
    let properties = |list: Value| json!({"matchExpressions": list});
    let eligible =
        |rules: Value| verdict(&json!({"eligibilityRules": rules})) == Eligibility::Eligible;
    assert!(eligible(json!([{"propertySelector": properties(json!([yes, yes]))}])));
    assert!(!eligible(json!([{"propertySelector": properties(json!([yes, no]))}])));
    let both = |property: &Value, label: &Value| json!({"propertySelector": properties(json!([property])), "labelSelector": label});
    assert!(eligible(json!([both(&yes, &on_label)])));
    assert!(!eligible(json!([both(&yes, &off_label)])));
    assert!(!eligible(json!([both(&no, &on_label)])));
    assert!(eligible(json!([both(&no, &off_label), both(&yes, &on_label)])));
    assert!(!eligible(json!([both(&no, &on_label), both(&yes, &off_label)])));
    assert!(eligible(json!([])));
    assert!(eligible(Value::Null));
    assert!(eligible(json!([{}])));
    assert_eq!(verdict(&json!({})), Eligibility::Eligible);
}

#[test]
fn capacity_comes_first_and_cores_are_not_summed() {
    let eligible = |capacity: Value| {
        verdict(&json!({"capacityRequirements": capacity})) == Eligibility::Eligible
    };
    assert!(eligible(json!({"cpu": {"cores": 3}})));
    assert!(!eligible(json!({"cpu": {"cores": 4}})));
    assert!(!eligible(json!({"cpu": {"cores": 3, "architectures": ["arm64"]}})));
    assert!(eligible(json!({"cpu": {"cores": 2, "architectures": ["riscv64", "arm64"]}})));
    assert!(eligible(json!({"memory": "4096Mi", "storage": "100Gi"})));
    assert!(!eligible(json!({"memory": "4097Mi"})));
    assert!(!eligible(json!({"storage": "1Ti"})));
    assert!(!eligible(json!({"memory": "plenty"})));
    let both = json!({
        "capacityRequirements": {"memory": "5Gi"},
        "eligibilityRules": [{}],
    });
    let Eligibility::Ineligible { reason } = verdict(&both) else { panic!("too little memory") };
    assert_eq!(reason, "5Gi of memory required, device has 4 Gi");
}

#[test]
fn the_reason_says_what_was_found() {
    let rule = json!([{"labelSelector": {"matchExpressions": [
        {"key": "site", "operator": "In", "values": ["south"]},
    ]}}]);
    let Eligibility::Ineligible { reason } = verdict(&json!({"eligibilityRules": rule})) else {
        panic!("it is in the north")
    };
    assert_eq!(reason, r#"no eligibility rule matches: `site` In ["south"], but it is "north""#);
}
