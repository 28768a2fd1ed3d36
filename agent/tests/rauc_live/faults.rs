//! What goes wrong: somebody else's installation, a handler that fails, RAUC killed, trials that must not be written over.

use crate::rig::Rig;
use state_machine::failure::Code;
use std::collections::HashMap;
use zbus::Variant;

/// Has RAUC begin an installation that no agent knows of.
async fn foreign_install(rig: &Rig, location: &str) {
    let address = rig.address();
    let connection = zbus::connection::Builder::address(address.as_str()).build().await.unwrap();
    let arguments: HashMap<&str, Variant<'_>> = HashMap::new();
    let body = (location, arguments);
    let interface = Some("de.pengutronix.rauc.Installer");
    let reply =
        connection.call_method(Some("de.pengutronix.rauc"), "/", interface, "InstallBundle", &body);
    reply.await.unwrap();
}

#[tokio::test]
async fn somebody_elses_installation_is_waited_for_and_not_taken_for_ours() {
    let Some(rig) = Rig::start().await else { return };
    let theirs = rig.bundle("theirs", |manifest| manifest.replace("2.0.0", "6.6.6"));
    let ours = rig.bundle("ours", |manifest| manifest);
    rig.write("hold-before", "");
    foreign_install(&rig, &theirs).await;
    rig.reached("before", 1).await;
    let updater = rig.updater.clone();
    let installing = tokio::spawn(async move { Rig::install(&updater, "t1", &ours).await });
    rig.remove("hold-before");
    installing.await.unwrap().unwrap();
    assert_eq!(rig.runs("before"), 2);
    assert!(rig.slots().await.holds("rootfs.1", "t1"));
    assert_eq!(rig.slots().await.named("rootfs.1").unwrap().version.as_deref(), Some("2.0.0"));
}

#[tokio::test]
async fn marking_while_rauc_is_busy_is_tried_again() {
    let Some(rig) = Rig::start().await else { return };
    let theirs = rig.bundle("theirs", |manifest| manifest);
    rig.write("hold-before", "");
    foreign_install(&rig, &theirs).await;
    rig.reached("before", 1).await;
    let updater = rig.updater.clone();
    let marking = tokio::spawn(async move { updater.commit().await });
    rig.remove("hold-before");
    marking.await.unwrap().unwrap();
    assert_eq!(rig.env()[1], "good");
}

#[tokio::test]
async fn a_bundle_that_rauc_refuses_touches_no_slot() {
    let Some(rig) = Rig::start().await else { return };
    for (name, signer, edit, code) in [
        ("toaster", "key", ("margo-test", "toaster"), Code::FirmwareRejected),
        ("strange", "stranger", ("", ""), Code::FirmwareRejected),
    ] {
        let bundle = rig.bundle_signed_by(signer, name, |manifest| {
            if edit.0.is_empty() { manifest } else { manifest.replace(edit.0, edit.1) }
        });
        let failure = Rig::install(&rig.updater, "t1", &bundle).await.unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        assert_eq!(rig.env(), ["A", "good", "good"], "{name}: the other slot stays a fallback");
    }
    let failure = Rig::install(&rig.updater, "t1", "/nowhere.raucb").await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareFetchFailed, "{failure}");
}

#[tokio::test]
async fn an_image_that_does_not_fit_is_rejected() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.shrink_slot_b(64 << 10);
    let bundle = rig.bundle("big", |manifest| manifest);
    let failure = Rig::install(&rig.updater, "t1", &bundle).await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareRejected, "{failure}");
    assert!(!rig.slots().await.holds("rootfs.1", "t1"));
    assert_eq!(rig.env()[0], "A", "the booted slot is the next to boot");
}

#[tokio::test]
async fn after_a_post_install_handler_that_fails_the_booted_slot_is_the_next_again() {
    let Some(rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    rig.write("fail-after", "");
    let failure = Rig::install(&rig.updater, "t1", &bundle).await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareInstallFailed, "{failure}");
    assert!(failure.message.contains("handler"), "{failure}");
    assert_eq!(rig.env(), ["A", "good", "bad"]);
    assert!(!rig.slots().await.holds("rootfs.1", "t1"));
}

#[tokio::test]
async fn rauc_killed_before_it_writes_is_a_failure_that_leaves_the_booted_slot() {
    let Some(mut rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    rig.write("hold-before", "");
    let updater = rig.updater.clone();
    let location = bundle.clone();
    let installing = tokio::spawn(async move { Rig::install(&updater, "t1", &location).await });
    rig.reached("before", 1).await;
    rig.kill_rauc();
    rig.remove("hold-before");
    rig.start_rauc();
    let failure = installing.await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable, "{failure}");
    assert_eq!(rig.env()[0], "A");
    // And it can be done again.
    Rig::install(&rig.updater, "t1", &bundle).await.unwrap();
    assert_eq!(rig.env(), ["B", "good", "trial"]);
}

#[tokio::test]
async fn rauc_killed_after_everything_was_written_is_a_success_without_completed() {
    let Some(mut rig) = Rig::start().await else { return };
    let bundle = rig.bundle("good", |manifest| manifest);
    rig.write("hold-after", "");
    let updater = rig.updater.clone();
    let installing = tokio::spawn(async move { Rig::install(&updater, "t1", &bundle).await });
    rig.reached("after", 1).await;
    rig.kill_rauc();
    rig.remove("hold-after");
    rig.start_rauc();
    installing.await.unwrap().unwrap();
    assert_eq!(rig.env(), ["B", "good", "trial"]);
}

#[tokio::test]
async fn nothing_is_installed_while_the_booted_slot_is_on_trial() {
    let Some(rig) = Rig::start().await else { return };
    rig.write("env/A", "trial");
    let bundle = rig.bundle("good", |manifest| manifest);
    let failure = Rig::install(&rig.updater, "t1", &bundle).await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable, "{failure}");
    assert!(failure.message.contains("trial"), "{failure}");
    assert_eq!((rig.runs("before"), rig.env()[2].as_str()), (0, "good"));
}

#[tokio::test]
async fn without_rauc_the_failure_says_so() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.kill_rauc();
    let failure = rig.updater.commit().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable, "{failure}");
    assert!(failure.message.contains("does not answer"), "{failure}");
}
