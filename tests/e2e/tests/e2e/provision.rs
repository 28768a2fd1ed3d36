//! A device that runs without an identity is provisioned as its user would do it, and takes that up without a restart.

use margo_agent::local_api::Stage;
use margo_agent::provision::Outcome;
use margo_e2e::{App, Settings, World, require_engine};
use margo_lab::{ClientId, State, SvidDefect};
use std::path::Path;

const CLIENT: &str = "lab-client";

/// A running agent that knows neither who it is nor its fleet manager.
async fn unprovisioned() -> World {
    let mut world = World::unprovisioned(Settings::default()).await;
    let fragment = world.agent.config_dir().join("50-test.toml");
    let text = std::fs::read_to_string(&fragment).expect("the test's own fragment");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("url = ")).collect();
    world.agent.write_fragment("50-test.toml", &lines.join("\n"));
    world.agent.start();
    let status =
        world.status("an unprovisioned agent", |status| status.stage == Stage::Unprovisioned).await;
    let lacking = status.lacking.expect("something is lacking");
    for part in ["wfm.url", "svid.pem", "svid.key", "bundle.json", "MARGOCONFIG"] {
        assert!(lacking.contains(part), "{part}: {lacking}");
        assert!(world.agent.log().contains(part), "{part} is not in the journal");
    }
    world
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_makes_a_running_agent_register() {
    if !require_engine() {
        return;
    }
    let mut world = unprovisioned().await;
    let pid = world.agent.pid();
    let package = world.root().join("package");
    let client = ClientId::from(CLIENT);
    world.lab.provision_client(&package, &client, SvidDefect::Expired.into()).expect("package");
    let told = world.ctl(&["provision", text(&package)]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.out.starts_with("SVID_EXPIRED svid.pem [notAfter]: was valid until "), "{told:?}");
    let status = world.agent.status().await.expect("status");
    let attempt = status.provisioning.expect("the attempt is remembered");
    assert_eq!((status.stage, attempt.outcome), (Stage::Unprovisioned, Outcome::Refused));
    let told = world.ctl(&["status"]).await;
    assert!(told.out.contains("Provision  refused at ") && told.out.contains("SVID_EXPIRED"));

    world.lab.provision(&package).expect("package");
    let told = world.ctl(&["provision", text(&package), "--check"]).await;
    assert!(told.exit == 0 && told.out.contains("valid spiffe://lab.example/"), "{told:?}");
    assert_eq!(world.agent.status().await.expect("status").stage, Stage::Unprovisioned);
    let told = world.ctl(&["provision", text(&package)]).await;
    assert!(told.exit == 0 && told.out.contains("provisioned spiffe://lab.example/"), "{told:?}");
    world.synced().await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;
    assert_eq!(world.agent.pid(), pid, "the same process");

    let told = world.ctl(&["provision", text(&package), "--json"]).await;
    assert_eq!((told.exit, &told.json()["outcome"]), (0, &"unchanged".into()), "{told:?}");
    // Somebody else's package is refused, and a renewal is taken up under way.
    let other = ClientId::from("other-client");
    let another = world.root().join("another");
    world.lab.provision_client(&another, &other, Default::default()).expect("another package");
    let told = world.ctl(&["provision", text(&another), "--json"]).await;
    let json = told.json();
    assert_eq!((told.exit, &json["defects"][0]["code"]), (1, &"OTHER_IDENTITY".into()), "{json}");
    let told = world.ctl(&["provision", text(&another), "--replace"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    world
        .status("the other identity", |status| {
            let id = status.identity.spiffe_id.as_deref().unwrap_or_default();
            id.ends_with("/client/other-client")
        })
        .await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before, "workloads run on (I5)");
    assert_eq!(world.agent.pid(), pid, "the same process");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_never_leaves_the_device_gets_its_certificate() {
    if !require_engine() {
        return;
    }
    let mut world = unprovisioned().await;
    let id = "spiffe://lab.example/margo/wfm/lab/client/lab-client";
    let request = world.root().join("device.csr");
    let told = world.ctl(&["provision", "key-request", "--id", id, "--out", text(&request)]).await;
    assert_eq!((told.exit, told.out.as_str()), (0, ""), "{told:?}");
    let request = std::fs::read_to_string(request).expect("the request");
    assert!(!request.contains("PRIVATE"), "{request}");
    let client = ClientId::from(CLIENT);
    let chain = world.lab.sign_request(&client, &request).expect("the lab signs");
    let (chain_file, bundle_file) = (world.root().join("chain"), world.root().join("bundle"));
    std::fs::write(&chain_file, chain).expect("chain");
    let bundle = world.lab.trust_bundle().expect("bundle");
    std::fs::write(&bundle_file, bundle.to_string()).expect("bundle");
    let url = world.lab.endpoints().wfm_url.clone();
    let told = world
        .ctl(&[
            "provision",
            "chain",
            text(&chain_file),
            "--bundle",
            text(&bundle_file),
            "--url",
            &url,
        ])
        .await;
    assert!(told.exit == 0 && told.out.contains("provisioned spiffe://"), "{told:?}");
    world.synced().await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    world.end().await;
}
