//! Pulling from a scripted registry: the honest case, logins, cuts, lies, limits.

mod access_control;

use super::auth::{Challenge, parse_challenge};
use super::*;
use crate::artifacts::{Artifacts, digest};
use crate::margo::tests::server::{Handler, Log, Reply, Seen, answer, serve};
use serde_json::{Value, json};
use state_machine::failure::{Code, FailureClass};
use state_machine::ids::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

const LAYER: &[u8] = b"the archive's bytes, of which there are enough to be cut in the middle";
const PATH: &str = "plant/filler";

fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": COMPOSE_ARTIFACT_TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest::of(b"{}"), "size": 2},
        "layers": [{
            "mediaType": COMPOSE_LAYER_MEDIA_TYPE,
            "digest": digest::of(LAYER),
            "size": LAYER.len(),
            "annotations": {"org.margo.component.type": "compose", "org.margo.component.version": "1.0.9"},
        }],
    })
}

fn manifest_bytes() -> Vec<u8> {
    manifest().to_string().into_bytes()
}

fn is_blob(seen: &Seen) -> bool {
    seen.line.contains("/blobs/")
}

/// What an honest registry answers.
fn honest(seen: &Seen) -> Reply {
    let tag = format!("GET /v2/{PATH}/manifests/1.0.9 ");
    let pinned = format!("GET /v2/{PATH}/manifests/{} ", digest::of(&manifest_bytes()));
    let blob = format!("GET /v2/{PATH}/blobs/{} ", digest::of(LAYER));
    if seen.line.starts_with(&tag) || seen.line.starts_with(&pinned) {
        let content_digest = digest::of(&manifest_bytes());
        answer(200, &[("Docker-Content-Digest", content_digest.as_str())], &manifest_bytes())
    } else if seen.line.starts_with(&blob) {
        answer(200, &[], LAYER)
    } else {
        answer(404, &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"none here"}]}"#)
    }
}

/// A registry on loopback, a store, and what a pull needs.
struct Lab {
    log: Log,
    port: u16,
    store: Artifacts,
    _place: tempfile::TempDir,
}

async fn lab(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Lab {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::default();
    let (handler, own_log) = (Arc::new(handler) as Handler, log.clone());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket, handler.clone(), own_log.clone()));
        }
    });
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    Lab { log, port, store, _place: place }
}

impl Lab {
    fn reference(&self) -> OciReference {
        OciReference::parse(&format!("oci://127.0.0.1:{}/{PATH}", self.port), "1.0.9").unwrap()
    }

    fn puller(&self, access: RegistryAccess) -> Puller {
        let entries = BTreeMap::from([(format!("127.0.0.1:{}", self.port), access)]);
        Puller::new(Registries::new(entries), limits())
    }

    async fn pull(&self, pinned: Option<&Digest>) -> Result<PulledArtifact, OciError> {
        let puller = self.puller(RegistryAccess::default());
        puller.pull_compose_artifact(&self.reference(), pinned, &self.store).await
    }
}

fn limits() -> OciLimits {
    OciLimits { retry_pause_ms: 0, attempts_max: 3, ..OciLimits::default() }
}

fn access(username: &str) -> RegistryAccess {
    let credentials = Credentials { username: username.into(), password: "secret".into() };
    RegistryAccess { credentials: Some(credentials), ..RegistryAccess::default() }
}

#[test]
fn references_are_checked_before_they_become_urls() {
    let good = [
        ("oci://registry.example/a", "1.0.0"),
        ("oci://registry.example:5000/plant/filler_x/y.z--q/a__b", "1.0.0-rc.1_build.7"),
        ("oci://[::1]:5000/a", "_x"),
    ];
    for (repository, tag) in good {
        let reference = OciReference::parse(repository, tag).unwrap();
        assert_eq!(format!("oci://{reference}"), format!("{repository}:{tag}"));
    }
    let long = format!("oci://r/{}", "a".repeat(256));
    let bad = [
        ("https://r/a", "1", ReferenceError::Scheme),
        ("oci://r", "1", ReferenceError::Path),
        ("oci://r/", "1", ReferenceError::Path),
        ("oci://r/a/", "1", ReferenceError::Path),
        ("oci://r/a//b", "1", ReferenceError::Path),
        ("oci://r/../b", "1", ReferenceError::Path),
        ("oci://r/A", "1", ReferenceError::Path),
        ("oci://r/a?b", "1", ReferenceError::Path),
        ("oci://r/a:1", "1", ReferenceError::Path),
        ("oci://r/a@sha256", "1", ReferenceError::Path),
        ("oci://r/-a", "1", ReferenceError::Path),
        ("oci://r/a___b", "1", ReferenceError::Path),
        ("oci://r/ä", "1", ReferenceError::Path),
        (&long, "1", ReferenceError::Path),
        ("oci:///a", "1", ReferenceError::Registry),
        ("oci://u@r/a", "1", ReferenceError::Registry),
        ("oci://r:0/a", "1", ReferenceError::Registry),
        ("oci://r:99999/a", "1", ReferenceError::Registry),
        ("oci://r:x/a", "1", ReferenceError::Registry),
        ("oci://r:/a", "1", ReferenceError::Registry),
        ("oci://-r/a", "1", ReferenceError::Registry),
        ("oci://[::1/a", "1", ReferenceError::Registry),
        ("oci://[x]/a", "1", ReferenceError::Registry),
        ("oci://r/a", "", ReferenceError::Tag),
        ("oci://r/a", ".1", ReferenceError::Tag),
        ("oci://r/a", "1+2", ReferenceError::Tag),
        ("oci://r/a", "a/b", ReferenceError::Tag),
    ];
    for (repository, tag, error) in bad {
        assert_eq!(OciReference::parse(repository, tag), Err(error), "{repository} {tag}");
    }
    let failure = OciError::Reference { source: ReferenceError::Tag }.to_failure();
    assert_eq!(failure.code, Code::DeploymentInvalid);
}

#[test]
fn plain_http_is_for_this_machine_and_listed_registries_only() {
    let reference = |text: &str| OciReference::parse(&format!("oci://{text}/a"), "1").unwrap();
    let insecure = RegistryAccess { insecure_http: true, ..RegistryAccess::default() };
    let with_ca = RegistryAccess { ca_pem: Some(vec![]), ..RegistryAccess::default() };
    let registries = Registries::new(BTreeMap::from([
        ("listed.example".to_owned(), insecure),
        ("localhost:1".to_owned(), with_ca),
    ]));
    for (registry, scheme) in [
        ("other.example", "https"),
        ("listed.example", "http"),
        ("listed.example:5000", "https"),
        ("localhost", "http"),
        ("localhost:1", "https"),
        ("127.0.0.1:5000", "http"),
        ("[::1]:5000", "http"),
        ("localhost.example", "https"),
        ("10.0.0.1", "https"),
    ] {
        assert_eq!(registries.scheme(&reference(registry)), scheme, "{registry}");
    }
}

#[test]
fn challenges_are_parsed_with_quotes_and_without() {
    let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
        realm: realm.into(),
        service: service.map(Into::into),
        scope: scope.map(Into::into),
    };
    let cases = [
        ("Basic realm=\"x\"", Some(Challenge::Basic)),
        ("basic", Some(Challenge::Basic)),
        (
            r#"Bearer realm="https://a/t",service="s",scope="repository:a:pull,push""#,
            Some(bearer("https://a/t", Some("s"), Some("repository:a:pull,push"))),
        ),
        (r#"bearer  Realm=https://a/t , x="a\"b""#, Some(bearer("https://a/t", None, None))),
        ("Bearer service=\"s\"", None),
        ("Bearer realm=\"open", None),
        ("Negotiate", None),
        ("", None),
    ];
    for (header, expected) in cases {
        assert_eq!(parse_challenge(header), expected, "{header}");
    }
}

#[test]
fn passwords_are_never_shown() {
    let shown = format!("{:?}", access("ann"));
    assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn an_artifact_is_pulled_by_tag_and_then_needs_no_network() {
    let lab = lab(honest).await;
    let pulled = lab.pull(None).await.unwrap();
    assert_eq!(pulled.manifest_digest, digest::of(&manifest_bytes()));
    assert_eq!(pulled.layer_digest, digest::of(LAYER));
    assert_eq!(pulled.layer_size_bytes, LAYER.len() as u64);
    assert_eq!(lab.store.get(&pulled.layer_digest).unwrap(), LAYER);
    assert_eq!(lab.log.lines().len(), 2);
    let seen = lab.log.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.header("accept"), Some("application/vnd.oci.image.manifest.v1+json"));
    let again = lab.pull(Some(&pulled.manifest_digest)).await.unwrap();
    assert_eq!(again, pulled);
    assert_eq!(lab.log.lines().len(), 2, "everything was here");
}

#[tokio::test]
async fn a_damaged_layer_is_fetched_again_by_the_pinned_digest() {
    let lab = lab(honest).await;
    let pulled = lab.pull(None).await.unwrap();
    std::fs::write(lab.store.path(&pulled.layer_digest).unwrap(), "damaged").unwrap();
    std::fs::write(lab.store.path(&pulled.manifest_digest).unwrap(), "damaged").unwrap();
    assert_eq!(lab.pull(Some(&pulled.manifest_digest)).await.unwrap(), pulled);
    assert_eq!(lab.store.get(&pulled.layer_digest).unwrap(), LAYER);
    assert!(lab.log.lines()[2].contains(&format!("/manifests/{}", pulled.manifest_digest)));
}

#[tokio::test]
async fn a_moved_tag_does_not_change_what_is_pinned() {
    let lab = lab(|seen| {
        if seen.line.contains("/manifests/1.0.9") {
            return answer(200, &[], b"something else entirely");
        }
        honest(seen)
    })
    .await;
    let pinned = digest::of(&manifest_bytes());
    assert_eq!(lab.pull(Some(&pinned)).await.unwrap().manifest_digest, pinned);
}

#[tokio::test]
async fn a_cut_transfer_continues_where_it_stopped() {
    let calls = AtomicUsize::new(0);
    let lab = lab(move |seen| {
        if !is_blob(seen) {
            return honest(seen);
        }
        let have = calls.fetch_add(1, Ordering::SeqCst) * 20;
        let range = seen.header("range").map(str::to_owned);
        assert_eq!(range, (have > 0).then(|| format!("bytes={have}-")));
        let rest = &LAYER[have..];
        let part = &rest[..rest.len().min(20)];
        let (status, total) = (if have > 0 { 206 } else { 200 }, LAYER.len());
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\ncontent-range: bytes {have}-{}/{total}\r\n\r\n",
            rest.len(),
            total - 1,
        );
        Reply::Cut([head.as_bytes(), part].concat())
    })
    .await;
    let pulled = lab.pull(None).await.unwrap();
    assert_eq!(lab.store.get(&pulled.layer_digest).unwrap(), LAYER);
    assert_eq!(lab.log.lines().len(), 1 + LAYER.len().div_ceil(20));
}

#[tokio::test]
async fn a_registry_without_ranges_begins_again() {
    let calls = AtomicUsize::new(0);
    let lab = lab(move |seen| {
        if !is_blob(seen) {
            return honest(seen);
        }
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", LAYER.len());
                Reply::Cut([head.as_bytes(), &LAYER[..30]].concat())
            }
            1 => answer(416, &[], b""),
            2 => {
                let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", LAYER.len());
                Reply::Cut([head.as_bytes(), &LAYER[..30]].concat())
            }
            // Asked for the rest, it sends a part that begins elsewhere.
            3 => answer(206, &[("content-range", "bytes 0-70/71")], LAYER),
            _ => answer(200, &[], LAYER),
        }
    })
    .await;
    let pulled = lab.pull(None).await.unwrap();
    assert_eq!(lab.store.get(&pulled.layer_digest).unwrap(), LAYER);
}

#[tokio::test]
async fn a_transfer_that_never_gets_on_is_given_up() {
    let lab =
        lab(
            |seen| {
                if is_blob(seen) {
                    Reply::Cut(b"HTTP/1.1 200 X\r\n".to_vec())
                } else {
                    honest(seen)
                }
            },
        )
        .await;
    let failure = lab.pull(None).await.unwrap_err().to_failure();
    assert_eq!((failure.code, failure.class), (Code::ArtifactPullFailed, FailureClass::Retryable));
    assert_eq!(lab.log.lines().iter().filter(|line| line.contains("/blobs/")).count(), 4);
    let left = std::fs::read_dir(lab._place.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "no partial file stays");
}

#[tokio::test]
async fn bytes_with_another_digest_are_never_stored() {
    type Script = fn(&Seen) -> Reply;
    let other = vec![b'x'; LAYER.len()];
    let cases: [(&str, Script); 3] = [
        ("layer", |seen| {
            let other = vec![b'x'; LAYER.len()];
            if is_blob(seen) { answer(200, &[], &other) } else { honest(seen) }
        }),
        ("manifest header", |seen| {
            let lie = digest::of(b"lie");
            if is_blob(seen) {
                honest(seen)
            } else {
                answer(200, &[("docker-content-digest", lie.as_str())], &manifest_bytes())
            }
        }),
        ("longer layer", |seen| {
            if is_blob(seen) { answer(200, &[], &[LAYER, b"!"].concat()) } else { honest(seen) }
        }),
    ];
    for (name, script) in cases {
        let lab = lab(script).await;
        let failure = lab.pull(None).await.expect_err(name).to_failure();
        let expected = if name == "longer layer" {
            Code::ArtifactPullFailed
        } else {
            Code::ArtifactDigestMismatch
        };
        assert_eq!(failure.code, expected, "{name}: {failure}");
        for bytes in [LAYER, &other[..]] {
            assert!(!lab.store.contains(&digest::of(bytes)), "{name}");
        }
    }
    let lab = lab(|_| answer(200, &[], &manifest_bytes())).await;
    let error = lab.pull(Some(&digest::of(b"pinned"))).await.unwrap_err();
    assert!(matches!(error, OciError::DigestMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn other_kinds_of_artifacts_are_refused() {
    type Spoil = fn(&mut Value);
    let cases: [(&str, Spoil); 11] = [
        ("docker compose publish", |m| {
            m["artifactType"] = json!("application/vnd.docker.compose.project");
        }),
        ("is of type `application/vnd.oci.empty", |m| {
            m.as_object_mut().unwrap().remove("artifactType");
        }),
        ("layer is of type", |m| m["layers"][0]["mediaType"] = json!("application/gzip")),
        ("2 layers", |m| {
            let first = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(first);
        }),
        ("0 layers", |m| m["layers"] = json!([])),
        ("component is of type `helm`", |m| {
            m["layers"][0]["annotations"]["org.margo.component.type"] = json!("helm");
        }),
        ("no sha256 digest", |m| m["layers"][0]["digest"] = json!("sha512:00")),
        ("not an OCI image manifest", |m| m["layers"][0]["size"] = json!(-1)),
        ("not an OCI image manifest", |m| *m = json!([])),
        ("index", |m| m["manifests"] = json!([])),
        ("manifest is of type", |m| m["mediaType"] = json!("application/json")),
    ];
    for (name, spoil) in cases {
        let mut spoilt = manifest();
        spoil(&mut spoilt);
        let lab = lab(move |_| answer(200, &[], spoilt.to_string().as_bytes())).await;
        let failure = lab.pull(None).await.expect_err(name).to_failure();
        assert_eq!(failure.code, Code::ArchiveInvalid, "{name}");
        let expected =
            name.strip_prefix("docker compose publish").map_or(name, |_| "compose.project");
        assert!(failure.message.contains(expected), "{name}: {failure}");
        assert_eq!(failure.class, FailureClass::Refused);
    }
    let mut large = manifest();
    large["layers"][0]["size"] = json!(65 << 20);
    let lab_large = lab(move |_| answer(200, &[], large.to_string().as_bytes())).await;
    assert_eq!(lab_large.pull(None).await.unwrap_err().to_failure().code, Code::ArtifactTooLarge);
    let endless = lab(|_| answer(200, &[], &vec![b' '; (1 << 20) + 1])).await;
    assert_eq!(endless.pull(None).await.unwrap_err().to_failure().code, Code::ArtifactTooLarge);
}

#[tokio::test]
async fn the_type_may_stand_in_the_config_as_old_tools_write_it() {
    let mut old = manifest();
    old.as_object_mut().unwrap().remove("artifactType");
    old["config"]["mediaType"] = json!(COMPOSE_ARTIFACT_TYPE);
    let lab = lab(move |seen| {
        if is_blob(seen) { honest(seen) } else { answer(200, &[], old.to_string().as_bytes()) }
    })
    .await;
    lab.pull(None).await.unwrap();
}

#[tokio::test]
async fn statuses_are_told_apart() {
    for (status, code) in [
        (404, Code::ArtifactNotFound),
        (403, Code::ArtifactAuthFailed),
        (401, Code::ArtifactAuthFailed),
        (429, Code::ArtifactPullFailed),
        (500, Code::ArtifactPullFailed),
        (418, Code::ArtifactPullFailed),
    ] {
        let lab = lab(move |_| {
            let body = br#"{"errors":[{"code":"SOME_CODE","message":"because"}]}"#;
            answer(status, &[("retry-after", "3")], body)
        })
        .await;
        let failure = lab.pull(None).await.unwrap_err().to_failure();
        assert_eq!(failure.code, code, "{status}");
        if status != 401 {
            assert!(failure.message.contains("SOME_CODE: because"), "{failure}");
        }
        let paused = matches!(status, 429 | 500).then_some(3000);
        assert_eq!(failure.retry_after_ms, paused, "{status}");
    }
}

#[tokio::test]
async fn a_full_disk_is_no_space() {
    let error = OciError::Store {
        what: "layer".into(),
        source: crate::artifacts::ArtifactsError::Write {
            path: "/data/x".into(),
            source: std::io::Error::from_raw_os_error(28),
        },
    };
    assert_eq!(error.to_failure().code, Code::NoSpace);
    // The writer's error reaches the caller: here its directory is gone.
    let lab = lab(honest).await;
    std::fs::remove_dir_all(lab._place.path().join("tmp")).unwrap();
    let error = lab.pull(None).await.unwrap_err();
    assert!(matches!(error, OciError::Store { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_a_retryable_pull_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let reference = OciReference::parse(&format!("oci://127.0.0.1:{port}/a"), "1.0.0").unwrap();
    let puller = Puller::new(Registries::default(), limits());
    let error = puller.pull_compose_artifact(&reference, None, &store).await.unwrap_err();
    let failure = error.to_failure();
    assert_eq!((failure.code, failure.class), (Code::ArtifactPullFailed, FailureClass::Retryable));
}
