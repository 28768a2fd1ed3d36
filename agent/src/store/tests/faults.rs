//! Disk errors: at every operation, once or for good, followed by a crash at any point.

use super::crash_disk::{CrashDisk, Fault};
use super::{Doc, SEQUENCE};
use crate::store::{Condition, Copies, Fault as Kind, SCHEMA, Store, StoreError};
use rustix::io::Errno;

fn open(disk: &CrashDisk) -> (Store<CrashDisk>, crate::store::Loaded<Doc>) {
    Store::open_on(disk.clone(), SCHEMA).unwrap()
}

/// `(seq, version)` of what opening any possible image gives; a new device is `(0, 0)`.
fn found_after_crash(disk: &CrashDisk) -> Vec<(u64, u64)> {
    disk.images()
        .iter()
        .map(|image| {
            let (_, loaded) = open(&CrashDisk::from_image(image));
            match (loaded.condition, loaded.document) {
                (Condition::Fresh, None) => (0, 0),
                (Condition::Intact | Condition::Healed { .. }, Some(doc)) => (doc.seq, doc.version),
                (condition, _) => panic!("{condition:?}"),
            }
        })
        .collect()
}

fn operations_of_sequence() -> usize {
    let disk = CrashDisk::default();
    let (mut store, _) = open(&disk);
    for (seq, (version, copies)) in (1..).zip(SEQUENCE) {
        store.save(&Doc::new(seq, *version), *copies).unwrap();
    }
    disk.operations()
}

#[test]
fn a_failed_save_keeps_the_last_one_and_the_next_one_works() {
    let operations = operations_of_sequence();
    assert!(operations > 50, "{operations}");
    for (errno, kind) in [(Errno::NOSPC, Kind::NoSpace), (Errno::IO, Kind::Medium)] {
        for at in 0..operations {
            let disk = CrashDisk::default().with_fault(Fault { at, errno, for_good: false });
            let (mut store, _) = open(&disk);
            let (mut saved, mut version_saved, mut failures) = (0, 0, 0);
            for (seq, (version, copies)) in (1..).zip(SEQUENCE) {
                match store.save(&Doc::new(seq, *version), *copies) {
                    Ok(()) => (saved, version_saved) = (seq, *version),
                    Err(error) => {
                        assert_eq!(error.fault(), kind, "{error}");
                        failures += 1;
                    }
                }
                for (found, version) in found_after_crash(&disk) {
                    assert!(found >= saved && found <= seq, "{found} at {at}, saved {saved}");
                    assert!(version >= version_saved, "version {version} at {at}");
                }
            }
            assert_eq!(failures, 1, "operation {at}");
        }
    }
}

#[test]
fn a_disk_that_fails_for_good_keeps_what_was_saved() {
    for at in 0..operations_of_sequence() {
        let fault = Fault { at, errno: Errno::ROFS, for_good: true };
        let disk = CrashDisk::default().with_fault(fault);
        let (mut store, _) = open(&disk);
        let mut saved = 0;
        for (seq, (version, copies)) in (1..).zip(SEQUENCE) {
            match store.save(&Doc::new(seq, *version), *copies) {
                Ok(()) => saved = seq,
                Err(error) => assert_eq!(error.fault(), Kind::ReadOnly),
            }
        }
        assert!(found_after_crash(&disk).into_iter().all(|(found, _)| found >= saved));
    }
}

#[test]
fn a_damaged_copy_on_a_read_only_disk_is_still_read() {
    let disk = CrashDisk::default();
    open(&disk).0.save(&Doc::new(1, 1), Copies::Both).unwrap();
    let mut image = disk.live();
    image.insert("state-b".into(), b"margo-state 1 nonsense".to_vec());
    let fault = Fault { at: 0, errno: Errno::ROFS, for_good: true };
    let (_, loaded) = open(&CrashDisk::from_image(&image).with_fault(fault));
    assert_eq!(loaded.document, Some(Doc::new(1, 1)));
    let Condition::Unhealed { damaged_file, reason, error } = loaded.condition else {
        panic!("{:?}", loaded.condition)
    };
    assert_eq!(
        (damaged_file.as_str(), reason.as_str()),
        ("state-b", "it has no complete header line")
    );
    assert_eq!(error.fault(), Kind::ReadOnly);
    assert_eq!(error.to_string(), "cannot rename state-b in the state directory");
}

#[test]
fn an_interrupted_save_of_both_is_owed_until_it_is_done() {
    let disk = CrashDisk::default();
    let (mut store, _) = open(&disk);
    store.save(&Doc::new(1, 1), Copies::Both).unwrap();
    // Five operations a copy: create, write, sync, rename, sync of the directory.
    let at = disk.operations() + 5;
    let disk = disk.with_fault(Fault { at, errno: Errno::NOSPC, for_good: false });
    store.save(&Doc::new(2, 2), Copies::Both).unwrap_err();
    store.save(&Doc::new(3, 2), Copies::One).unwrap();
    let mut image = disk.live();
    for file in ["state-a", "state-b"] {
        let kept = image.remove(file).unwrap();
        let (_, loaded) = open(&CrashDisk::from_image(&image));
        assert_eq!(loaded.document, Some(Doc::new(3, 2)), "without {file}");
        image.insert(file.into(), kept);
    }
}

#[test]
fn a_document_over_the_limit_is_refused_before_anything_is_written() {
    let disk = CrashDisk::default();
    let (mut store, _) = open(&disk);
    let mut doc = Doc::new(1, 1);
    doc.padding = "x".repeat(9 * 1024 * 1024);
    let error = store.save(&doc, Copies::Both).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }));
    assert_eq!(disk.operations(), 0);
}

/// After a failure the other file is still the only one known to be durable, so it is not the one to write.
#[test]
fn a_save_after_a_failed_one_goes_to_the_same_file() {
    for step in 0..5 {
        let disk = CrashDisk::default();
        let (mut store, _) = open(&disk);
        store.save(&Doc::new(1, 1), Copies::Both).unwrap();
        store.save(&Doc::new(2, 1), Copies::One).unwrap();
        let at = disk.operations() + step;
        let disk = disk.with_fault(Fault { at, errno: Errno::IO, for_good: false });
        store.save(&Doc::new(3, 1), Copies::One).unwrap_err();
        store.save(&Doc::new(4, 1), Copies::One).unwrap();
        for (lost, left) in [("state-a", 4), ("state-b", 2)] {
            let mut image = disk.live();
            image.remove(lost);
            let (_, loaded) = open(&CrashDisk::from_image(&image));
            assert_eq!(loaded.document, Some(Doc::new(left, 1)), "failed at step {step}");
        }
    }
}
