//! The story: somebody pulls the plug between any two disk operations, or in one, also while the agent is
//! repairing what the last time left behind. What is found must be the last save or the one under way (I2),
//! and the accepted version never goes back, not even when one of the two files is lost as well (I3).

use super::crash_disk::{CrashDisk, Image, Mistake};
use super::{Doc, SEQUENCE};
use crate::store::{Condition, Copies, SCHEMA, Store};
use std::collections::BTreeSet;

/// What may be found, given what was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Promise {
    /// `seq` of the last save that returned.
    saved: u64,
    /// `seq` of the save under way, or the same.
    attempted: u64,
    /// `version` of the last save of both copies that returned.
    version: u64,
}

/// How much was looked at, so that a check that looks at nothing is noticed.
#[derive(Debug, Default)]
struct Looked {
    images: usize,
    repairs: usize,
    old_found: usize,
    new_found: usize,
}

type Verdict = Result<Looked, String>;

/// Runs the sequence and looks at everything that may be found after each operation.
fn check(mistake: Mistake) -> Verdict {
    let disk = CrashDisk::default().with_mistake(mistake).recording();
    let (mut store, _) = open(&disk)?;
    let mut promise = Promise::default();
    let mut cases: BTreeSet<(Promise, Image)> = BTreeSet::new();
    for (index, (version, copies)) in SEQUENCE.iter().enumerate() {
        promise.attempted = index as u64 + 1;
        let doc = Doc::new(promise.attempted, *version);
        store.save(&doc, *copies).map_err(|error| error.to_string())?;
        let during = disk.take_snapshots();
        cases.extend(during.into_iter().flatten().map(|image| (promise, image)));
        promise.saved = promise.attempted;
        if *copies == Copies::Both {
            promise.version = *version;
        }
        cases.extend(disk.images().into_iter().map(|image| (promise, image)));
    }
    let mut looked = Looked::default();
    for (promise, image) in cases {
        look(&image, promise, mistake, &mut looked)?;
    }
    Ok(looked)
}

/// Opens one image; then, for every crash during the opening, opens what that leaves.
fn look(
    image: &Image,
    promise: Promise,
    mistake: Mistake,
    looked: &mut Looked,
) -> Result<(), String> {
    looked.images += 1;
    let disk = CrashDisk::from_image(image).with_mistake(mistake).recording();
    let found = open(&disk)?.1;
    judge(&found, promise)?;
    if found.0 == promise.saved {
        looked.old_found += 1;
    } else {
        looked.new_found += 1;
    }
    for left in disk.take_snapshots().into_iter().flatten().collect::<BTreeSet<_>>() {
        looked.repairs += 1;
        let again = open(&CrashDisk::from_image(&left).with_mistake(mistake))?.1;
        judge(&again, promise)?;
        if again.0 < found.0 {
            return Err(format!("save {} was seen, then save {}", found.0, again.0));
        }
    }
    // The opening is over: what it showed may not be taken back by losing either file.
    for left in disk.images() {
        for file in ["state-a", "state-b"] {
            look_without(&left, file, found)?;
        }
    }
    Ok(())
}

/// Loses one file: cut, flipped or gone.
fn look_without(image: &Image, file: &str, (seq, version): (u64, u64)) -> Result<(), String> {
    let Some(content) = image.get(file) else { return Ok(()) };
    let mut flipped = content.clone();
    if let Some(byte) = flipped.last_mut() {
        *byte ^= 0x10;
    }
    let cut = content[..content.len() / 2].to_vec();
    for damage in [None, Some(flipped), Some(cut)] {
        let mut image = image.clone();
        image.remove(file);
        if let Some(content) = damage {
            image.insert(file.to_owned(), content);
        }
        let disk = CrashDisk::from_image(&image);
        let ((_, condition), found) = open_with_condition(&disk)?;
        if !matches!(&condition, Condition::Healed { damaged_file, .. } if damaged_file == file) {
            return Err(format!("{file} of save {seq} was lost and opening said {condition:?}"));
        }
        if found.1 < version {
            return Err(format!("without {file}, version {version} went back to {}", found.1));
        }
        // Healed for good: losing the other one now is survived, too.
        let (_, condition) = open_with_condition(&disk)?.0;
        if !matches!(condition, Condition::Intact) {
            return Err(format!("after healing {file}: {condition:?}"));
        }
    }
    Ok(())
}

fn judge(found: &(u64, u64), promise: Promise) -> Result<(), String> {
    let (seq, version) = *found;
    if seq < promise.saved || seq > promise.attempted {
        return Err(format!("found save {seq}, promised {promise:?}"));
    }
    if version < promise.version {
        return Err(format!("found version {version}, promised {promise:?}"));
    }
    Ok(())
}

type Opened = (Store<CrashDisk>, Condition);

/// Opens a disk where nothing may be lost. A new device counts as save 0.
fn open_with_condition(disk: &CrashDisk) -> Result<(Opened, (u64, u64)), String> {
    let (store, loaded) =
        Store::open_on::<Doc>(disk.clone(), SCHEMA).map_err(|error| error.to_string())?;
    let found = match (&loaded.condition, &loaded.document) {
        (Condition::Fresh, None) => (0, 0),
        (Condition::Lost { reasons }, _) => return Err(format!("lost: {reasons:?}")),
        (_, Some(doc)) => (doc.seq, doc.version),
        (condition, None) => return Err(format!("{condition:?} without a document")),
    };
    Ok(((store, loaded.condition), found))
}

/// Opens a disk that only suffered power loss: nothing is damaged then.
fn open(disk: &CrashDisk) -> Result<(Store<CrashDisk>, (u64, u64)), String> {
    let ((store, condition), found) = open_with_condition(disk)?;
    match condition {
        Condition::Fresh | Condition::Intact => Ok((store, found)),
        condition => Err(format!("power loss alone caused {condition:?}")),
    }
}

#[test]
fn i2_i3_every_crash_point_leaves_the_last_save_or_the_one_under_way() {
    let looked = check(Mistake::None).unwrap();
    assert!(looked.images > 100, "{looked:?}");
    assert!(looked.repairs > 50, "{looked:?}");
    assert!(looked.old_found > 50 && looked.new_found > 50, "{looked:?}");
}

#[test]
fn seeded_mistakes_are_caught() {
    for mistake in [Mistake::NoFileSync, Mistake::NoDirSync, Mistake::InPlace] {
        check(mistake).expect_err(&format!("{mistake:?} went unnoticed"));
    }
}

#[test]
fn i3_a_version_saved_in_one_copy_only_can_be_lost_so_the_check_above_means_something() {
    let disk = CrashDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    store.save(&Doc::new(1, 1), Copies::Both).unwrap();
    store.save(&Doc::new(2, 2), Copies::One).unwrap();
    let error = look_without(&disk.live(), "state-a", (2, 2)).unwrap_err();
    assert_eq!(error, "without state-a, version 2 went back to 1");
}

#[test]
fn i10_opening_an_intact_state_writes_nothing() {
    let disk = CrashDisk::default();
    open(&disk).unwrap().0.save(&Doc::new(1, 1), Copies::One).unwrap();
    let before = disk.operations();
    open(&disk).unwrap();
    assert_eq!(disk.operations(), before);
}
