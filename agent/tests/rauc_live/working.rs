//! What works: reading bundles, installing, marking, joining.

use crate::rig::{IMAGE_BYTES, Rig, image, transaction};
use margo_agent::updater::Origin;
use state_machine::failure::Code;
use state_machine::ids::SlotName;

fn target() -> SlotName {
    SlotName::new("rootfs.1")
}

#[tokio::test]
async fn the_booted_slot_is_told() {
    let Some(rig) = Rig::start().await else { return };
    let boot = rig.updater.boot().await.unwrap();
    assert_eq!((boot.slot.as_str(), boot.committed), ("rootfs.0", true));
    assert_eq!((boot.other, boot.version.as_deref()), (Some(target()), Some("1.0.0")));
    rig.write("env/A", "trial");
    assert!(!rig.updater.boot().await.unwrap().committed);
}

#[tokio::test]
async fn a_bundle_is_read_and_one_that_is_not_for_this_device_is_rejected() {
    let Some(rig) = Rig::start().await else { return };
    let inspect = |location: String| {
        let updater = rig.updater.clone();
        async move { updater.inspect(&Origin::plain(location)).await }
    };
    let good = rig.bundle("good", |manifest| manifest);
    let found = inspect(good.clone()).await.unwrap();
    assert_eq!(found.version, "2.0.0");
    assert_eq!(found.manifest.map(|hash| hash.len()), Some(64));

    let verity = rig.bundle("verity", |manifest| manifest.replace("=plain", "=verity"));
    assert_eq!(inspect(verity).await.unwrap().version, "2.0.0");
    let other = rig.bundle("other", |manifest| manifest.replace("margo-test", "toaster"));
    let strange = rig.bundle_signed_by("stranger", "strange", |manifest| manifest);
    let cut = rig.path("cut.raucb");
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 1000]).unwrap();
    for (location, code, said) in [
        (other, Code::FirmwareRejected, "toaster"),
        (strange, Code::FirmwareRejected, "signature"),
        (cut.display().to_string(), Code::FirmwareRejected, "ignature"),
        ("/nowhere.raucb".to_owned(), Code::FirmwareFetchFailed, "No such file"),
        ("http://127.0.0.1:9/fw.raucb".to_owned(), Code::FirmwareFetchFailed, ""),
    ] {
        let failure = inspect(location.clone()).await.unwrap_err();
        assert_eq!(failure.code, code, "{location}: {failure}");
        assert!(failure.message.contains(said), "{location}: {failure}");
    }
    assert_eq!(rig.env(), ["A", "good", "good"], "nothing was touched");
}

#[tokio::test]
async fn an_installation_is_proved_by_the_slot_and_not_repeated() {
    let Some(rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    Rig::install(&rig.updater, "t1", &bundle).await.unwrap();
    assert_eq!(rig.env(), ["B", "good", "trial"]);
    assert!(rig.slots().await.holds("rootfs.1", "t1"));
    assert_eq!(rig.slots().await.named("rootfs.1").unwrap().version.as_deref(), Some("2.0.0"));
    let slot = std::fs::read(rig.path("slot-b")).unwrap();
    assert!(slot[..IMAGE_BYTES] == image("good"), "the image is in the slot");
    assert_eq!(*rig.updater.progress().borrow(), None);

    // After a restart of the agent, the bundle gone: known from the slot alone.
    std::fs::remove_file(&bundle).unwrap();
    let again = rig.restarted();
    assert!(again.join(&transaction("t1"), &target()).await.unwrap());
    Rig::install(&again, "t1", &bundle).await.unwrap();
    assert_eq!(rig.runs("before"), 1, "installed once");
}

#[tokio::test]
async fn an_installation_with_the_manifest_that_was_prepared_is_taken() {
    let Some(rig) = Rig::start().await else { return };
    let location = rig.bundle("good", |manifest| manifest);
    let origin = Origin::plain(location.as_str());
    let bundle = rig.updater.inspect(&origin).await.unwrap();
    let id = transaction("t1");
    // Another bundle in the same place since then.
    let newer = rig.bundle("newer", |manifest| manifest.replace("2.0.0", "3.0.0"));
    std::fs::rename(&location, rig.path("aside")).unwrap();
    std::fs::copy(&newer, &location).unwrap();
    let failure = rig.updater.install(&id, origin.clone(), &bundle, &target()).await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareRejected, "{failure}");
    assert_eq!(rig.env(), ["A", "good", "good"]);
    std::fs::rename(rig.path("aside"), &location).unwrap();
    rig.updater.install(&id, origin, &bundle, &target()).await.unwrap();
    assert_eq!(rig.env(), ["B", "good", "trial"]);
}

#[tokio::test]
async fn slots_are_marked() {
    let Some(rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    Rig::install(&rig.updater, "t1", &bundle).await.unwrap();
    rig.updater.discard().await.unwrap();
    assert_eq!(rig.env(), ["A", "good", "bad"]);
    rig.updater.discard().await.unwrap();
    let failure = rig.updater.activate_other().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareRejected, "{failure}");
    rig.write("env/B", "good");
    rig.updater.activate_other().await.unwrap();
    assert_eq!(rig.env(), ["B", "good", "good"]);
    rig.write("env/A", "trial");
    rig.updater.commit().await.unwrap();
    assert_eq!(rig.env()[1], "good");
    let failure = rig.updater.reject().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareRejected, "a committed slot is not left: {failure}");
    rig.write("env/A", "trial");
    rig.updater.reject().await.unwrap();
    assert_eq!(rig.env()[1], "bad");
}

#[tokio::test]
async fn a_restarted_agent_joins_the_installation_under_way() {
    let Some(rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    rig.write("hold-before", "");
    let first = rig.updater.clone();
    let location = bundle.clone();
    let started = tokio::spawn(async move { Rig::install(&first, "t1", &location).await });
    rig.reached("before", 1).await;
    started.abort();
    assert!(started.await.unwrap_err().is_cancelled());

    let second = rig.restarted();
    let mut progress = second.progress();
    let joined = {
        let second = second.clone();
        tokio::spawn(async move { Rig::install(&second, "t1", &bundle).await })
    };
    progress
        .wait_for(|progress| progress.as_ref().is_some_and(|one| one.percent > 0))
        .await
        .unwrap();
    rig.remove("hold-before");
    joined.await.unwrap().unwrap();
    assert_eq!(rig.runs("before"), 1, "not started a second time");
    assert_eq!(rig.env(), ["B", "good", "trial"]);
}
