//! The identity appears, is renewed, is somebody else's, is damaged: the agent says what it lacks by file name, needs no
//! restart, and workloads run on whatever happens (R033, I5).

use margo_agent::local_api::Stage;
use margo_e2e::{App, Settings, World, require_engine};
use margo_lab::{ClientId, Service, State, SvidDefect, SvidOptions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_needs_no_restart() {
    if !require_engine() {
        return;
    }
    let mut world = World::unprovisioned(Settings::default()).await;
    world.agent.start();
    let status = world
        .status("an unprovisioned agent", |status| {
            status.stage == Stage::Unprovisioned && status.identity.error.is_some()
        })
        .await;
    let lacking = status.lacking.expect("something is lacking");
    assert!(lacking.contains("svid.pem"), "{lacking}");
    let told = world.ctl(&["status"]).await;
    assert!(
        told.exit == 0 && told.out.contains("unprovisioned") && told.out.contains("svid.pem"),
        "{told:?}"
    );
    let pid = world.agent.pid();

    // Key and certificate first, the trust bundle later: each stage is visible.
    let elsewhere = world.root().join("provisioning");
    world.lab.provision(&elsewhere).expect("provision");
    let identity = world.agent.identity_dir();
    for file in ["svid.key", "svid.pem"] {
        std::fs::copy(elsewhere.join(file), identity.join(file)).expect("copy");
    }
    let status = world
        .status("an agent without trust bundle", |status| {
            status.stage == Stage::Provisioned
                && status.lacking.as_ref().is_some_and(|text| text.contains("bundle.json: "))
        })
        .await;
    let id = status.identity.spiffe_id.expect("an identity");
    assert!(id.ends_with("/client/lab-client"), "{id}");
    std::fs::copy(elsewhere.join("bundle.json"), identity.join("bundle.json")).expect("copy");
    world.synced().await;
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    assert_eq!(world.agent.pid(), pid, "the same process");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_on_a_new_connection() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;
    let old = world.agent.status().await.expect("status");
    let connections = world.lab.wire(Service::Wfm).len();
    let told = world.lab.reports().len();

    let lifetime = Duration::from_secs(7 * 86_400);
    let options = SvidOptions { lifetime, ..SvidOptions::default() };
    let identity = world.agent.identity_dir();
    world.lab.provision_client(&identity, &ClientId::from("lab-client"), options).expect("renew");
    let renewed = world
        .status("the renewed certificate", |status| {
            status.identity.not_after_unix_ms < old.identity.not_after_unix_ms
        })
        .await;
    assert_eq!(renewed.identity.spiffe_id, old.identity.spiffe_id);
    world
        .lab
        .wait_for("a request on a new connection", margo_e2e::PATIENCE, |lab| {
            let newest = lab.wire(Service::Wfm).get(connections..)?.last()?.id;
            let polls = lab.requests();
            polls.iter().any(|r| r.connection == newest && r.status == Some(304)).then_some(())
        })
        .await
        .expect("a new connection");
    world.synced().await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    assert_eq!(world.lab.reports().len(), told, "a renewal is no news");
    assert_eq!(world.agent.status().await.expect("status").manifest_version, old.manifest_version);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_belongs_elsewhere_changes_nothing_that_runs() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();
    let app = world.deploy(&App::sleeping("app", "1.0.0", "one", 1));
    world.reported(&app, State::Installed).await;
    let before = world.running(&app, &["app/s1"]).await;
    let identity = world.agent.identity_dir();
    let client = ClientId::from("lab-client");
    for (defect, code, text) in [
        // Ours would be another fleet manager: the one that answers is not it.
        (SvidDefect::ForeignWfm, "WFM_UNTRUSTED", "not spiffe://lab.example/margo/wfm/other-wfm"),
        (SvidDefect::ForeignDomain, "WFM_UNTRUSTED", "not `foreign.example`"),
        // The fleet manager does not take it.
        (SvidDefect::UnknownAuthority, "IDENTITY_INVALID", "UnknownCA"),
        (SvidDefect::Expired, "IDENTITY_INVALID", "CertificateExpired"),
        (SvidDefect::CaLeaf, "IDENTITY_INVALID", "svid.pem, certificate 0: leaf is a CA"),
        (SvidDefect::TwoUris, "IDENTITY_INVALID", "svid.pem, certificate 0: certificate has 2 URI"),
    ] {
        world.lab.provision_client(&identity, &client, defect.into()).expect("provision");
        let message = world.wfm_error(code, text).await;
        println!("{defect}: {code}: {message}");
        world.agent.kill().await;
        world.agent.start();
        world.wfm_error(code, text).await;
        assert_eq!(world.running(&app, &["app/s1"]).await, before, "{defect}");
    }
    world.provision();
    world.synced().await;
    assert_eq!(world.running(&app, &["app/s1"]).await, before);
    let second = world.deploy(&App::sleeping("second", "1.0.0", "one", 1));
    world.reported(&second, State::Installed).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damaged_file_is_named() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();
    world.synced().await;
    let identity = world.agent.identity_dir();
    let elsewhere = world.root().join("another");
    world.lab.provision(&elsewhere).expect("provision another");
    let other_key = std::fs::read(elsewhere.join("svid.key")).expect("read");
    let cases: [(&str, Option<&[u8]>, &str); 8] = [
        ("svid.pem", None, "identity/svid.pem; give it with `margoctl provision"),
        ("svid.pem", Some(b"nonsense"), "svid.pem"),
        ("svid.key", None, "identity/svid.key; give it with `margoctl provision"),
        ("svid.key", Some(b"nonsense"), "svid.key"),
        ("svid.key", Some(&other_key), "does not belong to the certificate"),
        ("bundle.json", None, "bundle.json: "),
        ("bundle.json", Some(b"{\"keys\": []}"), "bundle.json"),
        ("bundle.json", Some(b"{"), "bundle.json"),
    ];
    let mut messages = Vec::new();
    for (file, content, text) in cases {
        match content {
            Some(bytes) => std::fs::write(identity.join(file), bytes).expect("write"),
            None => std::fs::remove_file(identity.join(file)).expect("remove"),
        }
        let status = world
            .status(&format!("{file} to be complained about with {text:?}"), |status| {
                let lacking = status.lacking.as_deref().unwrap_or_default();
                // What is not there yet is no defect: its name and what to do are enough.
                (text.contains("give it with") || lacking.contains("IDENTITY_INVALID"))
                    && lacking.contains(text)
                    && lacking.contains(file)
            })
            .await;
        let lacking = status.lacking.expect("something is lacking");
        println!("{file}: {lacking}");
        messages.push(lacking);
        world.provision();
        world.synced().await;
    }
    let key = identity.join("svid.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    // Permissions are looked at when the file is read: at a change or a start.
    world.agent.kill().await;
    world.agent.start();
    world
        .status("the key's permissions to be complained about", |status| {
            status
                .lacking
                .as_ref()
                .is_some_and(|text| text.contains("svid.key") && text.contains("mode"))
        })
        .await;
    messages.sort();
    let all = messages.len();
    messages.dedup();
    assert_eq!(messages.len(), all, "each has its own message");
    world.end().await;
}
