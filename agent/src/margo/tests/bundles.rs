//! Bundles, honest and not.

use crate::artifacts::digest;
use crate::margo::Limits;
use crate::margo::bundle::{BundleError, unpack};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use state_machine::ids::Digest;
use std::collections::BTreeSet;
use tar::{Builder, EntryType, Header};

/// Name, kind, content.
pub(super) type Entry<'a> = (&'a str, EntryType, &'a [u8]);

/// A bundle of these entries.
pub(super) fn bundle_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, data) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        if *kind == EntryType::Symlink {
            header.set_link_name("a.yaml").unwrap();
        }
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn wanted(contents: &[&[u8]]) -> BTreeSet<Digest> {
    contents.iter().map(|bytes| digest::of(bytes)).collect()
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn entries_are_found_by_content_whatever_their_names() {
    let bundle = bundle_of(&[
        ("./", EntryType::Directory, b""),
        ("zebra", FILE, b"one"),
        ("./a.yaml", FILE, b"two"),
    ]);
    let found = unpack(&bundle, &wanted(&[b"one", b"two"]), &Limits::default()).unwrap();
    assert_eq!(found[&digest::of(b"one")], "one");
    assert_eq!(found[&digest::of(b"two")], "two");
}

#[test]
fn anything_but_exactly_the_wanted_files_is_refused() {
    type Check = fn(&BundleError) -> bool;
    let archive: Check = |e| matches!(e, BundleError::Archive { .. });
    let not_a_file: Check = |e| matches!(e, BundleError::NotAFile { .. });
    let unexpected: Check = |e| matches!(e, BundleError::Unexpected { .. });
    let missing: Check = |e| matches!(e, BundleError::Missing { .. });
    let big = vec![b'x'; 2000];
    let cases: Vec<(&str, Vec<Entry<'_>>, Check)> = vec![
        ("nothing", vec![], missing),
        ("too few", vec![("a.yaml", FILE, b"one")], missing),
        ("extra", vec![("a", FILE, b"one"), ("b", FILE, b"two"), ("c", FILE, b"more")], unexpected),
        ("twice", vec![("a", FILE, b"one"), ("b", FILE, b"one"), ("c", FILE, b"two")], unexpected),
        ("wrong content", vec![("a", FILE, b"one"), ("b", FILE, b"tw0")], unexpected),
        ("below a directory", vec![("d/a", FILE, b"one"), ("b", FILE, b"two")], not_a_file),
        ("a directory", vec![("d", EntryType::Directory, b"")], not_a_file),
        ("a link", vec![("a.yaml", FILE, b"one"), ("l", EntryType::Symlink, b"")], not_a_file),
        ("a device", vec![("n", EntryType::Char, b"")], archive),
        ("too large", vec![("a", FILE, &big)], archive),
    ];
    let limits = Limits { deployment_bytes_max: 1999, ..Limits::default() };
    for (name, entries, expected) in cases {
        let error =
            unpack(&bundle_of(&entries), &wanted(&[b"one", b"two"]), &limits).expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
}

#[test]
fn bombs_and_rubbish_are_refused() {
    let wanted = wanted(&[b"one"]);
    let many: Vec<Entry<'_>> = vec![("a", FILE, b""); 50];
    assert!(unpack(&bundle_of(&many), &wanted, &Limits::default()).is_err());
    let zeros = vec![0_u8; 3 << 20];
    let bomb = bundle_of(&[("a", FILE, &zeros)]);
    let limits = Limits {
        deployment_bytes_max: u64::MAX,
        bundle_unpacked_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let error = unpack(&bomb, &wanted, &limits).unwrap_err();
    assert!(format!("{error:?}").contains("TooLarge"), "{error:?}");
    assert!(unpack(b"rubbish", &wanted, &Limits::default()).is_err());
    let good = bundle_of(&[("a", FILE, b"one")]);
    assert!(unpack(&good[..good.len() - 9], &wanted, &Limits::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_bundle_never_yields_other_bytes(at in 0_usize..200, byte: u8) {
        let mut bundle = bundle_of(&[("a", FILE, b"one")]);
        let index = at % bundle.len();
        bundle[index] = byte;
        if let Ok(found) = unpack(&bundle, &wanted(&[b"one"]), &Limits::default()) {
            prop_assert_eq!(&found[&digest::of(b"one")][..], b"one");
        }
    }
}
