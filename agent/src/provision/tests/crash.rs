//! The story: somebody pulls the plug between any two disk operations of a provisioning, or in one, and again while the
//! next start puts things right. At every moment the identity is the complete old one or the complete new one; after the next
//! start everything is of one kind, and nothing is left over.

use super::crash_disk::{CrashDisk, Cut, Mistake};
use super::*;
use crate::provision::install::{Wanted, install, recover};

/// What a device holds, or is to hold.
fn wanted(word: &str) -> Wanted {
    let file = |name: &str| (name.to_owned(), format!("{name} of {word}").into_bytes());
    Wanted {
        identity: ["svid.pem", "svid.key", "bundle.json"].map(file).into(),
        registry: [file("password")].into(),
        settings: Some(format!("# {word}\n").into_bytes()),
    }
}

/// The word of what is there: `None` = nothing, an error = a mixture or a part.
fn word(found: &BTreeMap<PathBuf, Vec<u8>>, places: &Places) -> Result<Option<String>, String> {
    let within = |dir: &Path| -> BTreeMap<String, Vec<u8>> {
        let inside = found.iter().filter_map(|(path, bytes)| {
            Some((path.strip_prefix(dir).ok()?.display().to_string(), bytes.clone()))
        });
        inside.collect()
    };
    let there = within(&places.identity_dir);
    if there.is_empty() {
        return Ok(None);
    }
    let matching = ["old", "new"].into_iter().find(|word| wanted(word).identity == there);
    matching.map(|word| Some(word.to_owned())).ok_or_else(|| format!("identity is {there:?}"))
}

/// After the next start: all of one kind, nothing else.
fn settled(device: &Device, places: &Places) -> Result<Option<String>, String> {
    let found = device.content();
    let word = word(&found, places)?;
    let mut expected = BTreeMap::new();
    if let Some(word) = &word {
        let wanted = wanted(word);
        for (dir, files) in
            [(&places.identity_dir, wanted.identity), (&places.registry_dir, wanted.registry)]
        {
            expected.extend(files.into_iter().map(|(name, bytes)| (dir.join(name), bytes)));
        }
        expected.extend(wanted.settings.map(|text| (places.settings_file.clone(), text)));
    }
    if found == expected { Ok(word) } else { Err(format!("after the start: {:?}", found.keys())) }
}

#[derive(Debug, Default)]
struct Looked {
    old: usize,
    new: usize,
    second_cuts: usize,
}

fn device(is_provisioned: bool) -> (Device, Places) {
    let device = Device::new();
    let places = device.places();
    if is_provisioned {
        let disk = CrashDisk::new(device.0.path(), None, Mistake::None);
        install(&disk, &wanted("old"), &places).unwrap();
    }
    (device, places)
}

/// Cuts once, and again in the repair after `again` operations. `None` when the first cut never came.
fn run(
    is_provisioned: bool,
    cut: Cut,
    again: Option<Cut>,
    mistake: Mistake,
) -> Result<(Option<String>, bool), String> {
    let (device, places) = device(is_provisioned);
    let before = is_provisioned.then(|| "old".to_owned());
    let root = device.0.path();
    let disk = CrashDisk::new(root, Some(cut), mistake);
    let is_done = install(&disk, &wanted("new"), &places).is_ok();
    disk.crash(cut.loses);
    let mut seen = word(&device.content(), &places)?;
    let mut was_cut_again = false;
    if let Some(again) = again {
        let disk = CrashDisk::new(root, Some(again), mistake);
        was_cut_again = recover(&disk, &places).is_err();
        disk.crash(again.loses);
        seen = word(&device.content(), &places)?;
    }
    recover(&CrashDisk::new(root, None, Mistake::None), &places).map_err(|e| e.to_string())?;
    let after = settled(&device, &places)?;
    if seen.as_deref() == Some("new") && after != seen {
        return Err(format!("the new identity was seen, then {after:?}"));
    }
    if after != before && after.as_deref() != Some("new") {
        return Err(format!("{before:?} became {after:?}"));
    }
    if is_done && after.as_deref() != Some("new") {
        return Err("it said it was done, and the old one is there".to_owned());
    }
    let has_ended = if again.is_some() { !was_cut_again } else { is_done };
    Ok((after, has_ended))
}

fn check(mistake: Mistake) -> Result<Looked, String> {
    let mut looked = Looked::default();
    for is_provisioned in [false, true] {
        for (is_torn, loses) in [(false, false), (true, false), (false, true), (true, true)] {
            for after in 0.. {
                let cut = Cut { after, is_torn, loses };
                let fault = |error| format!("{is_provisioned} {cut:?}: {error}");
                let (found, has_ended) = run(is_provisioned, cut, None, mistake).map_err(fault)?;
                if found.as_deref() == Some("new") {
                    looked.new += 1;
                } else {
                    looked.old += 1;
                }
                for second in 0.. {
                    let again = Cut { after: second, ..cut };
                    let fault = |error| format!("{is_provisioned} {cut:?} {again:?}: {error}");
                    looked.second_cuts += 1;
                    if run(is_provisioned, cut, Some(again), mistake).map_err(fault)?.1 {
                        break;
                    }
                }
                if has_ended {
                    break;
                }
            }
        }
    }
    Ok(looked)
}

#[test]
fn a_cut_at_any_moment_leaves_the_old_or_the_new() {
    let looked = check(Mistake::None).unwrap();
    println!("{looked:?}");
    assert!(looked.old > 50 && looked.new > 50 && looked.second_cuts > 1000, "{looked:?}");
}

#[test]
fn what_a_careless_writer_leaves_out_is_found() {
    for mistake in [Mistake::NoFileSync, Mistake::NoDirectorySync, Mistake::SwapInTwoSteps] {
        let found = check(mistake).expect_err("the mistake must be found");
        println!("{mistake:?}: {found}");
    }
}
