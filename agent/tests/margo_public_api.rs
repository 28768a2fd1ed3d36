//! One deployment's way through the public functions, as the driver walks it: document, eligibility, archive.

use flate2::Compression;
use flate2::write::GzEncoder;
use margo_agent::archive::{ArchiveLimits, check_and_extract};
use margo_agent::artifacts::Artifacts;
use margo_agent::margo::capabilities::{self, CapabilitySettings, HostFacts};
use margo_agent::margo::eligibility::{Eligibility, evaluate};
use margo_agent::margo::wire::Interface;
use margo_agent::margo::{ApplicationDeployment, DeviceId};
use margo_agent::oci::OciReference;

const DEPLOYMENT: &[u8] = include_bytes!("fixtures/margo/deployment.yaml");

#[test]
fn a_deployment_can_be_judged_stored_and_extracted() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path().join("store")).unwrap();
    let document = store.put(DEPLOYMENT).unwrap();
    let deployment =
        ApplicationDeployment::parse(&store.get(&document).unwrap(), None, 300_000).unwrap();
    let device = DeviceId::parse("edge-7").unwrap();
    assert!(deployment.is_for(&device));

    let mut settings = CapabilitySettings {
        vendor: "v".into(),
        model_number: "m".into(),
        serial_number: "s".into(),
        otel_collector: true,
        runtimes: vec!["oci".into()],
        deployment_types: vec!["compose".into()],
        ..CapabilitySettings::default()
    };
    let host = HostFacts {
        cores: 2,
        architecture: "amd64".into(),
        memory_bytes: 1 << 30,
        storage_bytes: 8 << 30,
    };
    let judge = |settings: &CapabilitySettings| {
        let own = capabilities::build(&device, settings, &host).unwrap();
        evaluate(deployment.constraints.as_ref().unwrap(), &own.to_value())
    };
    assert!(matches!(judge(&settings), Eligibility::Ineligible { .. }), "no ethernet");
    settings.interfaces.push(Interface { kind: "ethernet".into() });
    assert_eq!(judge(&settings), Eligibility::Eligible);

    for component in &deployment.components {
        let reference = OciReference::parse(&component.repository, &component.revision).unwrap();
        assert_eq!(reference.tag(), component.revision);
    }
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(12);
    archive.append_data(&mut header, "any/compose.yaml", &b"services: {}"[..]).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let layer = store.put(&archive).unwrap();
    let file = store.open_verified(&layer).unwrap();
    let dest = place.path().join("app");
    let extracted = check_and_extract(file, &dest, &ArchiveLimits::default()).unwrap();
    assert_eq!(std::fs::read(extracted.top_dir.join("compose.yaml")).unwrap(), b"services: {}");
}
