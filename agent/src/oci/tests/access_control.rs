//! Logins, private certificate authorities, redirects: who gets the credentials and who does not.

use super::*;
use crate::identity::test_pki::{issue, leaf_params, root};
use base64::Engine;

#[tokio::test]
async fn basic_login_uses_the_configured_credentials_only_when_asked() {
    let pair = base64::engine::general_purpose::STANDARD.encode("ann:secret");
    let lab = lab(move |seen| {
        if seen.header("authorization") == Some(&format!("Basic {pair}")) {
            return honest(seen);
        }
        answer(401, &[("www-authenticate", "Basic realm=\"r\"")], b"")
    })
    .await;
    let reference = lab.reference();
    let pull = |access| {
        let (puller, reference, store) = (lab.puller(access), reference.clone(), &lab.store);
        async move { puller.pull_compose_artifact(&reference, None, store).await }
    };
    for wrong in [RegistryAccess::default(), access("bob")] {
        let failure = pull(wrong).await.unwrap_err().to_failure();
        assert_eq!(failure.code, Code::ArtifactAuthFailed);
        assert!(!failure.message.contains("secret"));
    }
    pull(access("ann")).await.unwrap();
    let first = lab.log.seen.lock().unwrap()[0].clone();
    assert_eq!(first.header("authorization"), None);
}

#[tokio::test]
async fn token_login_asks_the_realm_and_renews_an_expired_token() {
    let issued = Arc::new(AtomicUsize::new(0));
    let spent = AtomicUsize::new(0);
    let counter = issued.clone();
    let lab = lab(move |seen| {
        if seen.line.starts_with("GET /token?") {
            assert!(seen.line.contains("service=reg+istry"), "{}", seen.line);
            assert!(seen.line.contains("scope=repository%3Aplant%2Ffiller%3Apull"));
            assert!(seen.header("authorization").unwrap().starts_with("Basic "));
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            return answer(200, &[], format!(r#"{{"access_token":"t{number}"}}"#).as_bytes());
        }
        let current = format!("Bearer t{}", counter.load(Ordering::SeqCst));
        // Each token is good for one use.
        if seen.header("authorization") == Some(&current)
            && spent.swap(counter.load(Ordering::SeqCst), Ordering::SeqCst)
                != counter.load(Ordering::SeqCst)
        {
            return honest(seen);
        }
        let host = seen.header("host").unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="reg istry""#);
        answer(401, &[("www-authenticate", &challenge)], b"")
    })
    .await;
    let puller = lab.puller(access("ann"));
    let pulled = puller.pull_compose_artifact(&lab.reference(), None, &lab.store).await.unwrap();
    assert_eq!(lab.store.get(&pulled.layer_digest).unwrap(), LAYER);
    assert_eq!(issued.load(Ordering::SeqCst), 2);
}

/// A registry behind TLS with a private authority: its port and the authority's PEM.
async fn tls_registry(handler: Handler) -> (u16, String) {
    let ca = root("registry");
    let mut params = leaf_params(&[]);
    params.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into())];
    let issued = issue(&params, &ca);
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(issued.key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain, key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(socket).await {
                tokio::spawn(serve(stream, handler.clone(), Log::default()));
            }
        }
    });
    (port, ca.pem())
}

async fn pull_with_ca(port: u16, pem: &str) -> Result<PulledArtifact, OciError> {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let reference =
        OciReference::parse(&format!("oci://127.0.0.1:{port}/{PATH}"), "1.0.9").unwrap();
    let access = RegistryAccess { ca_pem: Some(pem.as_bytes().to_vec()), ..access("ann") };
    let entries = BTreeMap::from([(format!("127.0.0.1:{port}"), access)]);
    let puller = Puller::new(Registries::new(entries), limits());
    puller.pull_compose_artifact(&reference, None, &store).await
}

#[tokio::test]
async fn a_private_certificate_authority_is_accepted_only_for_its_registry() {
    let (port, pem) = tls_registry(Arc::new(honest)).await;
    let error = pull_with_ca(port, &root("other").pem()).await.unwrap_err();
    assert!(matches!(error, OciError::Transport { .. }), "{error:?}");
    let error = pull_with_ca(port, "").await.unwrap_err();
    assert!(matches!(error, OciError::Setup { .. }), "{error:?}");
    pull_with_ca(port, &pem).await.unwrap();
}

#[tokio::test]
async fn an_https_registry_cannot_lead_credentials_or_pulls_to_plain_http() {
    // Whoever would receive them: an honest registry over plain HTTP.
    let plain = lab(honest).await;
    let plain_port = plain.port;
    let redirect: Handler = Arc::new(move |seen: &Seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        answer(302, &[("location", &format!("http://127.0.0.1:{plain_port}{path}"))], b"")
    });
    let (port, pem) = tls_registry(redirect).await;
    let error = pull_with_ca(port, &pem).await.unwrap_err();
    assert!(matches!(error, OciError::Transport { .. }), "{error:?}");
    let challenge: Handler = Arc::new(move |_: &Seen| {
        let realm = format!(r#"Bearer realm="http://127.0.0.1:{plain_port}/token""#);
        answer(401, &[("www-authenticate", &realm)], b"")
    });
    let (port, pem) = tls_registry(challenge).await;
    let error = pull_with_ca(port, &pem).await.unwrap_err();
    assert!(matches!(error, OciError::Protocol { .. }), "{error:?}");
    assert!(plain.log.lines().is_empty(), "nothing reached the plain server");
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_credentials() {
    let storage = lab(honest).await;
    let storage_port = storage.port;
    let lab = lab(move |seen| {
        if seen.header("authorization").is_none() {
            return answer(401, &[("www-authenticate", "Basic realm=\"r\"")], b"");
        }
        let path = seen.line.split(' ').nth(1).unwrap();
        let location = format!("http://127.0.0.1:{storage_port}{path}");
        if is_blob(seen) { answer(307, &[("location", &location)], b"") } else { honest(seen) }
    })
    .await;
    let puller = lab.puller(access("ann"));
    puller.pull_compose_artifact(&lab.reference(), None, &lab.store).await.unwrap();
    let seen = storage.log.seen.lock().unwrap();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
}
