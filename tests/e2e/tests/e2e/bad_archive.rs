//! Compose archives that must be refused: nothing of them reaches the disk or the engine, the message names the entry
//! and the rule, other deployments are not affected, and a corrected archive is installed.

use margo_e2e::{App, World, require_engine};
use margo_lab::archive::{Entries, Entry, gzip, tar};
use margo_lab::{ComponentSpec, DeploymentSpec, State};

const COMPOSE: &str = "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/busybox:1\n";

/// A good archive's entries.
fn good() -> Entries {
    Entries::from([
        ("app".into(), Entry::Dir { mode: 0o755 }),
        ("app/compose.yaml".into(), Entry::text(COMPOSE)),
    ])
}

fn with(path: &str, entry: Entry) -> Vec<u8> {
    let mut entries = good();
    entries.insert(path.into(), entry);
    tar(&entries).expect("pack")
}

/// Rewrites the header of the entry called `name`: path, mode and type as no library would write them.
fn forged(mut archive: Vec<u8>, name: &str, forge: impl Fn(&mut [u8])) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut at = 0;
    while at + BLOCK <= archive.len() {
        let block = &mut archive[at..at + BLOCK];
        let text = |from: usize, to: usize| {
            String::from_utf8_lossy(&block[from..to]).trim_matches('\0').to_owned()
        };
        if text(0, 100).trim_end_matches('/') == name {
            forge(block);
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            return archive;
        }
        let size = usize::from_str_radix(text(124, 136).trim(), 8).unwrap_or(0);
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    archive
}

/// Renames an entry to a path that no library would write.
fn renamed(path: &str) -> Vec<u8> {
    forged(with("app/file", Entry::text("x")), "app/file", |header| {
        header[..100].fill(0);
        header[..path.len()].copy_from_slice(path.as_bytes());
    })
}

fn of_type(kind: u8) -> Vec<u8> {
    forged(with("app/file", Entry::text("")), "app/file", |header| header[156] = kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_are_refused_by_name() {
    if !require_engine() {
        return;
    }
    let link = |target: &str| with("app/link", Entry::Symlink { target: target.into() });
    let mut other_name = good();
    other_name.remove(std::path::Path::new("app/compose.yaml"));
    other_name.insert("app/compose.yml".into(), Entry::text(COMPOSE));
    let big = with("app/big", Entry::text(vec![0_u8; 2 << 20]));
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("traversal", renamed("app/../../escape"), "ARCHIVE_INVALID", "`..`"),
        ("absolute", renamed("/etc/escape"), "ARCHIVE_INVALID", "absolute path"),
        ("link-out", link("../../etc/passwd"), "ARCHIVE_INVALID", "leaves the top directory"),
        ("link-absolute", link("/etc/passwd"), "ARCHIVE_INVALID", "`app/link`"),
        ("character-device", of_type(b'3'), "ARCHIVE_INVALID", "neither a file"),
        ("block-device", of_type(b'4'), "ARCHIVE_INVALID", "neither a file"),
        ("pipe", of_type(b'6'), "ARCHIVE_INVALID", "neither a file"),
        ("two-tops", with("other/file", Entry::text("x")), "ARCHIVE_INVALID", "exactly one top"),
        ("other-name", tar(&other_name).unwrap(), "ARCHIVE_INVALID", "`compose.yaml`"),
        ("unpacked-too-large", big, "ARCHIVE_INVALID", "larger than permitted"),
    ];
    let limits =
        "[limits]\narchive_unpacked_size_bytes_max = 1048576\narchive_size_bytes_max = 200000\n";
    let mut world = World::with_extra(limits).await;
    world.agent.start();
    let good_id = world.deploy(&App::sleeping("good", "1.0.0", "one", 1));
    world.reported(&good_id, State::Installed).await;
    let before = world.running(&good_id, &["good/s1"]).await;

    let mut archives: Vec<(String, Vec<u8>, &str, &str)> = cases
        .into_iter()
        .map(|(name, tar, code, text)| (name.to_owned(), gzip(&tar).unwrap(), code, text))
        .collect();
    archives.push(("no-gzip".to_owned(), tar(&good()).unwrap(), "ARCHIVE_INVALID", "archive"));
    let mut cut = gzip(&tar(&good()).unwrap()).unwrap();
    cut.truncate(cut.len() / 2);
    archives.push(("half".to_owned(), cut, "ARCHIVE_INVALID", "archive"));
    let noise: Vec<u8> =
        (0..20_000).flat_map(|_| margo_lab::ids::random_uuid().into_bytes()).collect();
    let large = gzip(&with("app/noise", Entry::text(noise))).unwrap();
    archives.push(("pulled-too-large".to_owned(), large, "ARTIFACT_TOO_LARGE", "at most 200000"));

    let mut deployed = Vec::new();
    for (name, archive, code, text) in &archives {
        let repository = format!("apps/{name}");
        world.lab.registry().push_artifact(&repository, "1.0.0", archive).expect("push");
        let repository = format!("oci://{}/{repository}", world.lab.registry().host());
        let component = ComponentSpec::new(&**name, repository, "1.0.0");
        let id = world.deploy_spec(DeploymentSpec::compose(&**name, vec![component]));
        deployed.push((id, name, code, text));
    }
    for (id, name, code, text) in &deployed {
        let error = world.failed(id, code).await.error.expect("an error");
        println!("{name}: {}: {}", error.code, error.message);
        assert!(error.message.contains(**text), "{name}: {error:?}");
        world.running(id, &[]).await;
    }
    // Refused is refused: after a restart nothing is tried or told anew.
    let told = world.lab.reports().len();
    world.agent.kill().await;
    world.agent.start();
    world.synced().await;
    assert_eq!(world.running(&good_id, &["good/s1"]).await, before);
    world.status("an empty outbox", |status| status.outbox_len == 0).await;
    assert_eq!(world.lab.reports().len(), told);
    let escaped =
        world.root().join("escape").exists() || std::path::Path::new("/etc/escape").exists();
    assert!(!escaped && !world.agent.state_dir().join("escape").exists());

    let (id, name, ..) = &deployed[0];
    world.update(id, &App::sleeping(name, "1.1.0", "fixed", 1));
    world.reported(id, State::Installed).await;
    world.end().await;
}
