//! The SVIDs are what the profile asks for, and each defect is there.

use super::*;
use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

fn pki() -> (tempfile::TempDir, Pki) {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open(dir.path().join("pki.json"), "lab.example", "wfm-1").unwrap();
    (dir, pki)
}

/// Whether a client certificate would be accepted by the chain rules and the namespace rule.
fn accepted(pki: &Pki, svid: &Svid) -> bool {
    let (chain, _key) = svid.der().unwrap();
    let anchors = pki.anchors().unwrap();
    let anchors: Vec<_> =
        anchors.iter().map(|der| webpki::anchor_from_trusted_cert(der).unwrap()).collect();
    let leaf = EndEntityCert::try_from(&chain[0]).unwrap();
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &chain[1..],
        UnixTime::now(),
        KeyUsage::client_auth(),
        None,
        None,
    )
    .is_ok()
        && verify::recognise(&chain[0], &pki.wfm_spiffe_id()).is_ok()
}

#[test]
fn a_good_svid_is_accepted_and_each_defect_is_not() {
    let (_dir, pki) = pki();
    let client = ClientId::from("edge-1");
    assert!(accepted(&pki, &pki.mint_client(&client, SvidOptions::default()).unwrap()));
    for defect in SvidDefect::ALL {
        let svid = pki.mint_client(&client, (*defect).into()).unwrap();
        assert!(!accepted(&pki, &svid), "an SVID with defect {defect} was accepted");
    }
}

#[test]
fn the_leaf_follows_the_svid_profile() {
    let (_dir, pki) = pki();
    let svid = pki.mint_wfm(SvidOptions::default()).unwrap();
    let (chain, _key) = svid.der().unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate, no root (R041)");
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 1);
    assert!(format!("{:?}", names[0]).contains("spiffe://lab.example/margo/wfm/wfm-1"));
}

#[test]
fn authorities_outlive_the_process_and_rotation_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki.json");
    let client = ClientId::from("edge-1");
    let first = Pki::open(path.clone(), "lab.example", "wfm-1").unwrap();
    let old = first.mint_client(&client, SvidOptions::default()).unwrap();
    assert!(first.rotate(RotationStep::Switch).is_err());
    assert!(first.rotate(RotationStep::Retire).is_err());
    first.rotate(RotationStep::Publish).unwrap();
    drop(first);

    let other = Pki::open(path.clone(), "other.example", "wfm-1").unwrap_err().to_string();
    assert!(other.contains("lab.example") && other.contains("other.example"), "{other}");
    let again = Pki::open(path, "lab.example", "wfm-1").unwrap();
    assert_eq!(again.anchors().unwrap().len(), 2);
    assert_eq!(again.sequence(), 2);
    assert!(accepted(&again, &old));
    again.rotate(RotationStep::Switch).unwrap();
    again.rotate(RotationStep::Retire).unwrap();
    assert_eq!(again.sequence(), 3);
    assert!(!accepted(&again, &old), "the old anchor was retired");
    assert!(accepted(&again, &again.mint_client(&client, SvidOptions::default()).unwrap()));
}

#[test]
fn the_bundle_carries_each_anchor_as_an_x509_svid_key() {
    let (_dir, pki) = pki();
    let bundle = pki.bundle().unwrap();
    assert_eq!(bundle["spiffe_sequence"], 1);
    let keys = bundle["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["use"], "x509-svid");
    assert_eq!(keys[0]["x"].as_str().unwrap().len(), 43, "32 bytes, unpadded base64url");
    let der = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        keys[0]["x5c"][0].as_str().unwrap(),
    )
    .unwrap();
    assert_eq!(der, pki.anchors().unwrap()[0].as_ref());
}
