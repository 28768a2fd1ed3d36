//! `Completed` lost, doubled, or somebody else's; RAUC busy, gone, older, or without a boot loader.

use crate::bus::Bus;
use crate::installer::{Fake, Script};
use margo_agent::updater::{Origin, Updater};
use state_machine::effect::Bundle;
use state_machine::failure::{Code, Failure};
use state_machine::ids::{SlotName, TransactionId};

async fn install(updater: &Updater, transaction: &str) -> Result<(), Failure> {
    let bundle = Bundle { version: "2".into(), manifest: Some("abc".into()) };
    let origin = Origin::plain("/fw.raucb");
    let (transaction, target) = (TransactionId::new(transaction), SlotName::new("rootfs.1"));
    updater.install(&transaction, origin, &bundle, &target).await
}

async fn play(script: Script) -> Option<(Fake, Result<(), Failure>)> {
    let bus = Bus::start().await?;
    let (fake, _connection) = Fake::serve(&bus).await;
    fake.world().script = script;
    let result = install(&bus.updater(), "t1").await;
    Some((fake, result))
}

#[tokio::test]
async fn a_lost_completed_is_noticed() {
    let Some((_, result)) = play(Script::SucceedSilently).await else { return };
    result.unwrap();
    let Some((fake, result)) = play(Script::FailSilently).await else { return };
    let failure = result.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareInstallFailed);
    assert!(failure.message.contains("the slot burns"), "{failure}");
    assert_eq!(fake.world().marks, [], "nothing was touched, nothing is marked");
}

#[tokio::test]
async fn somebody_elses_completed_is_no_verdict_on_ours() {
    for result in [0, 1] {
        let Some((fake, result)) = play(Script::AfterAnothers(result)).await else { return };
        result.unwrap();
        assert_eq!(fake.world().marks, []);
    }
}

#[tokio::test]
async fn a_doubled_completed_does_no_harm_to_the_next_installation() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, _connection) = Fake::serve(&bus).await;
    fake.world().script = Script::SucceedTwice;
    let updater = bus.updater();
    install(&updater, "t1").await.unwrap();
    install(&updater, "t2").await.unwrap();
    assert_eq!(fake.world().installed.as_deref(), Some("t2"));
    assert_eq!(fake.world().arguments.len(), 2);
    install(&updater, "t2").await.unwrap();
    assert_eq!(fake.world().arguments.len(), 2, "found done, not installed again");
}

#[tokio::test]
async fn a_success_that_the_slot_does_not_show_is_a_failure() {
    let Some((_, result)) = play(Script::Lie).await else { return };
    assert_eq!(result.unwrap_err().code, Code::FirmwareInstallFailed);
}

#[tokio::test]
async fn a_failure_after_activation_is_taken_back() {
    let Some((fake, result)) = play(Script::FailAfterActivation).await else { return };
    assert!(result.unwrap_err().message.contains("handler"));
    let marks = fake.world().marks.clone();
    let expected = [("active", "booted"), ("bad", "other")];
    assert_eq!(marks, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(fake.world().primary, "rootfs.0");
}

#[tokio::test]
async fn what_is_refused_while_busy_is_tried_again_but_not_for_ever() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, _connection) = Fake::serve(&bus).await;
    let updater = bus.updater();
    fake.world().busy_calls = 4;
    updater.commit().await.unwrap();
    assert_eq!(fake.world().marks.len(), 1);
    fake.world().busy = true;
    let failure = updater.commit().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable);
    assert!(failure.message.contains("busy"), "{failure}");
}

#[tokio::test]
async fn an_older_rauc_is_asked_without_the_argument_it_does_not_know() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, _connection) = Fake::serve(&bus).await;
    fake.world().unknown_key = Some("require-manifest-hash");
    let updater = bus.updater();
    install(&updater, "t1").await.unwrap();
    install(&updater, "t2").await.unwrap();
    let with = vec!["require-manifest-hash".to_owned(), "transaction-id".to_owned()];
    let without = vec!["transaction-id".to_owned()];
    assert_eq!(fake.world().arguments, [with, without.clone(), without], "asked once");

    fake.world().unknown_key = Some("transaction-id");
    let failure = install(&updater, "t3").await.unwrap_err();
    assert!(failure.message.contains("transaction-id"), "{failure}");
}

#[tokio::test]
async fn an_unreadable_boot_loader_is_not_taken_for_a_verdict() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, _connection) = Fake::serve(&bus).await;
    fake.world().no_primary = true;
    let slots = bus.updater().slots().await.unwrap();
    assert_eq!((slots.all.len(), slots.primary), (2, None));
    fake.world().booted_state = "unknown";
    let failure = bus.updater().boot().await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareUnavailable);
}

#[tokio::test]
async fn a_service_that_comes_back_is_found_again() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, connection) = Fake::serve(&bus).await;
    let updater = bus.updater();
    updater.slots().await.unwrap();
    connection.close().await.unwrap();
    let failure = updater.slots().await.unwrap_err();
    assert!(failure.message.contains("does not answer"), "{failure}");
    let _connection = fake.serve_on(&bus).await;
    updater.slots().await.unwrap();
}

#[tokio::test]
async fn what_rauc_says_is_cut() {
    let Some(bus) = Bus::start().await else { return };
    let (fake, _connection) = Fake::serve(&bus).await;
    let updater = bus.updater();
    let mut progress = updater.progress();
    fake.world().script = Script::AfterAnothers(0);
    let installing = {
        let updater = updater.clone();
        tokio::spawn(async move { install(&updater, "t1").await })
    };
    let seen = progress.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(seen.percent, 100, "400 % is not passed on");
    assert!(seen.message.len() <= 512);
    installing.await.unwrap().unwrap();
}
