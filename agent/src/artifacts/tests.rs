//! The store against damage, bad names and interruptions.

use super::digest::{DigestError, parse};
use super::*;
use serde::{Deserialize, Serialize};
use state_machine::failure::Code;
use state_machine::ids::Digest;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn count(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn only_the_exact_digest_form_is_read() {
    assert_eq!(parse(HELLO).unwrap(), digest::of(b"hello"));
    for (text, error) in [
        ("sha512:00", DigestError::Algorithm),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm),
        ("", DigestError::Grammar),
        ("sha256:", DigestError::Grammar),
        (&HELLO[7..], DigestError::Grammar),
        (&HELLO.to_uppercase(), DigestError::Grammar),
        (&HELLO.replace("2cf", "2CF"), DigestError::Grammar),
        (&format!("{HELLO} "), DigestError::Grammar),
        (&format!(" {HELLO}"), DigestError::Grammar),
        (&format!("{HELLO}0"), DigestError::Grammar),
        (&HELLO[..70], DigestError::Grammar),
        ("sha256:../../etc/passwd", DigestError::Grammar),
        ("SHA256:00", DigestError::Grammar),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn what_is_put_is_got_after_reopening() {
    let place = tempfile::tempdir().unwrap();
    let digest = Artifacts::open(place.path()).unwrap().put(b"hello").unwrap();
    assert_eq!(digest.as_str(), HELLO);
    let store = Artifacts::open(place.path()).unwrap();
    assert!(store.contains(&digest));
    assert_eq!(store.get(&digest).unwrap(), b"hello");
    let mut text = String::new();
    store.open_verified(&digest).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn absent_blobs_are_lost_not_fatal() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let error = store.get(&Digest::from(HELLO)).unwrap_err();
    assert!(matches!(error, ArtifactsError::Missing { .. }));
    assert_eq!(error.to_failure().code, Code::ArtifactLost);
}

#[test]
fn damage_is_noticed_moved_aside_and_healed_by_putting_again() {
    let cases: [&[u8]; 3] = [b"hellp", b"", b"hello and more"];
    for bytes in cases {
        let place = tempfile::tempdir().unwrap();
        let store = Artifacts::open(place.path()).unwrap();
        let digest = store.put(b"hello").unwrap();
        std::fs::write(store.path(&digest).unwrap(), bytes).unwrap();
        let error = store.get(&digest).unwrap_err();
        assert!(matches!(error, ArtifactsError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("is damaged"));
        assert!(!store.contains(&digest));
        assert_eq!(count(&place.path().join("damaged")), 1);
        store.put(b"hello").unwrap();
        assert_eq!(store.get(&digest).unwrap(), b"hello");
    }
}

#[test]
fn putting_over_a_damaged_blob_repairs_it() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let digest = store.put(b"hello").unwrap();
    std::fs::write(store.path(&digest).unwrap(), "bad").unwrap();
    store.put(b"hello").unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"hello");
}

#[test]
fn a_file_is_only_taken_with_its_promised_digest() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let mut temp = store.temp_file().unwrap();
    temp.write_all(b"hello").unwrap();
    store.put_file(temp, &Digest::from(HELLO)).unwrap();
    assert_eq!(store.get(&Digest::from(HELLO)).unwrap(), b"hello");

    let other = digest::of(b"other");
    let mut temp = store.temp_file().unwrap();
    temp.write_all(b"hello").unwrap();
    let error = store.put_file(temp, &other).unwrap_err();
    assert_eq!(error.to_failure().code, Code::ArtifactDigestMismatch);
    assert!(!store.contains(&other));
    assert_eq!(count(&place.path().join("tmp")), 0);
}

#[test]
fn names_never_become_paths_unchecked() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    for text in ["sha256:../../../etc/passwd", "../x", ""] {
        let error = store.get(&Digest::from(text)).unwrap_err();
        assert!(matches!(error, ArtifactsError::Name { .. }), "{text}");
        assert!(!store.contains(&Digest::from(text)));
    }
    for name in ["", ".", "..", ".hidden", "a/b", "a\0", "ä", &"x".repeat(161)] {
        let error = store.write_record("pins", name, &1).unwrap_err();
        assert!(matches!(error, ArtifactsError::RecordName { .. }), "{name}");
        assert!(store.read_record::<u8>(name, "x").is_err(), "{name}");
    }
}

#[test]
fn opening_removes_what_interrupted_writes_left() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let kept = store.temp_file().unwrap().into_temp_path().keep().unwrap();
    assert!(kept.exists());
    Artifacts::open(place.path()).unwrap();
    assert!(!kept.exists());
}

#[test]
fn gc_keeps_exactly_what_it_is_told_to() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let digests: Vec<Digest> = (0_u8..5).map(|number| store.put(&[number]).unwrap()).collect();
    let keep: BTreeSet<Digest> = digests[..2].iter().cloned().collect();
    assert_eq!(store.gc(&keep).unwrap(), 3);
    assert!(digests[..2].iter().all(|digest| store.contains(digest)));
    assert!(digests[2..].iter().all(|digest| !store.contains(digest)));
    assert_eq!(store.gc(&keep).unwrap(), 0);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pins {
    images: Vec<String>,
}

#[test]
fn records_survive_reopening_and_are_listed() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    assert_eq!(store.read_record::<Pins>("pins", HELLO).unwrap(), None);
    let pins = Pins { images: vec!["a@sha256:1".into()] };
    store.write_record("pins", HELLO, &pins).unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    assert_eq!(store.read_record("pins", HELLO).unwrap(), Some(pins));
    assert_eq!(store.record_names("pins").unwrap(), BTreeSet::from([HELLO.to_owned()]));
    assert!(store.remove_record("pins", HELLO).unwrap());
    assert!(!store.remove_record("pins", HELLO).unwrap());
}

#[test]
fn an_unchanged_record_is_not_rewritten() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let inode = || std::fs::metadata(place.path().join("records/pins/a")).unwrap().ino();
    store.write_record("pins", "a", &1).unwrap();
    // Holding the first inode open keeps its number from being used again.
    let _first = std::fs::File::open(place.path().join("records/pins/a")).unwrap();
    let before = inode();
    store.write_record("pins", "a", &1).unwrap();
    assert_eq!(inode(), before);
    store.write_record("pins", "a", &2).unwrap();
    assert_ne!(inode(), before);
}

#[test]
fn every_flipped_bit_of_a_record_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    store.write_record("pins", "a", &vec![1, 2, 3]).unwrap();
    let path = place.path().join("records/pins/a");
    let good = std::fs::read(&path).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = store.read_record::<Vec<u8>>("pins", "a").unwrap_err();
        assert!(matches!(error, ArtifactsError::Damaged { .. }), "byte {index}");
        assert_eq!(store.read_record::<Vec<u8>>("pins", "a").unwrap(), None);
    }
}

#[test]
fn a_full_disk_is_told_apart() {
    let full = ArtifactsError::Write {
        path: "/data/x".into(),
        source: std::io::Error::from_raw_os_error(28),
    };
    assert!(full.is_no_space());
    assert_eq!(full.to_failure().code, Code::NoSpace);
    // What a disk that gave up answers, and a file system that refuses writes: no mistake of the agent's.
    for answer in [5, 30] {
        let source = std::io::Error::from_raw_os_error(answer);
        let broken = ArtifactsError::Write { path: "/data/x".into(), source };
        assert!(!broken.is_no_space());
        assert_eq!(broken.to_failure().code, Code::StorageFailed);
    }
    let place = tempfile::tempdir().unwrap();
    let store = Artifacts::open(place.path()).unwrap();
    let huge = "x".repeat(300_000);
    let error = store.write_record("pins", "a", &huge).unwrap_err();
    assert!(matches!(error, ArtifactsError::RecordTooLarge { .. }));
}
