//! The registry misbehaves: what is wrong is reported with the right code, what runs is not touched, and everything
//! converges when the fault ends. What was resolved once stays what it is.

use margo_e2e::{App, World, require_engine};
use margo_lab::archive::Entry;
use margo_lab::registry::{RegistryAuth, busybox_files};
use margo_lab::{Fault, FaultKind, Operation, State};

const fn status(code: u16) -> FaultKind {
    FaultKind::Status { code, retry_after_secs: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_an_archive_has_its_code_and_ends() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    world.agent.start();
    let good = world.deploy(&App::sleeping("good", "1.0.0", "one", 1));
    world.reported(&good, State::Installed).await;
    let before = world.running(&good, &["good/s1"]).await;
    let asked_to_wait = FaultKind::Status { code: 429, retry_after_secs: Some(1) };
    let cases = [
        (Operation::PullManifest, status(401), "ARTIFACT_AUTH_FAILED", "401"),
        (Operation::PullManifest, status(404), "ARTIFACT_NOT_FOUND", "not found"),
        (Operation::PullManifest, asked_to_wait, "ARTIFACT_PULL_FAILED", "429"),
        (Operation::PullManifest, status(500), "ARTIFACT_PULL_FAILED", "500"),
        (Operation::PullBlob, status(404), "ARTIFACT_NOT_FOUND", "not found"),
        (
            Operation::PullBlob,
            FaultKind::WrongBytes,
            "ARTIFACT_DIGEST_MISMATCH",
            "expected sha256:",
        ),
        (Operation::PullBlob, FaultKind::Cut { after_bytes: 0 }, "ARTIFACT_PULL_FAILED", ":1.0.0"),
    ];
    for (number, (operation, kind, code, text)) in cases.into_iter().enumerate() {
        let name = format!("app-{number}");
        let fault = world.lab.fault(Fault::registry(kind.clone()).on(operation)).expect("fault");
        let id = world.deploy(&App::sleeping(&name, "1.0.0", &name, 1));
        let report = world.failed(&id, code).await;
        let error = report.error.expect("an error");
        println!("{operation} {kind}: {}: {}", error.code, error.message);
        assert!(error.message.contains(text), "{kind}: {error:?}");
        assert!(error.message.contains(&format!("apps/{name}")), "{kind}: {error:?}");
        world.running(&id, &[]).await;
        world.lab.clear_fault(fault);
        world.reported(&id, State::Installed).await;
        assert_eq!(world.running(&good, &["good/s1"]).await, before, "{kind}");
        world.lab.remove(&id).expect("remove");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_cut_in_the_middle_are_completed() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    // Bytes that no layer on this machine has yet, and that do not compress.
    let mut files = busybox_files().expect("busybox");
    let noise: Vec<u8> = (0..40).flat_map(|_| margo_lab::ids::random_uuid().into_bytes()).collect();
    files.insert("noise".into(), Entry::text(noise.clone()));
    let image = world.image("sleep 1000000");
    let registry = world.lab.registry().clone();
    registry.push_image_from_rootfs("lab/noise", "1", &files, &image).expect("push an image");
    world.agent.start();

    // The archive, cut again and again, arrives in pieces.
    let compose = format!(
        "# {}\nservices:\n  s1:\n    image: ${{LAB_REGISTRY}}/lab/noise:1\n    stop_signal: SIGKILL\n",
        String::from_utf8_lossy(&noise)
    );
    let cut = Fault::registry(FaultKind::Cut { after_bytes: 300 }).on(Operation::PullBlob);
    world.lab.fault(cut.times(2)).expect("fault");
    let id = world.deploy(&App::with_compose("noisy", "1.0.0", &compose));
    let is_cut = |bytes: u64| {
        move |lab: &margo_lab::Lab| {
            let requests = lab.requests();
            let hit = requests.iter().find(|r| !r.faults.is_empty() && r.response_bytes > bytes);
            hit.map(|hit| hit.path.clone())
        }
    };
    world.lab.wait_for("a cut archive", margo_e2e::PATIENCE, is_cut(300)).await.expect("cut");
    // Then the image's layer.
    let cut = Fault::registry(FaultKind::Cut { after_bytes: 200_000 }).on(Operation::PullBlob);
    let fault = world.lab.fault(cut).expect("fault");
    world.lab.wait_for("a cut layer", margo_e2e::PATIENCE, is_cut(200_000)).await.expect("cut");
    world.lab.clear_fault(fault);
    world.reported(&id, State::Installed).await;
    world.running(&id, &["noisy/s1"]).await;
    let resumed = world.lab.requests().into_iter().any(|r| r.range.is_some());
    assert!(resumed, "what had arrived was not asked for again");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_changes_nothing() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    let image = world.image("sleep 1000000");
    world.lab.registry().push_busybox_image("lab/moving", "1", &image).expect("push");
    world.agent.start();
    let compose =
        "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/moving:1\n    stop_signal: SIGKILL\n";
    let id = world.deploy(&App::with_compose("moving", "1.0.0", compose));
    world.reported(&id, State::Installed).await;
    let before = world.running(&id, &["moving/s1"]).await;
    let pinned = world.engine.inspect(&before[0].id, "{{.Image}}").await;

    // Both tags now name something else, here and on the engine.
    let other = world.image("sleep 2000000");
    let moved = world.lab.registry().push_busybox_image("lab/moving", "1", &other).expect("push");
    let app =
        compose.replace("    stop_signal", "    environment: { MARKER: moved }\n    stop_signal");
    world.lab.registry().push_compose_text("apps/moving", "1.0.0", &app).expect("push");
    world.engine.cli(&["pull", "--quiet", &moved.reference]).await;
    let on_engine = world.engine.inspect(&moved.reference, "{{.Id}}").await;
    assert_ne!(on_engine, pinned, "the tag has moved");

    // Another deployment of the same manifest does not disturb it either.
    let second = world.deploy(&App::sleeping("second", "1.0.0", "one", 1));
    world.reported(&second, State::Installed).await;
    assert_eq!(world.running(&id, &["moving/s1"]).await, before);
    world.agent.kill().await;
    world.engine.destroy(&before[0].id).await;
    world.agent.start();
    let after = world.running_at(&id, &[("moving/s1", "")]).await;
    assert_eq!(world.engine.inspect(&after[0].id, "{{.Image}}").await, pinned);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_deleted_is_fetched_again_by_its_digest() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    let image = world.image("sleep 1000000");
    world.lab.registry().push_busybox_image("lab/lost", "1", &image).expect("push");
    world.agent.start();
    let compose =
        "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/lost:1\n    stop_signal: SIGKILL\n";
    let id = world.deploy(&App::with_compose("lost", "1.0.0", compose));
    world.reported(&id, State::Installed).await;
    let before = world.running(&id, &["lost/s1"]).await;
    let pinned = world.engine.inspect(&before[0].id, "{{.Image}}").await;
    let other = world.image("sleep 2000000");
    world.lab.registry().push_busybox_image("lab/lost", "1", &other).expect("push");

    world.agent.kill().await;
    world.engine.destroy(&before[0].id).await;
    world.engine.cli(&["rmi", "--force", &pinned]).await;
    world.agent.start();
    let after = world.running(&id, &["lost/s1"]).await;
    assert_eq!(world.engine.inspect(&after[0].id, "{{.Image}}").await, pinned);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_a_closed_registry() {
    if !require_engine() {
        return;
    }
    let mut world = World::new().await;
    let (user, password) = ("device".to_owned(), "open sesame".to_owned());
    let auth = RegistryAuth::Bearer { user, password };
    world.lab.registry().set_auth(auth);
    world.agent.start();
    let id = world.deploy(&App::sleeping("closed", "1.0.0", "one", 1));
    let report = world.failed(&id, "ARTIFACT_AUTH_FAILED").await;
    assert!(!report.to_string().contains("sesame"), "{report}");

    // A wrong password, then the right one, which needs no restart.
    let file = world.root().join("registry.password");
    std::fs::write(&file, "wrong").expect("write the password");
    world.agent.write_fragment(
        "70-registry.toml",
        &format!(
            "[[registry]]\nhost = \"{}\"\ninsecure = true\nusername = \"device\"\npassword_file = \"{}\"\n",
            world.lab.registry().host(),
            file.display()
        ),
    );
    world.agent.stop().await;
    world.agent.start();
    let known = world
        .deployment(&id, "another refusal", |one| one.attempts > 0 && one.error.is_some())
        .await;
    assert_eq!(known.error.expect("an error").code, "ARTIFACT_AUTH_FAILED");
    std::fs::write(&file, "open sesame\n").expect("write the password");
    world.reported(&id, State::Installed).await;
    world.running(&id, &["closed/s1"]).await;

    let (user, password) = ("device".to_owned(), "open sesame".to_owned());
    world.lab.registry().set_auth(RegistryAuth::Basic { user, password });
    let basic = world.deploy(&App::sleeping("basic", "1.0.0", "one", 1));
    world.reported(&basic, State::Installed).await;
    assert!(!world.agent.log().contains("sesame"), "the password is in the log");
    world.end().await;
}
