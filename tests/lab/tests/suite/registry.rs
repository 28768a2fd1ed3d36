//! The registry over its API: reading, writing, ranges, authentication, faults, artifacts.

use std::collections::BTreeMap;
use std::io::Read;

use crate::common::{Client, lab, web};
use flate2::read::GzDecoder;
use margo_lab::archive::{Entries, Entry};
use margo_lab::ids::sha256_digest;
use margo_lab::registry::{ImageConfig, ImageFormat, RegistryAuth, RegistryError};
use margo_lab::{Fault, FaultKind, Lab, LabConfig, Operation};
use reqwest::Method;
use serde_json::{Value, json};

const COMPOSE: &str = "services:\n  web:\n    image: ${LAB_REGISTRY}/lab/app:1\n";

fn registry(lab: &Lab) -> Client {
    web("", &format!("http://{}", lab.endpoints().registry))
}

#[tokio::test]
async fn a_compose_artifact_is_what_a_device_expects() {
    let lab = lab().await;
    let pushed = lab.registry().push_compose_text("lab/web", "1.0.0", COMPOSE).unwrap();
    let host = lab.registry().host().to_owned();
    assert_eq!(pushed.reference, format!("{host}/lab/web:1.0.0"));

    let registry = registry(&lab);
    assert_eq!(registry.get("/v2/").await.status, 200);
    let answer = registry.get("/v2/lab/web/manifests/1.0.0").await;
    assert_eq!(answer.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(answer.header("docker-content-digest"), pushed.digest);
    assert_eq!(sha256_digest(&answer.body), pushed.digest);
    let manifest = answer.json();
    assert_eq!(manifest["artifactType"], "application/vnd.org.margo.component.compose+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    let media_type = "application/vnd.org.margo.component.compose.tar+gzip";
    assert_eq!(layers[0]["mediaType"], media_type);
    assert_eq!(layers[0]["annotations"]["org.margo.component.type"], "compose");
    assert_eq!(layers[0]["annotations"]["org.margo.component.version"], "1.0.0");

    let digest = layers[0]["digest"].as_str().unwrap();
    let blob = registry.get(&format!("/v2/lab/web/blobs/{digest}")).await;
    assert_eq!(sha256_digest(&blob.body), digest);
    assert_eq!(layers[0]["size"], blob.body.len());
    let mut archive = tar::Archive::new(GzDecoder::new(blob.body.as_slice()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(path.trim_end_matches('/').to_owned(), text);
    }
    assert_eq!(files.keys().collect::<Vec<_>>(), ["app", "app/compose.yaml"]);
    assert_eq!(files["app/compose.yaml"], COMPOSE.replace("${LAB_REGISTRY}", &host));
    let config = manifest["config"]["digest"].as_str().unwrap();
    assert_eq!(registry.get(&format!("/v2/lab/web/blobs/{config}")).await.body, b"{}");
    let by_digest = registry.get(&format!("/v2/lab/web/manifests/{}", pushed.digest)).await;
    assert_eq!(by_digest.body, answer.body);
    let tags = registry.get("/v2/lab/web/tags/list").await.json();
    assert_eq!(tags, json!({"name": "lab/web", "tags": ["1.0.0"]}));
}

#[tokio::test]
async fn the_same_directory_gives_the_same_artifact() {
    let lab = lab().await;
    let push = |repository: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        std::fs::write(dir.path().join("conf/a.env"), "A=1\n").unwrap();
        std::fs::write(dir.path().join("compose.yaml"), COMPOSE).unwrap();
        lab.registry().push_compose_archive(repository, "1.0.0", dir.path()).unwrap().layers
    };
    assert_eq!(push("lab/one"), push("lab/two"));
}

#[tokio::test]
async fn what_cannot_be_packed_or_named_is_refused_by_name() {
    let lab = lab().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("docker-compose.yml"), COMPOSE).unwrap();
    let error = lab.registry().push_compose_archive("lab/x", "1.0.0", dir.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("compose.yaml"), "{source}");
    let push = |name: &str, tag: &str| lab.registry().push_compose_text(name, tag, COMPOSE);
    assert!(matches!(push("Lab/X", "1"), Err(RegistryError::Name { .. })));
    assert!(matches!(push("lab/x", "a b"), Err(RegistryError::Tag { .. })));
    let path = dir.path().join("docker-compose.yml");
    let config = ImageConfig::default();
    let error = lab.registry().push_image_from_path("lab/x", "1", &path, &config).unwrap_err();
    assert!(error.to_string().contains("docker-compose.yml"), "{error}");
}

#[tokio::test]
async fn blobs_come_whole_in_parts_or_as_a_head() {
    let lab = lab().await;
    let content: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let pushed = lab.registry().push_artifact("lab/big", "1.0.0", &content).unwrap();
    let registry = registry(&lab);
    let path = format!("/v2/lab/big/blobs/{}", pushed.layers[0]);
    assert_eq!(registry.get(&path).await.body, content);
    let head = registry.send(Method::HEAD, &path, &[], "").await.unwrap();
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "200000"));
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert!(head.body.is_empty());

    let part = registry.get_with(&path, &[("range", "bytes=100000-")]).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), "bytes 100000-199999/200000");
    assert_eq!(part.body, content[100_000..]);
    let part = registry.get_with(&path, &[("range", "bytes=5-9")]).await;
    assert_eq!(part.body, content[5..10]);
    let beyond = registry.get_with(&path, &[("range", "bytes=200000-")]).await;
    assert_eq!(beyond.status, 416);
    assert_eq!(lab.requests()[2].range.as_deref(), Some("bytes=100000-"));
    let unknown = format!("/v2/lab/big/blobs/{}", sha256_digest(b"?"));
    assert_eq!(registry.get(&unknown).await.json()["errors"][0]["code"], "BLOB_UNKNOWN");
    let unknown = registry.get("/v2/lab/big/manifests/2.0.0").await;
    assert_eq!(unknown.json()["errors"][0]["code"], "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn blobs_and_manifests_can_be_pushed_in_every_way() {
    let lab = lab().await;
    let registry = registry(&lab);
    let start = || registry.send(Method::POST, "/v2/lab/up/blobs/uploads/", &[], "");
    // In pieces.
    let upload = start().await.unwrap();
    assert_eq!(upload.status, 202);
    let place = upload.header("location").to_owned();
    let piece = |range: &'static str, body: &'static str| {
        let (registry, place) = (registry.clone(), place.clone());
        async move {
            let headers = [("content-range", range)];
            registry.send(Method::PATCH, &place, &headers, body).await.unwrap()
        }
    };
    assert_eq!(piece("0-3", "0123").await.header("range"), "0-3");
    assert_eq!(piece("9-12", "oops").await.status, 416);
    assert_eq!(piece("4-7", "4567").await.status, 202);
    assert_eq!(registry.get(&place).await.status, 204);
    let first = sha256_digest(b"0123456789");
    let finish = format!("{place}?digest={first}");
    assert_eq!(registry.send(Method::PUT, &finish, &[], "89").await.unwrap().status, 201);
    assert_eq!(registry.get(&format!("/v2/lab/up/blobs/{first}")).await.body, b"0123456789");
    assert_eq!(registry.get(&place).await.status, 404, "the upload is over");
    // At once.
    let second = sha256_digest(b"whole");
    let path = format!("/v2/lab/up/blobs/uploads/?digest={second}");
    assert_eq!(registry.send(Method::POST, &path, &[], "whole").await.unwrap().status, 201);
    // With a wrong digest, abandoned, mounted.
    let place = start().await.unwrap().header("location").to_owned();
    let wrong = registry.send(Method::PUT, &format!("{place}?digest={second}"), &[], "x").await;
    assert_eq!(wrong.unwrap().json()["errors"][0]["code"], "DIGEST_INVALID");
    assert_eq!(registry.send(Method::DELETE, &place, &[], "").await.unwrap().status, 204);
    let mount = format!("/v2/lab/other/blobs/uploads/?mount={first}&from=lab/up");
    assert_eq!(registry.send(Method::POST, &mount, &[], "").await.unwrap().status, 201);
    // A manifest of these blobs, and one that lacks a blob.
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind,
        "config": {"digest": second, "size": 5}, "layers": [{"digest": first, "size": 10}]});
    let put = |tag: &str, manifest: &Value| {
        let (registry, text) = (registry.clone(), manifest.to_string());
        let path = format!("/v2/lab/up/manifests/{tag}");
        async move { registry.send(Method::PUT, &path, &[("content-type", kind)], text).await.unwrap() }
    };
    assert_eq!(put("1.0.0", &manifest).await.status, 201);
    let stored = registry.get("/v2/lab/up/manifests/1.0.0").await;
    assert_eq!(stored.body, manifest.to_string().into_bytes());
    let lacking = json!({"schemaVersion": 2, "mediaType": kind,
        "config": {"digest": sha256_digest(b"no"), "size": 2}, "layers": []});
    let refused = put("1.0.1", &lacking).await;
    assert_eq!(refused.json()["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    let wrong = put(&sha256_digest(b"no"), &manifest).await;
    assert_eq!(wrong.json()["errors"][0]["code"], "DIGEST_INVALID");
}

#[tokio::test]
async fn a_moved_tag_resolves_to_the_new_content() {
    let lab = lab().await;
    let push = |tag: &str, text: &str| {
        lab.registry().push_compose_text("lab/web", tag, text).unwrap().digest
    };
    let (old, new) = (push("1.0.0", "services: {}\n"), push("1.0.1", "services: {a: {}}\n"));
    assert!(lab.registry().retag("lab/web", "1.0.0", &new).unwrap());
    assert!(!lab.registry().retag("lab/web", "1.0.0", &sha256_digest(b"?")).unwrap());
    let registry = registry(&lab);
    let answer = registry.get("/v2/lab/web/manifests/1.0.0").await;
    assert_eq!(answer.header("docker-content-digest"), new);
    assert_eq!(registry.get(&format!("/v2/lab/web/manifests/{old}")).await.status, 200);
    assert!(lab.registry().remove_repository("lab/web").unwrap());
    assert_eq!(registry.get("/v2/lab/web/manifests/1.0.0").await.status, 404);
}

#[tokio::test]
async fn basic_and_bearer_authentication_ask_and_let_in() {
    let lab = lab().await;
    lab.registry().push_compose_text("lab/web", "1.0.0", COMPOSE).unwrap();
    let registry = registry(&lab);
    let (user, password) = ("u".to_owned(), "p".to_owned());
    // "u:p" and "u:x"
    let (right, wrong) = ("Basic dTpw", "Basic dTp4");
    let path = "/v2/lab/web/manifests/1.0.0";
    let basic = RegistryAuth::Basic { user: user.clone(), password: password.clone() };
    lab.registry().set_auth(basic);
    let refused = registry.get(path).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    assert_eq!(registry.get_with(path, &[("authorization", wrong)]).await.status, 401);
    assert_eq!(registry.get_with(path, &[("authorization", right)]).await.status, 200);

    lab.registry().set_auth(RegistryAuth::Bearer { user, password });
    let refused = registry.get_with(path, &[("authorization", right)]).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    let realm = format!("Bearer realm=\"{}/token\"", registry.base);
    assert!(challenge.starts_with(&realm), "{challenge}");
    assert!(challenge.contains("scope=\"repository:lab/web:pull\""), "{challenge}");
    assert_eq!(registry.get("/token").await.status, 401);
    let given = registry.get_with("/token", &[("authorization", right)]).await.json();
    let bearer = format!("Bearer {}", given["token"].as_str().unwrap());
    assert_eq!(registry.get_with(path, &[("authorization", &bearer)]).await.status, 200);
    let invented = [("authorization", "Bearer 0000")];
    assert_eq!(registry.get_with(path, &invented).await.status, 401);
}

#[tokio::test]
async fn faults_hit_blobs_and_manifests() {
    let lab = lab().await;
    let content = vec![7; 100_000];
    let pushed = lab.registry().push_artifact("lab/big", "1.0.0", &content).unwrap();
    let registry = registry(&lab);
    let blob = format!("/v2/lab/big/blobs/{}", pushed.layers[0]);
    let on_blob = |kind| lab.fault(Fault::registry(kind).on(Operation::PullBlob).times(1)).unwrap();
    on_blob(FaultKind::Cut { after_bytes: 50_000 });
    assert!(registry.try_get(&blob).await.is_err());
    assert_eq!(registry.get(&blob).await.body, content);
    on_blob(FaultKind::WrongBytes);
    let wrong = registry.get(&blob).await;
    assert_eq!((wrong.status.as_u16(), wrong.body.len()), (200, 100_000));
    assert_ne!(sha256_digest(&wrong.body), pushed.layers[0]);
    for code in [401, 404, 429, 500] {
        on_blob(FaultKind::Status { code, retry_after_secs: Some(3) });
        let answer = registry.get(&blob).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (code, "3"));
        assert!(answer.json()["errors"][0]["code"].is_string());
    }
    on_blob(FaultKind::Slow { bytes_per_second: 1_000_000 });
    assert_eq!(registry.get(&blob).await.body, content);
    lab.fault(Fault::registry(FaultKind::WrongBytes).on(Operation::PullManifest)).unwrap();
    let manifest = registry.get("/v2/lab/big/manifests/1.0.0").await;
    assert_ne!(sha256_digest(&manifest.body), pushed.digest);
    lab.clear_faults();
    lab.stop_registry().await;
    assert!(registry.try_get("/v2/").await.is_err());
    lab.start_registry().await.unwrap();
    assert_eq!(registry.get(&blob).await.body, content);
}

#[tokio::test]
async fn with_tls_the_web_authority_vouches_for_it() {
    let config = LabConfig { registry_tls: true, ..LabConfig::default() };
    let lab = Lab::start(config).await.unwrap();
    let base = format!("https://{}", lab.endpoints().registry);
    let registry = web(&lab.pki().web_anchor_pem(), &base);
    assert_eq!(registry.get("/v2/").await.status, 200);
    assert!(web("", &base).try_get("/v2/").await.is_err());
}

#[tokio::test]
async fn an_image_from_files_is_described_in_either_format() {
    let lab = lab().await;
    let registry = registry(&lab);
    let files = Entries::from([("hello".into(), Entry::text("hello"))]);
    for (format, kind) in [
        (ImageFormat::Docker, "application/vnd.docker.distribution.manifest.v2+json"),
        (ImageFormat::Oci, "application/vnd.oci.image.manifest.v1+json"),
    ] {
        let config = ImageConfig { format, cmd: vec!["/hello".to_owned()], ..Default::default() };
        lab.registry().push_image_from_rootfs("lab/hello", "1", &files, &config).unwrap();
        let answer = registry.get("/v2/lab/hello/manifests/1").await;
        assert_eq!(answer.header("content-type"), kind);
        let manifest = answer.json();
        let blob = |of: &Value| format!("/v2/lab/hello/blobs/{}", of["digest"].as_str().unwrap());
        let config = registry.get(&blob(&manifest["config"])).await.json();
        assert_eq!(config["config"]["Cmd"], json!(["/hello"]));
        let layer = registry.get(&blob(&manifest["layers"][0])).await.body;
        let mut plain = Vec::new();
        GzDecoder::new(layer.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([sha256_digest(&plain)]));
    }
}
