//! The store on a real file system: damage, loss, schema, modes, the lock.

use super::Doc;
use crate::store::{Condition, Copies, RealDisk, Schema, Store, StoreError};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

fn saved_twice() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = Store::open::<Doc>(dir.path()).unwrap();
    assert!(matches!(loaded.condition, Condition::Fresh));
    store.save(&Doc::new(1, 1), Copies::Both).unwrap();
    // The second of the two copies is the newest, so this goes to state-a.
    store.save(&Doc::new(2, 1), Copies::One).unwrap();
    dir
}

fn reopen(dir: &Path) -> (Option<u64>, Condition) {
    let (_, loaded) = Store::open::<Doc>(dir).unwrap();
    (loaded.document.map(|doc| doc.seq), loaded.condition)
}

#[test]
fn files_are_private_and_readable_by_a_person() {
    let dir = saved_twice();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path()), 0o700);
    assert_eq!(mode(&dir.path().join("state-a")), 0o600);
    let text = fs::read_to_string(dir.path().join("state-a")).unwrap();
    let start = "margo-state 1 schema=1 readable-by=1 generation=3 copy=single length=";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("\n{\"seq\":2,"), "{text}");
}

#[test]
fn each_kind_of_damage_is_named_and_healed() {
    let flip = |at: usize| {
        move |bytes: &mut Vec<u8>| {
            bytes[at] ^= 1;
        }
    };
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: [(Damage, &str); 6] = [
        (Box::new(flip(1000)), "its checksum does not match"),
        (Box::new(flip(24)), "its checksum does not match"),
        (Box::new(|bytes| bytes.truncate(500)), "its body has "),
        (Box::new(Vec::clear), "it is empty"),
        (Box::new(|bytes| bytes.fill(0)), "it has no complete header line"),
        (Box::new(|bytes| bytes.insert(0, b'\n')), "its header has no checksum"),
    ];
    for (damage, expected) in cases {
        let dir = saved_twice();
        let path = dir.path().join("state-a");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let (seq, condition) = reopen(dir.path());
        let Condition::Healed { damaged_file, reason } = condition else { panic!("{condition:?}") };
        assert_eq!((seq, damaged_file.as_str()), (Some(1), "state-a"));
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(fs::read(dir.path().join("state-a.damaged-1")).unwrap(), bytes);
        assert!(matches!(reopen(dir.path()), (Some(1), Condition::Intact)));
    }
}

#[test]
fn only_the_newest_damaged_files_are_kept() {
    let dir = saved_twice();
    for round in 1..=5_u8 {
        fs::write(dir.path().join("state-b"), [round]).unwrap();
        assert!(matches!(reopen(dir.path()).1, Condition::Healed { .. }));
    }
    let mut kept: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("damaged"))
        .collect();
    kept.sort();
    assert_eq!(kept, ["state-b.damaged-3", "state-b.damaged-4", "state-b.damaged-5"]);
}

#[test]
fn losing_both_copies_is_lost_and_stays_lost_until_a_save() {
    let dir = saved_twice();
    fs::write(dir.path().join("state-a"), "?").unwrap();
    fs::remove_file(dir.path().join("state-b")).unwrap();
    for expected in [
        ["state-a: it has no complete header line", "state-b: it is missing"],
        ["state-a: it is missing", "state-b: it is missing"],
    ] {
        let (seq, condition) = reopen(dir.path());
        let Condition::Lost { reasons } = condition else { panic!("{condition:?}") };
        assert_eq!(seq, None);
        assert_eq!(reasons, expected);
    }
    assert!(dir.path().join("state-a.damaged-1").exists());
    let (mut store, _) = Store::open::<Doc>(dir.path()).unwrap();
    store.save(&Doc::new(9, 9), Copies::One).unwrap();
    drop(store);
    assert!(matches!(reopen(dir.path()), (Some(9), Condition::Intact)));
    assert!(dir.path().join("state-b").exists(), "the first save after a loss writes both");
}

#[test]
fn damaged_files_without_a_marker_are_no_new_device() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("state-b"), "?").unwrap();
    assert!(matches!(reopen(dir.path()).1, Condition::Lost { .. }));
    assert!(matches!(reopen(dir.path()).1, Condition::Lost { .. }));
}

#[test]
fn a_newer_schema_is_refused_and_nothing_is_touched() {
    let dir = TempDir::new().unwrap();
    let newer = Schema { version: 3, readable_by: 2 };
    let disk = RealDisk::open(dir.path()).unwrap();
    let (mut store, _) = Store::open_on::<Doc>(disk, newer).unwrap();
    store.save(&Doc::new(1, 1), Copies::Both).unwrap();
    drop(store);
    let before = fs::read(dir.path().join("state-a")).unwrap();
    let error = Store::open::<Doc>(dir.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "state-a has schema 3, readable from schema 2 on; this release knows schema 1: \
         start the newer release, nothing was changed"
    );
    assert_eq!(fs::read(dir.path().join("state-a")).unwrap(), before);
    // The release between the two can read it: that is what a firmware fallback relies on.
    let disk = RealDisk::open(dir.path()).unwrap();
    let between = Schema { version: 2, readable_by: 1 };
    let (_, loaded) = Store::open_on::<Doc>(disk, between).unwrap();
    assert_eq!(loaded.document, Some(Doc::new(1, 1)));
}

#[test]
fn a_second_agent_is_refused() {
    let dir = saved_twice();
    let (_first, _) = Store::open::<Doc>(dir.path()).unwrap();
    let error = Store::open::<Doc>(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "the state directory {} is in use by another margo-agent; stop that one first",
            dir.path().display()
        )
    );
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state");
    fs::write(&path, "").unwrap();
    let error = Store::open::<Doc>(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot prepare the state directory {}", path.display()));
}
