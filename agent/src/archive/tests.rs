//! Attacks by table, honest archives by example, and arbitrary bytes by property.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use state_machine::failure::{Code, FailureClass};
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tar::{EntryType, Header};

/// One raw tar entry, written without any of the tar crate's own checks.
#[derive(Clone, Debug)]
struct Raw {
    kind: EntryType,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    data: Vec<u8>,
}

fn raw(kind: EntryType, name: &str, link: &str, data: &[u8]) -> Raw {
    let (name, link) = (name.as_bytes().to_vec(), link.as_bytes().to_vec());
    Raw { kind, name, link, mode: 0o644, data: data.to_vec() }
}
fn file(name: &str) -> Raw {
    raw(EntryType::Regular, name, "", b"x")
}
fn dir(name: &str) -> Raw {
    raw(EntryType::Directory, name, "", b"")
}
fn symlink(name: &str, target: &str) -> Raw {
    raw(EntryType::Symlink, name, target, b"")
}
fn hard_link(name: &str, target: &str) -> Raw {
    raw(EntryType::Link, name, target, b"")
}

fn tar_of(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..entry.name.len()].copy_from_slice(&entry.name);
        old.linkname[..entry.link.len()].copy_from_slice(&entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(1234);
        header.set_gid(1234);
        header.set_mtime(0);
        header.set_size(entry.data.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&entry.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn archive(entries: &[Raw]) -> Vec<u8> {
    gzip(&tar_of(entries))
}

/// An honest archive with `extra` behind it.
fn with(extra: &[Raw]) -> Vec<u8> {
    let mut entries = vec![dir("app/"), file("app/compose.yaml")];
    entries.extend_from_slice(extra);
    archive(&entries)
}

fn rule_of(bytes: &[u8]) -> Option<Rule> {
    match check(bytes, &ArchiveLimits::default()) {
        Err(ArchiveError::Entry { rule, .. } | ArchiveError::Layout { rule }) => Some(rule),
        Err(ArchiveError::Read { .. } | ArchiveError::Write { .. }) | Ok(_) => None,
    }
}

#[test]
fn attacks_are_refused_with_their_rule() {
    let device = |kind| raw(kind, "app/node", "", b"");
    let long_component = format!("app/{}", "d/".repeat(40));
    let cases: Vec<(&str, Vec<Raw>, Rule)> = vec![
        ("absolute path", vec![file("/app/x")], Rule::AbsolutePath),
        ("absolute outside", vec![file("/etc/passwd")], Rule::AbsolutePath),
        ("climbing", vec![file("app/../../x")], Rule::ParentComponent),
        ("climbing inside", vec![file("app/a/../b")], Rule::ParentComponent),
        ("bare ..", vec![dir("..")], Rule::ParentComponent),
        ("control character", vec![file("app/a\nb")], Rule::BadName),
        ("too deep", vec![dir(&long_component)], Rule::NameTooLong),
        ("character device", vec![device(EntryType::Char)], Rule::BadKind),
        ("block device", vec![device(EntryType::Block)], Rule::BadKind),
        ("fifo", vec![device(EntryType::Fifo)], Rule::BadKind),
        ("contiguous", vec![device(EntryType::Continuous)], Rule::BadKind),
        ("sparse", vec![device(EntryType::GNUSparse)], Rule::BadKind),
        ("unknown type", vec![device(EntryType::new(b'Z'))], Rule::BadKind),
        (
            "directory with content",
            vec![raw(EntryType::Directory, "app/d", "", b"x")],
            Rule::BadKind,
        ),
        ("duplicate file", vec![file("app/compose.yaml")], Rule::Duplicate),
        ("duplicate by other spelling", vec![file("./app//compose.yaml")], Rule::Duplicate),
        ("duplicate directory", vec![dir("app")], Rule::Duplicate),
        ("file becomes directory", vec![file("app/compose.yaml/x")], Rule::ParentNotDirectory),
        ("absolute link", vec![symlink("app/l", "/etc/passwd")], Rule::LinkEscapes),
        ("link out of top", vec![symlink("app/l", "../other")], Rule::LinkEscapes),
        ("link to archive root", vec![symlink("app/l", "..")], Rule::LinkEscapes),
        ("link out and back", vec![symlink("app/l", "../app/compose.yaml")], Rule::LinkEscapes),
        (
            "link out through an earlier link",
            vec![
                dir("app/a"),
                dir("app/a/b"),
                symlink("app/up", "a/b"),
                symlink("app/l", "up/../../../x"),
            ],
            Rule::LinkEscapes,
        ),
        (
            "lexically inside, really outside",
            vec![
                dir("app/deep"),
                dir("app/deep/er"),
                symlink("app/deep/er/s", "../.."),
                symlink("app/l", "deep/er/s/.."),
            ],
            Rule::LinkEscapes,
        ),
        ("link to itself", vec![symlink("app/l", "l")], Rule::LinkLoop),
        ("links in a circle", vec![symlink("app/a", "b"), symlink("app/b", "a")], Rule::LinkLoop),
        ("empty link", vec![symlink("app/l", "")], Rule::BadName),
        (
            "write through a link",
            vec![symlink("app/l", "."), file("app/l/x")],
            Rule::ParentNotDirectory,
        ),
        (
            "write through a later link",
            vec![file("app/l/x"), symlink("app/l", ".")],
            Rule::ParentNotDirectory,
        ),
        ("hard link outside", vec![hard_link("app/h", "/etc/passwd")], Rule::HardLinkTarget),
        ("hard link climbing", vec![hard_link("app/h", "../x")], Rule::HardLinkTarget),
        ("hard link to nothing", vec![hard_link("app/h", "app/none")], Rule::HardLinkTarget),
        (
            "hard link to a link",
            vec![symlink("app/l", "x"), hard_link("app/h", "app/l")],
            Rule::HardLinkTarget,
        ),
        ("hard link to a directory", vec![hard_link("app/h", "app")], Rule::HardLinkTarget),
        ("second top directory", vec![file("other/x")], Rule::SeveralTops),
        ("file beside the top directory", vec![file("README")], Rule::SeveralTops),
        ("symlinked root", vec![symlink("./", "x")], Rule::BadName),
    ];
    for (name, extra, rule) in cases {
        assert_eq!(rule_of(&with(&extra)), Some(rule), "{name}");
    }
}

#[test]
fn layouts_without_one_compose_file_are_refused() {
    let cases: Vec<(&str, Vec<Raw>, Rule)> = vec![
        ("empty", vec![], Rule::SeveralTops),
        ("file at the root", vec![file("compose.yaml")], Rule::TopNotDirectory),
        ("top is a link", vec![symlink("app", "x")], Rule::TopNotDirectory),
        ("wrong extension", vec![file("app/compose.yml")], Rule::NoComposeFile),
        ("legacy name", vec![file("app/docker-compose.yaml")], Rule::NoComposeFile),
        ("wrong case", vec![file("app/Compose.yaml")], Rule::NoComposeFile),
        ("too deep", vec![file("app/sub/compose.yaml")], Rule::NoComposeFile),
        ("directory of that name", vec![dir("app/compose.yaml")], Rule::NoComposeFile),
        (
            "link of that name",
            vec![file("app/x"), symlink("app/compose.yaml", "x")],
            Rule::NoComposeFile,
        ),
    ];
    for (name, entries, rule) in cases {
        assert_eq!(rule_of(&archive(&entries)), Some(rule), "{name}");
    }
}

#[test]
fn long_names_are_checked_like_short_ones() {
    let long = |kind, data: &[u8]| raw(kind, "././@LongLink", "", data);
    let pax = |text: &str| {
        let body = format!(" {text}\n");
        let mut length = body.len() + 1;
        while length.to_string().len() + body.len() != length {
            length += 1;
        }
        raw(EntryType::XHeader, "pax", "", format!("{length}{body}").as_bytes())
    };
    let cases: Vec<(&str, Vec<Raw>, Rule)> = vec![
        (
            "gnu name",
            vec![long(EntryType::GNULongName, b"../x\0"), file("app/x")],
            Rule::ParentComponent,
        ),
        (
            "gnu link",
            vec![long(EntryType::GNULongLink, b"/etc\0"), symlink("app/x", "y")],
            Rule::LinkEscapes,
        ),
        ("pax name", vec![pax("path=/etc/x"), file("app/x")], Rule::AbsolutePath),
        ("pax link", vec![pax("linkpath=../.."), symlink("app/x", "y")], Rule::LinkEscapes),
        ("pax size", vec![pax("size=0"), file("app/x")], Rule::BadExtension),
        ("pax sparse", vec![pax("GNU.sparse.major=1"), file("app/x")], Rule::BadExtension),
        (
            "both kinds of long name",
            vec![long(EntryType::GNULongName, b"app/y\0"), pax("path=app/z"), file("app/x")],
            Rule::BadExtension,
        ),
        (
            "huge extension",
            vec![long(EntryType::GNULongName, &[b'a'; 20_000]), file("app/x")],
            Rule::BadExtension,
        ),
        ("nul inside", vec![pax("path=app/a\0b"), file("app/x")], Rule::BadName),
    ];
    for (name, extra, rule) in cases {
        assert_eq!(rule_of(&with(&extra)), Some(rule), "{name}");
    }
    let mut global = pax("comment=0123456789abcdef");
    global.kind = EntryType::XGlobalHeader;
    let fine = archive(&[global, pax("path=app/compose.yaml"), file("short")]);
    assert_eq!(check(&*fine, &ArchiveLimits::default()).unwrap().top_dir(), "app");
}

#[test]
fn limits_are_enforced() {
    let limits = ArchiveLimits {
        entries_max: 3,
        total_size_bytes_max: 8192,
        file_size_bytes_max: 600,
        ..ArchiveLimits::default()
    };
    let outcome = |bytes: &[u8]| match check(bytes, &limits) {
        Err(ArchiveError::Entry { rule, .. } | ArchiveError::Layout { rule }) => Some(rule),
        other => panic!("expected a broken rule, got {other:?}"),
    };
    let big = raw(EntryType::Regular, "app/big", "", &[0; 601]);
    assert_eq!(outcome(&with(&[big])), Some(Rule::FileTooLarge));
    assert_eq!(outcome(&with(&[file("app/1"), file("app/2")])), Some(Rule::TooManyEntries));
    let bomb = gzip(&[tar_of(&[file("app/compose.yaml")]), vec![0; 1 << 20]].concat());
    assert!(bomb.len() < 8192, "a bomb is small");
    assert_eq!(outcome(&bomb), Some(Rule::TooLarge));
}

#[test]
fn damaged_archives_are_read_errors_and_nothing_is_written() {
    let good = with(&[]);
    let mut flipped = good.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let mut hidden = tar_of(&[file("app/compose.yaml")]);
    hidden.extend_from_slice(&tar_of(&[file("app/more")]));
    assert_eq!(rule_of(&gzip(&hidden)), Some(Rule::TrailingData));
    for (name, bytes) in [
        ("not gzip", b"hello".to_vec()),
        ("cut short", good[..good.len() / 2].to_vec()),
        ("wrong checksum", flipped),
        ("empty", Vec::new()),
    ] {
        let place = tempfile::tempdir().unwrap();
        let dest = place.path().join("out");
        let error = check_and_extract(Cursor::new(bytes), &dest, &ArchiveLimits::default())
            .expect_err(name);
        assert!(matches!(error, ArchiveError::Read { .. }), "{name}: {error:?}");
        assert_eq!(error.to_failure().code, Code::ArchiveInvalid);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn an_honest_archive_is_extracted_with_normal_modes() {
    let mut program = file("app/run.sh");
    program.mode = 0o6755;
    let mut secretive = dir("app/conf");
    secretive.mode = 0o1700;
    let bytes = archive(&[
        dir("./"),
        dir("./app"),
        file("./app/compose.yaml"),
        program,
        secretive,
        file("app/conf/a.env"),
        symlink("app/env", "conf/a.env"),
        hard_link("app/again", "app/conf/a.env"),
        symlink("app/conf/dangling", "../not/there"),
        file("app/implicit/dir/file"),
    ]);
    let place = tempfile::tempdir().unwrap();
    let dest = place.path().join("out");
    let done = check_and_extract(Cursor::new(bytes), &dest, &ArchiveLimits::default()).unwrap();
    assert_eq!(done.top_dir, dest.join("app"));
    let mode = |name: &str| {
        std::fs::symlink_metadata(done.top_dir.join(name)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode("compose.yaml"), 0o644);
    assert_eq!(mode("run.sh"), 0o755);
    assert_eq!(mode("conf"), 0o755);
    assert_eq!(mode("implicit/dir"), 0o755);
    assert_eq!(std::fs::read(done.top_dir.join("env")).unwrap(), b"x");
    let inode = |name: &str| std::fs::metadata(done.top_dir.join(name)).unwrap().ino();
    assert_eq!(inode("again"), inode("conf/a.env"));
    let only = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(only, 1, "no staging directory is left");
}

#[test]
fn extracting_again_replaces_the_whole_tree() {
    let place = tempfile::tempdir().unwrap();
    let dest = place.path().join("out");
    let limits = ArchiveLimits::default();
    check_and_extract(Cursor::new(with(&[file("app/old")])), &dest, &limits).unwrap();
    std::fs::write(dest.join("app/compose.yaml"), "damaged").unwrap();
    let done = check_and_extract(Cursor::new(with(&[file("app/new")])), &dest, &limits).unwrap();
    assert_eq!(std::fs::read(done.top_dir.join("compose.yaml")).unwrap(), b"x");
    assert!(done.top_dir.join("new").exists());
    assert!(!done.top_dir.join("old").exists());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn leftovers_of_a_power_cut_are_removed_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join(".extract-abc/tree/app")).unwrap();
    std::fs::create_dir_all(place.path().join("kept")).unwrap();
    remove_leftovers(place.path()).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
    assert!(remove_leftovers(&place.path().join("none")).is_err());
}

#[test]
fn errors_name_the_entry_and_have_a_class() {
    let error = check(&*with(&[file("app/../evil")]), &ArchiveLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "archive entry `app/../evil`: path contains `..`");
    assert_eq!(error.to_failure().class, FailureClass::Refused);
    let full = ArchiveError::write("/data/x", std::io::Error::from_raw_os_error(28));
    assert_eq!(full.to_failure().code, Code::NoSpace);
}

fn any_name() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        4 => Just("app".to_owned()),
        4 => Just("compose.yaml".to_owned()),
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        2 => "[ab]",
    ];
    proptest::collection::vec(component, 1..5).prop_map(|parts| parts.join("/"))
}

fn any_entry() -> impl Strategy<Value = Raw> {
    let kind = prop_oneof![
        Just(EntryType::Regular),
        Just(EntryType::Directory),
        Just(EntryType::Symlink),
        Just(EntryType::Link),
        Just(EntryType::Fifo),
    ];
    (kind, any_name(), any_name(), any::<bool>()).prop_map(|(kind, name, link, content)| {
        let data = if content && kind == EntryType::Regular { &b"x"[..] } else { b"" };
        raw(kind, &name, &link, data)
    })
}

/// Everything reachable from `dest` without leaving it, and where each link really leads.
fn assert_contained(dest: &Path) {
    let real = dest.canonicalize().unwrap();
    let mut ahead = vec![dest.to_path_buf()];
    while let Some(at) = ahead.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                ahead.push(path);
            } else if kind.is_symlink() {
                if let Ok(target) = path.canonicalize() {
                    assert!(target.starts_with(&real), "{path:?} leads to {target:?}");
                }
            } else {
                assert!(kind.is_file());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_ever_lands_or_leads_outside(extra in proptest::collection::vec(any_entry(), 0..8)) {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("canary"), "sings").unwrap();
        let dest = place.path().join("out");
        let limits = ArchiveLimits::default();
        if check_and_extract(Cursor::new(with(&extra)), &dest, &limits).is_ok() {
            assert_contained(&dest);
        } else {
            prop_assert!(!dest.exists());
        }
        prop_assert_eq!(std::fs::read(place.path().join("canary")).unwrap(), b"sings");
        prop_assert!(std::fs::read_dir(place.path()).unwrap().count() <= 2);
    }

    #[test]
    fn arbitrary_bytes_never_panic(plain in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = check(&*plain, &ArchiveLimits::default());
        let _ = check(&*gzip(&plain), &ArchiveLimits::default());
    }
}
