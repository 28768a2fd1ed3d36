//! ApplicationDeployment documents.

use crate::margo::ApplicationDeployment;
use crate::margo::DeviceId;
use crate::margo::Outline;
use crate::margo::deployment::{DeploymentError, ProfileKind};
use proptest::prelude::*;
use state_machine::failure::{Code, FailureClass};
use state_machine::ids::DeploymentId;

const GOOD: &str = include_str!("../../../tests/fixtures/margo/deployment.yaml");
const ID: &str = "0b9c1d52-6f0e-4a57-9d0e-5a8a3f6f0c11";

fn parse(text: &str) -> Result<ApplicationDeployment, DeploymentError> {
    ApplicationDeployment::parse(text.as_bytes(), Some(&DeploymentId::from(ID)), 300_000)
}

#[test]
fn a_document_is_read_completely() {
    let deployment = parse(GOOD).unwrap();
    assert_eq!(deployment.id.as_str(), ID);
    assert_eq!(deployment.name, "filler-line-3");
    assert_eq!(deployment.application_id, "filler");
    assert_eq!(deployment.profile, ProfileKind::Compose);
    assert!(deployment.is_for(&DeviceId::parse("edge-7").unwrap()));
    assert!(!deployment.is_for(&DeviceId::parse("edge-8").unwrap()));
    let [broker, filler] = &deployment.components[..] else { panic!("two components") };
    assert_eq!(broker.name.as_str(), "broker");
    assert_eq!(broker.repository, "oci://registry.example:5000/plant/broker");
    assert_eq!(broker.revision, "2.1.0-rc.1_build.7");
    assert_eq!(broker.version, Some("2.1.0-rc.1+build.7".parse().unwrap()));
    assert_eq!((broker.wait, broker.timeout_ms), (true, 510_000));
    assert_eq!((filler.wait, filler.timeout_ms), (false, 300_000));
    assert!(deployment.constraints.is_some());
}

#[test]
fn parameters_become_variables_of_the_components_they_name() {
    let deployment = parse(GOOD).unwrap();
    let variables: Vec<(String, String)> =
        deployment.environment_for("filler").into_iter().collect();
    let expected = [
        ("BIG", "18446744073709551615"),
        ("HUGE", "1000000000000000000000"),
        ("LIST", r#"["a",2,false]"#),
        ("ON", "true"),
        ("RATE", "120"),
        ("RATIO", "0.25"),
        ("TEXT", "007"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(variables, expected);
    assert_eq!(deployment.environment_for("broker").len(), 1);
    assert_eq!(deployment.environment_for("elsewhere").len(), 0);
}

#[test]
fn a_document_that_breaks_a_rule_names_the_field() {
    let cases: [(&str, &str, &str); 28] = [
        ("id: 0b9c1d52", "id: 1b9c1d52", "the manifest says"),
        ("id: 0b9c1d52-6f0e", "id: 0b9c1d52_6f0e", "id: not a UUID"),
        ("deviceId: edge-7", "deviceId: edge 7", "metadata.deviceId"),
        ("deviceId: edge-7", "other: x", "metadata.deviceId is missing"),
        ("name: filler-line-3", "title: x", "metadata.name is missing"),
        ("applicationId: filler", "applicationId: Filler", "spec.applicationId"),
        ("applicationId: filler", "x: 1", "spec.applicationId is missing"),
        ("deploymentProfile:", "profile:", "spec.deploymentProfile is missing"),
        ("type: compose", "kind: compose", "deploymentProfile.type is missing"),
        ("type: compose", "type: helm.v3", "older specification"),
        ("components:\n", "parts:\n", "components is missing"),
        ("name: broker", "name: Broker", "components[0].name"),
        ("name: broker", "name: -broker", "components[0].name"),
        ("name: broker", "name: filler", "components[1].name: used twice"),
        ("repository: oci://registry.example:5000/plant/broker", "repository: https://x", "oci://"),
        ("repository: oci://registry.example:5000/plant/broker", "repository: 'oci://'", "oci://"),
        (
            "repository: oci://registry.example:5000/plant/broker",
            "packageLocation: https://x",
            "older",
        ),
        ("revision: 1.0.9", "revision: v1.0.9", "components[1].properties.revision"),
        ("revision: 1.0.9", "revision: 1.0.9+1", "components[1].properties.revision"),
        ("revision: 1.0.9", "revision: latest", "components[1].properties.revision"),
        ("wait: false", "wait: maybe", "components[1].properties.wait"),
        ("timeout: 8m30s", "timeout: 8m", "timeout"),
        ("timeout: 8m30s", "timeout: 510s", "timeout"),
        ("timeout: 8m30s", "timeout: 99999999999999999999m0s", "timeout"),
        ("value: 120", "value: {a: b}", "spec.parameters.rate.value"),
        ("pointer: RATE", "pointer: A=B", "spec.parameters.rate.targets"),
        ("pointer: RATE", "pointer: BIG", "another parameter sets `BIG`"),
        ("metadata:\n", "metadata: 3\nx:\n", "not readable"),
    ];
    for (old, new, expected) in cases {
        assert!(GOOD.contains(old), "{old}");
        let error = parse(&GOOD.replacen(old, new, 1)).expect_err(new);
        let failure = error.to_failure();
        assert!(failure.message.contains(expected), "{new}: {failure}");
        assert_eq!((failure.code, failure.class), (Code::DeploymentInvalid, FailureClass::Refused));
    }
}

fn named(text: &str) -> (Option<String>, Vec<String>) {
    let Outline { name, components, .. } = Outline::read(text.as_bytes());
    (name, components)
}

#[test]
fn a_refused_document_still_has_the_names_that_its_report_needs() {
    let filler = || Some("filler-line-3".to_owned());
    let both = || vec!["broker".to_owned(), "filler".to_owned()];
    for (old, new) in [
        ("revision: 1.0.9", "revision: latest"),
        ("revision: 1.0.9", "revision: {a: b}"),
        ("wait: false", "wait: maybe"),
        ("deviceId: edge-7", "deviceId: 7 7"),
        ("id: 0b9c1d52", "id: [x]\nold: 0b9c1d52"),
        ("type: compose", "type: helm.v3"),
        ("  parameters:", "  parameters: 3\n  other:"),
        ("id: 0b9c1d52", "apiVersion: v1\nid: 0b9c1d52"),
    ] {
        let text = GOOD.replacen(old, new, 1);
        assert!(parse(&text).is_err(), "{new}");
        assert_eq!(named(&text), (filler(), both()), "{new}");
    }
    // Also names that are what is wrong: the WFM knows the component by no other.
    for (new, names) in [
        ("name: Broker", vec!["Broker", "filler"]),
        ("name: filler", vec!["filler"]),
        ("name: 7", vec!["7", "filler"]),
        ("title: x", vec!["filler"]),
        ("name: [x]", vec!["filler"]),
        ("name: \"a\\nb\"", vec!["filler"]),
    ] {
        let text = GOOD.replacen("name: broker", new, 1);
        let names = names.into_iter().map(str::to_owned).collect();
        assert_eq!(named(&text), (filler(), names), "{new}");
    }
    assert!(Outline::read(GOOD.replace("type: compose", "type: custom").as_bytes()).is_custom);
}

#[test]
fn a_document_without_names_has_none_and_many_are_limited() {
    for text in ["", "[", "3", "metadata: 3\nspec: {deploymentProfile: []}", "a: 1\na: 2"] {
        assert_eq!(Outline::read(text.as_bytes()), Outline::default(), "{text}");
    }
    let list: String = (0..1_000).map(|n| format!("{{name: c{n}}}, ")).collect();
    let many = format!("spec: {{deploymentProfile: {{components: [{list}]}}}}");
    assert_eq!(named(&many).1.len(), 128);
    let long = format!("metadata: {{name: {}}}", "x".repeat(254));
    assert_eq!(named(&long).0, None);
}

#[test]
fn older_envelopes_are_recognised() {
    for old in [
        format!("apiVersion: application.margo.org/v1alpha1\n{GOOD}"),
        format!("kind: ApplicationDeployment\n{GOOD}"),
        "apiVersion: application.margo.org/v1alpha1\nmetadata: {annotations: {id: x}}".to_owned(),
    ] {
        let error = parse(&old).unwrap_err();
        assert!(matches!(error, DeploymentError::Legacy { .. }));
        assert!(error.to_string().contains("1.0.0-rc.3"), "{error}");
    }
}

#[test]
fn other_profiles_are_kept_for_a_truthful_report() {
    let custom = GOOD
        .replace("type: compose", "type: custom")
        .replace("revision: 1.0.9", "revision: firmware-7");
    let deployment = parse(&custom).unwrap();
    assert_eq!(deployment.profile, ProfileKind::Custom);
    assert_eq!(deployment.components[1].version, None);
    assert!(deployment.environment_for("filler").is_empty());
    let other = parse(&GOOD.replace("type: compose", "type: quadlet")).unwrap();
    assert_eq!(other.profile.as_str(), "quadlet");
}

#[test]
fn counts_and_depths_are_limited() {
    let component = "      - {name: c0, properties: {repository: 'oci://r/x', revision: 1.0.0}}\n";
    let head = GOOD.split("      - name: broker").next().unwrap();
    let with = |count: usize| {
        let list: String = (0..count).map(|n| component.replace("c0", &format!("c{n}"))).collect();
        format!("{head}{list}")
    };
    assert_eq!(parse(&with(32)).unwrap().components.len(), 32);
    let error = parse(&with(33)).unwrap_err();
    assert!(error.to_string().contains("33 entries"), "{error}");
    assert!(parse(&format!("{head}      []\n")).is_err());
    let deep = format!("{GOOD}\nx: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(matches!(parse(&deep), Err(DeploymentError::Yaml { .. })));
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(parse(&format!("{laughs}{GOOD}")).is_err());
    assert!(parse(&format!("{GOOD}---\n{GOOD}")).is_err());
    assert!(parse("").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_spoilt_document_is_an_error_or_a_document(at in 0_usize..1600, byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        let index = at % bytes.len();
        bytes[index] = byte;
        if let Ok(deployment) = ApplicationDeployment::parse(&bytes, None, 1) {
            prop_assert!((1..=32).contains(&deployment.components.len()));
        }
    }
}
