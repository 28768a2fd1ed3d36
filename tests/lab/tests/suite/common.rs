//! A device as seen from the wire: a raw HTTPS client that checks the server the way a Margo client must.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use margo_lab::{ClientId, Lab, LabConfig, SvidOptions};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Long enough for a busy machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.margo.manifest.v1+json";
pub(crate) const PROBLEMS: &str = "https://docs.margo.org/specification/problem-types";

pub(crate) async fn lab() -> Lab {
    Lab::start(LabConfig::default()).await.unwrap()
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a problem body of this status and type.
    pub(crate) fn assert_problem(&self, status: u16, kind: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        let expected =
            if kind.is_empty() { "about:blank".to_owned() } else { format!("{PROBLEMS}{kind}") };
        assert_eq!(problem["type"], expected.as_str());
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string());
    }
}

/// Any HTTP client with a base URL.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
}

impl Client {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await.unwrap()
    }

    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string()).await.unwrap()
    }

    /// The manifest, whatever it is.
    pub(crate) async fn manifest(&self) -> Answer {
        self.get_with("/api/v1/deployments", &[("accept", MANIFEST_TYPE)]).await
    }

    pub(crate) async fn report(
        &self,
        id: &str,
        version: u64,
        component: &str,
        state: &str,
    ) -> Answer {
        let body = json!({
            "deploymentId": id,
            "adoptedManifestVersion": version,
            "status": {"state": state},
            "components": [{"name": component, "state": state}],
        });
        self.send_json(Method::POST, &format!("/api/v1/deployments/{id}/status"), &body).await
    }

    pub(crate) async fn put_capabilities(&self, device: &str) -> Answer {
        let body = capabilities(device);
        self.send_json(Method::PUT, &format!("/api/v1/capabilities/{device}"), &body).await
    }
}

pub(crate) fn capabilities(device: &str) -> Value {
    json!({
        "properties": {
            "id": device, "vendor": "Acme", "modelNumber": "M1", "serialNumber": "S1",
            "cpus": [{"cores": 2, "architecture": "amd64"}], "memory": "4Gi", "storage": "16Gi",
            "peripherals": [], "interfaces": [{"type": "ethernet"}], "otelCollector": true,
            "supportedRuntimes": ["oci"], "supportedDeploymentTypes": ["compose"],
        },
    })
}

/// A device with the lab's own identity.
pub(crate) fn device(lab: &Lab) -> Client {
    let client = lab.config().client_id.clone();
    device_as(lab, &client, SvidOptions::default())
}

/// A device with any identity; new connections for each request, so that faults of the handshake show.
pub(crate) fn device_as(lab: &Lab, client: &ClientId, options: SvidOptions) -> Client {
    let dir = tempfile::tempdir().unwrap();
    lab.provision_client(dir.path(), client, options).unwrap();
    device_from(dir.path(), &lab.endpoints().wfm_url, &lab.pki().wfm_spiffe_id())
}

/// A device from the files of a provisioning directory.
pub(crate) fn device_from(dir: &Path, url: &str, wfm_spiffe_id: &str) -> Client {
    let config = mutual_tls(dir, wfm_spiffe_id);
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .unwrap();
    Client { http, base: url.to_owned() }
}

pub(crate) fn mutual_tls(dir: &Path, wfm_spiffe_id: &str) -> ClientConfig {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&read("svid.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("svid.key")).unwrap();
    let bundle: Value = serde_json::from_slice(&read("bundle.json")).unwrap();
    let anchors = bundle["keys"].as_array().unwrap().iter().map(|key| {
        let der = base64::engine::general_purpose::STANDARD
            .decode(key["x5c"][0].as_str().unwrap())
            .unwrap();
        CertificateDer::from(der)
    });
    let verifier =
        SpiffeVerifier { anchors: anchors.collect(), expected: wfm_spiffe_id.to_owned() };
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .unwrap()
}

/// A web client that trusts these PEM anchors, for the trust-bundle service and a registry with TLS.
pub(crate) fn web(anchors_pem: &str, base: &str) -> Client {
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_slice_iter(anchors_pem.as_bytes()) {
        roots.add(anchor.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .unwrap();
    Client { http, base: base.to_owned() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Chain to an anchor, exactly one URI name, and that the expected one (R047 to R051, R081).
#[derive(Debug)]
struct SpiffeVerifier {
    anchors: Vec<CertificateDer<'static>>,
    expected: String,
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |text: String| rustls::Error::General(text);
        let anchors: Vec<_> =
            self.anchors.iter().map(|der| webpki::anchor_from_trusted_cert(der).unwrap()).collect();
        let end = webpki::EndEntityCert::try_from(leaf).map_err(|e| refused(e.to_string()))?;
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            intermediates,
            now,
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(|error| refused(error.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let uris: Vec<&str> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        if uris != [self.expected.as_str()] {
            return Err(refused(format!("the server is {uris:?}")));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not wanted".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
