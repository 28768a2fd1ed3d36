//! Every way an identity can be wrong, by table, and real handshakes.

use super::test_pki::*;
use super::*;
use crate::identity::verifier::WfmVerifier;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use state_machine::failure::Code;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const RSA_2048: &str = include_str!("testdata/rsa2048.pem");
const RSA_3072: &str = include_str!("testdata/rsa3072.pem");

#[test]
fn only_the_two_margo_shapes_are_ids() {
    let client = SpiffeId::parse(CLIENT_ID).unwrap();
    assert_eq!(client.trust_domain(), "factory.example");
    assert_eq!((client.wfm_id(), client.client_id()), ("w1", Some("d1")));
    assert_eq!(client.to_string(), CLIENT_ID);
    assert_eq!(client.wfm().to_string(), WFM_ID);
    assert_eq!(SpiffeId::parse("spiffe://t/margo/wfm/A-z_9.~").unwrap().wfm_id(), "A-z_9.~");
    let long = format!("spiffe://t/margo/wfm/{}", "x".repeat(2048));
    let cases = [
        ("https://factory.example/margo/wfm/w1", SpiffeIdError::Scheme),
        ("SPIFFE://factory.example/margo/wfm/w1", SpiffeIdError::Scheme),
        ("spiffe:/factory.example/margo/wfm/w1", SpiffeIdError::Scheme),
        ("", SpiffeIdError::Scheme),
        ("spiffe://", SpiffeIdError::TrustDomain),
        ("spiffe:///margo/wfm/w1", SpiffeIdError::TrustDomain),
        ("spiffe://Factory.example/margo/wfm/w1", SpiffeIdError::TrustDomain),
        ("spiffe://u@factory.example/margo/wfm/w1", SpiffeIdError::TrustDomain),
        ("spiffe://factory.example:443/margo/wfm/w1", SpiffeIdError::TrustDomain),
        ("spiffe://factory.example?x/margo/wfm/w1", SpiffeIdError::TrustDomain),
        ("spiffe://factory.example", SpiffeIdError::RootPath),
        ("spiffe://factory.example/", SpiffeIdError::RootPath),
        ("spiffe://factory.example/margo", SpiffeIdError::Shape),
        ("spiffe://factory.example/other/wfm/w1", SpiffeIdError::Shape),
        ("spiffe://factory.example/margo/wfm/w1/", SpiffeIdError::Shape),
        ("spiffe://factory.example//margo/wfm/w1", SpiffeIdError::Shape),
        ("spiffe://factory.example/margo/wfm/w1/client", SpiffeIdError::Shape),
        ("spiffe://factory.example/margo/wfm/w1/device/d1", SpiffeIdError::Shape),
        ("spiffe://factory.example/margo/wfm/w1/client/d1/x", SpiffeIdError::Shape),
        ("spiffe://factory.example/margo/wfm/", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/.", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/..", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/w1/client/", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/w%31", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/w1?x=1", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/w1#x", SpiffeIdError::Segment),
        ("spiffe://factory.example/margo/wfm/ä", SpiffeIdError::Segment),
        (&long, SpiffeIdError::TooLong),
    ];
    for (text, error) in cases {
        assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
    }
}

fn bundle_of(anchors: &[&Ca]) -> TrustBundle {
    let ders: Vec<&CertificateDer<'_>> = anchors.iter().map(|ca| ca.der()).collect();
    TrustBundle::parse(bundle_json(&ders).as_bytes()).unwrap()
}

fn verify(chain: &[CertificateDer<'static>], bundle: &TrustBundle) -> Result<(), VerifyError> {
    let own = SpiffeId::parse(CLIENT_ID).unwrap();
    let verifier = WfmVerifier::new(&own, bundle.anchors(), NOW_UNIX_SECS);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_UNIX_SECS));
    verifier.verify(&chain[0], &chain[1..], now)
}

#[test]
fn a_peer_that_breaks_a_rule_is_refused() {
    let ca = root("root");
    let bundle = bundle_of(&[&ca]);
    type Spoil = fn(&mut CertificateParams);
    let cases: Vec<(&str, &[&str], Spoil, &str)> = vec![
        ("two URI names", &[WFM_ID, "spiffe://factory.example/x"], |_| {}, "has 2 URI names"),
        ("no URI name", &[], |_| {}, "has 0 URI names"),
        ("CA leaf", &[WFM_ID], |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "is a CA"),
        ("keyCertSign", &[WFM_ID], |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), "may sign"),
        ("cRLSign", &[WFM_ID], |p| p.key_usages.push(KeyUsagePurpose::CrlSign), "may sign"),
        (
            "no digitalSignature",
            &[WFM_ID],
            |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            "digitalSignature",
        ),
        ("wrong scheme", &["https://factory.example/margo/wfm/w1"], |_| {}, "scheme"),
        ("root path", &["spiffe://factory.example"], |_| {}, "root"),
        ("root path with slash", &["spiffe://factory.example/"], |_| {}, "root"),
        ("not of Margo", &["spiffe://factory.example/other"], |_| {}, "not of a WFM"),
        ("foreign trust domain", &["spiffe://other.example/margo/wfm/w1"], |_| {}, "trust domain"),
        ("wrong wfm-id", &["spiffe://factory.example/margo/wfm/w2"], |_| {}, "not spiffe://"),
        (
            "wfm-id in other case",
            &["spiffe://factory.example/margo/wfm/W1"],
            |_| {},
            "not spiffe://",
        ),
        ("a client", &[CLIENT_ID], |_| {}, "not spiffe://"),
        ("expired", &[WFM_ID], |p| p.not_after = date_time_ymd(2025, 6, 1), "CertExpired"),
        (
            "not yet valid",
            &[WFM_ID],
            |p| p.not_before = date_time_ymd(2027, 1, 1),
            "CertNotValidYet",
        ),
    ];
    for (name, uris, spoil, expected) in cases {
        let mut params = leaf_params(uris);
        spoil(&mut params);
        let error = verify(&issue(&params, &ca).chain, &bundle).expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
    verify(&issue(&leaf_params(&[WFM_ID]), &ca).chain, &bundle).unwrap();
}

#[test]
fn dns_names_neither_help_nor_harm() {
    let ca = root("root");
    let bundle = bundle_of(&[&ca]);
    let mut params = leaf_params(&[WFM_ID]);
    params.subject_alt_names.push(SanType::DnsName("elsewhere.example".try_into().unwrap()));
    verify(&issue(&params, &ca).chain, &bundle).unwrap();
    let mut params = leaf_params(&["spiffe://factory.example/margo/wfm/w2"]);
    params.subject_alt_names.push(SanType::DnsName("wfm.example".try_into().unwrap()));
    assert!(verify(&issue(&params, &ca).chain, &bundle).is_err());
}

#[test]
fn a_peer_without_key_usage_is_accepted_but_our_own_is_not() {
    let ca = root("root");
    let mut params = leaf_params(&[WFM_ID]);
    params.key_usages.clear();
    verify(&issue(&params, &ca).chain, &bundle_of(&[&ca])).unwrap();
    let mut params = leaf_params(&[CLIENT_ID]);
    params.key_usages.clear();
    let error = load(&issue(&params, &ca)).unwrap_err();
    assert!(matches!(error, SvidError::Certificate { source: LeafRule::NoDigitalSignature, .. }));
}

#[test]
fn chains_reach_any_anchor_but_only_over_what_is_presented() {
    let (first, second, foreign) = (root("first"), root("second"), root("foreign"));
    let middle = intermediate("middle", &second, KeyPair::generate().unwrap());
    let issued = issue(&leaf_params(&[WFM_ID]), &middle);
    let bundle = bundle_of(&[&first, &second]);
    assert_eq!(bundle.anchor_count(), 2);
    let with = |extra: &[&Ca]| {
        let mut chain = issued.chain.clone();
        chain.extend(extra.iter().map(|ca| ca.der().clone()));
        chain
    };
    verify(&with(&[&middle]), &bundle).unwrap();
    // The root may be sent too, and unrelated certificates do no harm.
    verify(&with(&[&middle, &second]), &bundle).unwrap();
    verify(&with(&[&foreign, &middle]), &bundle).unwrap();
    let unknown = VerifyError::Chain(webpki::Error::UnknownIssuer);
    assert_eq!(verify(&with(&[]), &bundle), Err(unknown.clone()), "missing intermediate");
    assert_eq!(verify(&with(&[&middle]), &bundle_of(&[&first])), Err(unknown.clone()));
    assert_eq!(
        verify(&issue(&leaf_params(&[WFM_ID]), &foreign).chain, &bundle),
        Err(unknown),
        "foreign anchor"
    );
    // Presenting an anchor of one's own does not make it trusted.
    let mut own_anchor = issue(&leaf_params(&[WFM_ID]), &foreign).chain;
    own_anchor.push(foreign.der().clone());
    assert!(verify(&own_anchor, &bundle).is_err());
    assert_eq!(verify(&with(&[&middle; 9]), &bundle), Err(VerifyError::TooManyIntermediates));
}

#[test]
fn an_expired_intermediate_breaks_the_chain() {
    let ca = root("root");
    let mut params = ca_params("middle");
    params.not_after = date_time_ymd(2025, 6, 1);
    let middle = Ca::signed_by(params, KeyPair::generate().unwrap(), &ca).unwrap();
    let mut chain = issue(&leaf_params(&[WFM_ID]), &middle).chain;
    chain.push(middle.der().clone());
    let error = verify(&chain, &bundle_of(&[&ca])).unwrap_err();
    assert!(error.to_string().contains("CertExpired"), "{error}");
}

#[test]
fn accepted_keys_are_exactly_those_of_the_profile() {
    let ca = root("root");
    let bundle = bundle_of(&[&ca]);
    for (name, key) in [
        ("P-256", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()),
        ("P-384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()),
        ("Ed25519", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
        ("RSA 3072", KeyPair::from_pem(RSA_3072).unwrap()),
    ] {
        let wfm = issue_with(&leaf_params(&[WFM_ID]), &ca, key);
        verify(&wfm.chain, &bundle).expect(name);
        let own = issue_with(&leaf_params(&[CLIENT_ID]), &ca, wfm.key);
        let svid = load(&own).expect(name);
        svid.verify_against(&bundle, NOW_UNIX_SECS).expect(name);
    }
    let weak = || KeyPair::from_pem(RSA_2048).unwrap();
    let short = LeafRule::Key(KeyRule::RsaTooShort { bits: 2048 });
    let wfm = issue_with(&leaf_params(&[WFM_ID]), &ca, weak());
    assert_eq!(verify(&wfm.chain, &bundle), Err(VerifyError::Leaf(short.clone())));
    let middle = intermediate("middle", &ca, weak());
    let mut chain = issue(&leaf_params(&[WFM_ID]), &middle).chain;
    chain.push(middle.der().clone());
    assert_eq!(verify(&chain, &bundle), Err(VerifyError::WeakIntermediate(short)));
    let weak_root = root_with("weak", weak());
    let error = TrustBundle::parse(bundle_json(&[weak_root.der()]).as_bytes()).unwrap_err();
    assert!(matches!(error, TrustBundleError::Anchor { index: 0, .. }));
    // RSA-signed chains with an acceptable key are fine.
    let strong = root_with("strong", KeyPair::from_pem(RSA_3072).unwrap());
    verify(&issue(&leaf_params(&[WFM_ID]), &strong).chain, &bundle_of(&[&strong])).unwrap();
}

#[test]
fn a_clock_before_the_floor_judges_nothing() {
    let ca = root("root");
    let bundle = bundle_of(&[&ca]);
    let own = SpiffeId::parse(CLIENT_ID).unwrap();
    let verifier = WfmVerifier::new(&own, bundle.anchors(), NOW_UNIX_SECS);
    let issued = issue(&leaf_params(&[WFM_ID]), &ca);
    let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
    assert_eq!(
        verifier.verify(&issued.chain[0], &[], at(NOW_UNIX_SECS - 1)),
        Err(VerifyError::ClockBehind {
            now_unix_secs: NOW_UNIX_SECS - 1,
            floor_unix_secs: NOW_UNIX_SECS
        })
    );
    verifier.verify(&issued.chain[0], &[], at(NOW_UNIX_SECS)).unwrap();
}

#[test]
fn bundles_are_read_defensively() {
    let ca = root("root");
    let good = bundle_json(&[ca.der()]);
    let bundle = TrustBundle::parse(good.as_bytes()).unwrap();
    assert_eq!((bundle.sequence(), bundle.refresh_hint_secs()), (Some(7), Some(600)));
    assert!(bundle.may_follow(Some(7)) && bundle.may_follow(Some(6)) && bundle.may_follow(None));
    assert!(!bundle.may_follow(Some(8)));

    let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
    value["unknown"] = serde_json::json!({"a": [1]});
    value["keys"].as_array_mut().unwrap().extend([
        serde_json::json!({"use": "jwt-svid", "kid": "x", "kty": "EC"}),
        serde_json::json!({"kty": "EC"}),
    ]);
    assert_eq!(TrustBundle::parse(value.to_string().as_bytes()).unwrap().anchor_count(), 1);

    let leaf = issue(&leaf_params(&[WFM_ID]), &ca).chain.remove(0);
    let key = |x5c: serde_json::Value| {
        serde_json::json!({"keys": [{"use": "x509-svid", "x5c": x5c}]}).to_string()
    };
    let keys = serde_json::json!({"keys": vec![serde_json::json!({}); 65]}).to_string();
    let url_safe = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(ca.der())
    };
    for (name, text, expected) in [
        ("not JSON", "no".to_owned(), "not a SPIFFE bundle"),
        ("no keys", "{}".to_owned(), "no usable"),
        ("empty keys", r#"{"keys":[]}"#.to_owned(), "no usable"),
        ("only JWT keys", r#"{"keys":[{"use":"jwt-svid"}]}"#.to_owned(), "no usable"),
        ("negative sequence", r#"{"keys":[],"spiffe_sequence":-1}"#.to_owned(), "not a SPIFFE"),
        ("no x5c", r#"{"keys":[{"use":"x509-svid"}]}"#.to_owned(), "exactly one"),
        ("two certificates", key(serde_json::json!(["AA==", "AA=="])), "exactly one"),
        ("not base64", key(serde_json::json!(["*"])), "base64"),
        ("url-safe base64", key(serde_json::json!([url_safe])), "base64"),
        ("not a certificate", key(serde_json::json!(["AA=="])), "key 0"),
        ("a leaf", bundle_json(&[&leaf]), "not of an authority"),
        ("too many keys", keys, "more than 64"),
        ("too large", " ".repeat((1 << 20) + 1), "larger than"),
    ] {
        let error = TrustBundle::parse(text.as_bytes()).expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(error.to_failure().code, Code::IdentityInvalid);
    }
    let error = TrustBundle::load(Path::new("/nonexistent/bundle.json")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/bundle.json"));
}

fn load(issued: &Issued) -> Result<Svid, SvidError> {
    let place = tempfile::tempdir().unwrap();
    let (cert, key) = write_identity(place.path(), issued);
    Svid::load(&cert, &key)
}

#[test]
fn every_fault_of_the_identity_files_has_its_own_error() {
    let ca = root("root");
    let good = issue(&leaf_params(&[CLIENT_ID]), &ca);
    let svid = load(&good).unwrap();
    assert_eq!(svid.id().to_string(), CLIENT_ID);
    assert!(svid.is_valid_at(NOW_UNIX_SECS as i64) && !svid.is_valid_at(0));
    assert!(svid.verify_against(&bundle_of(&[&root("other")]), NOW_UNIX_SECS).is_err());
    let shown = format!("{svid:?}");
    assert!(shown.contains("w1") && !shown.to_lowercase().contains("key"), "{shown}");

    let place = tempfile::tempdir().unwrap();
    let (cert, key) = write_identity(place.path(), &good);
    let fault = |cert: &Path, key: &Path, what: &str| {
        let error = Svid::load(cert, key).expect_err(what);
        assert_eq!(error.to_failure().code, Code::IdentityInvalid);
        let text = error.to_failure().message;
        assert!(text.contains("svid."), "{what} names its file: {text}");
        assert!(text.contains(what), "expected `{what}`: {text}");
    };
    fault(&place.path().join("svid.none"), &key, "No such file");
    fault(&cert, &place.path().join("svid.none"), "No such file");
    fault(&key, &key, "0 certificates");
    std::fs::set_permissions(&cert, std::fs::Permissions::from_mode(0o600)).unwrap();
    fault(&cert, &cert, "no unencrypted PKCS#8");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    fault(&cert, &key, "mode 644");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    Svid::load(&cert, &key).unwrap();
    let other = issue(&leaf_params(&[CLIENT_ID]), &ca);
    std::fs::write(&key, other.key.serialize_pem()).unwrap();
    fault(&cert, &key, "does not belong");
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    std::fs::write(&key, sec1).unwrap();
    fault(&cert, &key, "no unencrypted PKCS#8");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    fault(&cert, &key, "unsupported kind");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n*").unwrap();
    fault(&cert, &key, "not PEM");
    std::fs::write(&cert, vec![b'x'; 300_000]).unwrap();
    fault(&cert, &key, "larger than");

    let error = load(&issue(&leaf_params(&[WFM_ID]), &ca)).unwrap_err();
    assert!(matches!(error, SvidError::NotClient { .. }));
}

/// A WFM's side of one handshake; returns what the client sent, or why it failed.
async fn serve_once(
    listener: tokio::net::TcpListener,
    wfm: Issued,
    client_root: CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client_root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(wfm.key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(wfm.chain, key.into())
        .unwrap();
    let (socket, _) = listener.accept().await?;
    let mut tls = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await?;
    let mut received = Vec::new();
    tls.read_to_end(&mut received).await?;
    Ok(received)
}

/// Connects as the device would and says hello.
async fn connect(port: u16, svid: &Svid, bundle: &TrustBundle) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let clock = Clock { floor_unix_secs: NOW_UNIX_SECS, time: Arc::new(FixedTime(NOW_UNIX_SECS)) };
    let config = client_config(svid, bundle, &clock).unwrap();
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let name = rustls_pki_types::ServerName::try_from("any.name.example").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(name, socket).await?;
    tls.write_all(b"hello").await?;
    tls.shutdown().await
}

async fn handshake(
    wfm_uri: &str,
    client_ca: &Ca,
    version: &'static rustls::SupportedProtocolVersion,
) -> (std::io::Result<Vec<u8>>, std::io::Result<()>) {
    let ca = root("root");
    let wfm = issue(&leaf_params(&[wfm_uri]), &ca);
    let svid = load(&issue(&leaf_params(&[CLIENT_ID]), client_ca)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bundle = bundle_of(&[&ca]);
    tokio::join!(
        serve_once(listener, wfm, client_ca.der().clone(), version),
        connect(port, &svid, &bundle)
    )
}

#[tokio::test]
async fn a_real_handshake_is_mutual_and_tls_1_3() {
    let client_ca = root("clients");
    let tls13 = &rustls::version::TLS13;
    let (server, client) = handshake(WFM_ID, &client_ca, tls13).await;
    client.unwrap();
    assert_eq!(server.unwrap(), b"hello");

    let wrong = "spiffe://factory.example/margo/wfm/w2";
    let (server, client) = handshake(wrong, &client_ca, tls13).await;
    let error = client.unwrap_err();
    assert!(server.is_err());
    let source = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap();
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = source else {
        panic!("{source:?}")
    };
    assert!(matches!(other.0.downcast_ref(), Some(VerifyError::Identity { .. })));

    let (server, client) = handshake(WFM_ID, &client_ca, &rustls::version::TLS12).await;
    assert!(server.is_err() && client.is_err(), "TLS 1.2 is not spoken");
}
