//! Every defect has its own code, file and field, and all of them are told at once.

use super::*;
use DefectCode::*;
use rcgen::{BasicConstraints, IsCa};

const DOMAIN: &str = "factory.example";

/// The defects of a package for a new device.
fn refused(files: &Files) -> Vec<(DefectCode, String, String)> {
    let device = Device::new();
    let attempt = device.install(files);
    assert_eq!(attempt.outcome, Outcome::Refused, "{attempt}");
    assert_eq!(device.content(), BTreeMap::new(), "a refused package leaves nothing");
    assert_eq!(device.places().last_attempt().as_ref(), Some(&attempt));
    told(&attempt).into_iter().map(|(code, file, f)| (code, file.into(), f.into())).collect()
}

fn expect(files: &Files, expected: &[(DefectCode, &str, &str)]) {
    let found = refused(files);
    let found: Vec<_> = found.iter().map(|(c, file, f)| (*c, file.as_str(), f.as_str())).collect();
    assert_eq!(found, expected);
}

fn for_leaf(ca: &Ca, params: &CertificateParams) -> Files {
    Files::of(ca, &issue(params, ca))
}

#[test]
fn a_good_package_is_installed_and_complete() {
    let (device, ca) = (Device::new(), authority(DOMAIN));
    let attempt = device.install(&Files::good(&ca));
    assert_eq!((attempt.outcome, told(&attempt)), (Outcome::Installed, Vec::new()), "{attempt}");
    assert_eq!(attempt.spiffe_id.as_deref(), Some(CLIENT_ID));
    assert_eq!(device.places().lacking(), Vec::<String>::new());
    assert_eq!(device.places().svid().unwrap().id().to_string(), CLIENT_ID);
    assert_eq!(device.places().url(), Some(URL));
}

#[test]
fn each_missing_file_is_named() {
    let files = Files::good(&authority(DOMAIN));
    for file in ["margo-provision.toml", "svid.pem", "svid.key", "bundle.json"] {
        expect(&files.clone().without(file), &[(FileMissing, file, "")]);
    }
    let nothing = Files(BTreeMap::new());
    assert_eq!(refused(&nothing).len(), 4);
}

#[test]
fn what_is_no_pem_or_no_json_is_said_of_the_right_file() {
    let files = Files::good(&authority(DOMAIN));
    expect(&files.clone().with("svid.pem", "x"), &[(CertificateNotPem, "svid.pem", "")]);
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
    expect(&files.clone().with("svid.pem", cut), &[(CertificateNotPem, "svid.pem", "")]);
    let empty = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    expect(
        &files.clone().with("svid.pem", empty),
        &[(CertificateInvalid, "svid.pem", "certificate 0")],
    );
    expect(&files.clone().with("svid.key", "x"), &[(KeyNotPem, "svid.key", "")]);
    let old = "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n";
    expect(&files.clone().with("svid.key", old), &[(KeyNotPem, "svid.key", "")]);
    let odd = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    expect(&files.clone().with("svid.key", odd), &[(KeyUnsupported, "svid.key", "")]);
    expect(&files.clone().with("bundle.json", "{"), &[(BundleInvalid, "bundle.json", "")]);
    let none = "{\"keys\": []}";
    expect(&files.with("bundle.json", none), &[(BundleInvalid, "bundle.json", "keys")]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ca = authority(DOMAIN);
    let other = KeyPair::generate().unwrap().serialize_pem();
    expect(&Files::good(&ca).with("svid.key", other), &[(KeyMismatch, "svid.key", "")]);
}

#[test]
fn validity_is_judged_by_the_clock() {
    let ca = authority(DOMAIN);
    expect(&for_leaf(&ca, &valid(CLIENT_ID, -9, -1)), &[(SvidExpired, "svid.pem", "notAfter")]);
    expect(&for_leaf(&ca, &valid(CLIENT_ID, 1, 9)), &[(SvidNotYetValid, "svid.pem", "notBefore")]);
}

#[test]
fn a_clock_that_is_wrong_for_certain_blocks_nothing() {
    let ca = authority(DOMAIN);
    let begin = now() + Duration::days(1);
    let package = for_leaf(&ca, &valid(CLIENT_ID, 1, 9)).package();
    let judged = |unix_secs: i64, floor: i64, is_unconfirmed| {
        let [unix_secs, floor_unix_secs] = [unix_secs, floor].map(|s| s.try_into().unwrap());
        let clock = super::super::places::Now { unix_secs, floor_unix_secs, is_unconfirmed };
        let (mut defects, mut notes) = (Vec::new(), Vec::new());
        super::super::identity::judge_identity(&package, clock, &mut defects, &mut notes);
        (defects.iter().map(|defect| defect.code).collect::<Vec<_>>(), notes)
    };
    let floor = (now() - Duration::days(30)).unix_timestamp();
    let (defects, notes) = judged(0, floor, false);
    assert_eq!(defects, []);
    assert!(notes[0].contains("1970-01-01") && notes[0].contains("not judged"), "{notes:?}");
    let (defects, notes) = judged(now().unix_timestamp(), floor, true);
    assert_eq!(defects, []);
    assert!(notes[0].contains("not confirmed"), "{notes:?}");
    assert_eq!(judged(now().unix_timestamp(), floor, false).0, [SvidNotYetValid]);
    assert_eq!(judged(begin.unix_timestamp(), floor, false), (Vec::new(), Vec::new()));
    // Whatever the clock says: what ended before a time that has passed is over.
    let after = (now() + Duration::days(30)).unix_timestamp();
    assert_eq!(judged(0, after, false).0, [SvidExpired]);
}

#[test]
fn only_the_identity_of_a_client_will_do() {
    let ca = authority(DOMAIN);
    for id in [
        "spiffe://factory.example/margo/wfm/w1",
        "spiffe://factory.example/other/w1",
        "https://factory.example/margo/wfm/w1/client/d1",
        "spiffe://Factory.example/margo/wfm/w1/client/d1",
        "spiffe://factory.example",
    ] {
        expect(&for_leaf(&ca, &leaf(id)), &[(SpiffeIdInvalid, "svid.pem", "URI name")]);
    }
}

#[test]
fn the_rules_for_leaves_hold() {
    let ca = authority(DOMAIN);
    let mut params = leaf(CLIENT_ID);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let at = (CertificateInvalid, "svid.pem", "certificate 0");
    expect(&for_leaf(&ca, &params), &[at]);
    let two = leaf_params(&[CLIENT_ID, "spiffe://b.example/x"]);
    expect(&for_leaf(&ca, &two), &[at]);
}

#[test]
fn chain_and_bundle_must_belong_together() {
    let (ca, stranger) = (authority(DOMAIN), authority(DOMAIN));
    let other = bundle_json(&[stranger.der()]);
    expect(&Files::good(&ca).with("bundle.json", other), &[(ChainUntrusted, "svid.pem", "")]);
    let foreign = bundle_json(&[authority("elsewhere.example").der()]);
    expect(&Files::good(&ca).with("bundle.json", foreign), &[(BundleForeign, "bundle.json", "")]);
    // A leaf of another trust domain by the right authority.
    let leaf = leaf("spiffe://elsewhere.example/margo/wfm/w1/client/d1");
    expect(&for_leaf(&ca, &leaf), &[(BundleForeign, "bundle.json", "")]);
}

#[test]
fn settings_are_checked_by_the_table_of_keys() {
    let files = Files::good(&authority(DOMAIN));
    let with = |text: &str| files.clone().with("margo-provision.toml", text);
    let line = "margo-provision.toml:";
    for (text, code, at, field) in [
        ("[wfm\n", SettingsSyntax, 1, ""),
        ("[wfm]\nurl = \"https://w\"\nurll = 1\n", SettingUnknown, 3, "wfm.urll"),
        ("[wfm]\nurl = \"http://w\"\n", UrlInvalid, 2, "wfm.url"),
        ("[wfm]\nurl = 7\n", UrlInvalid, 2, "wfm.url"),
        (
            "[wfm]\nurl = \"https://w\"\npoll_interval_secs = 0\n",
            SettingInvalid,
            3,
            "wfm.poll_interval_secs",
        ),
    ] {
        let found = refused(&with(text));
        let wanted = (code, format!("{line}{at}"), field.to_owned());
        assert!(found.contains(&wanted), "{text}: {found:?}");
    }
    expect(&with("[device]\nid = \"d\"\n"), &[(UrlMissing, "margo-provision.toml", "wfm.url")]);
    let text = format!("{SETTINGS}identity_dir = \"/tmp\"\n[paths]\nstate_dir = \"/tmp\"\n");
    expect(
        &with(&text),
        &[
            (SettingNotAllowed, "margo-provision.toml", "paths"),
            (SettingNotAllowed, "margo-provision.toml", "wfm.identity_dir"),
        ],
    );
    let text = format!("{SETTINGS}[package]\nreplase = true\nidentity = \"maybe\"\n");
    expect(
        &with(&text),
        &[
            (SettingInvalid, "margo-provision.toml", "package.identity"),
            (SettingUnknown, "margo-provision.toml", "package.replase"),
        ],
    );
}

#[test]
fn a_file_that_the_settings_name_must_come_along() {
    let text = format!(
        "{SETTINGS}[[registry]]\nhost = \"r\"\nusername = \"u\"\n\
         password_file = \"/etc/margo-agent/registry/password\"\n"
    );
    let files = Files::good(&authority(DOMAIN)).with("margo-provision.toml", text);
    expect(&files, &[(FileMissing, "registry/password", "registry.password_file")]);
    let device = Device::new();
    let attempt = device.install(&files.with("registry/password", "secret"));
    assert_eq!(attempt.outcome, Outcome::Installed, "{attempt}");
    assert_eq!(fs::read(device.etc().join("registry/password")).unwrap(), b"secret");
}

#[test]
fn limits_hold_and_strangers_are_only_mentioned() {
    let files = Files::good(&authority(DOMAIN));
    let big = vec![b'#'; (1 << 20) + 1];
    expect(&files.clone().with("svid.pem", big), &[(FileTooLarge, "svid.pem", "")]);
    let many = (0..70).fold(files.clone(), |f, n| f.with(&format!("registry/{n}"), "x"));
    assert!(refused(&many).contains(&(PackageTooLarge, "package".into(), String::new())));
    let device = Device::new();
    let attempt = device.check(&files.with("svid.crt", "x").with(".DS_Store", "x"));
    assert_eq!(attempt.outcome, Outcome::Valid, "{attempt}");
    assert_eq!(attempt.notes.len(), 1, "{attempt}");
    assert!(attempt.notes[0].starts_with("FILE_UNKNOWN svid.crt: "), "{attempt}");
    assert_eq!(device.content(), BTreeMap::new());
}

#[test]
fn everything_is_told_at_once() {
    let ca = authority(DOMAIN);
    let files = for_leaf(&ca, &valid(CLIENT_ID, -9, -1))
        .with("svid.key", KeyPair::generate().unwrap().serialize_pem())
        .with("bundle.json", bundle_json(&[authority("elsewhere.example").der()]))
        .with("margo-provision.toml", "[wfm]\nurl = \"http://w\"\n[devise]\nid = \"x\"\n");
    let codes: Vec<_> = refused(&files).into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes.len(), 5, "{codes:?}");
    for code in [SvidExpired, KeyMismatch, BundleForeign, UrlInvalid, SettingUnknown] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}
