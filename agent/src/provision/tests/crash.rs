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

/// One device for all runs, put back to how it was before each.
struct Bench {
    device: Device,
    places: Places,
}

impl Bench {
    fn new() -> Self {
        let device = Device::new();
        Self { places: device.places(), device }
    }

    fn reset(&self, is_provisioned: bool) {
        let root = self.device.0.path();
        for directory in [self.device.etc(), root.join("graves")] {
            fs::remove_dir_all(&directory).or_else(|_| fs::create_dir(&directory)).unwrap();
        }
        fs::create_dir_all(self.device.etc()).unwrap();
        if is_provisioned {
            let disk = CrashDisk::new(root, None, Mistake::None);
            install(&disk, &wanted("old"), &self.places).unwrap();
        }
    }
}

/// Cuts once, and again in the repair after `again` operations. `None` when the first cut never came.
fn run(
    Bench { device, places }: &Bench,
    is_provisioned: bool,
    cut: Cut,
    again: Option<Cut>,
    mistake: Mistake,
) -> Result<(Option<String>, bool), String> {
    let before = is_provisioned.then(|| "old".to_owned());
    let root = device.0.path();
    let disk = CrashDisk::new(root, Some(cut), mistake);
    let is_done = install(&disk, &wanted("new"), places).is_ok();
    disk.crash(cut.loses);
    let mut seen = word(&device.content(), places)?;
    let mut was_cut_again = false;
    if let Some(again) = again {
        let disk = CrashDisk::new(root, Some(again), mistake);
        was_cut_again = recover(&disk, places).is_err();
        disk.crash(again.loses);
        seen = word(&device.content(), places)?;
    }
    recover(&CrashDisk::new(root, None, Mistake::None), places).map_err(|e| e.to_string())?;
    let after = settled(device, places)?;
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

/// Every cut of a provisioning, each followed by every cut of the repair where `twice`.
fn check(mistake: Mistake) -> Result<Looked, String> {
    let (mut looked, bench) = (Looked::default(), Bench::new());
    let kinds =
        [(false, false, true), (true, false, false), (false, true, false), (true, true, true)];
    for (is_provisioned, (is_torn, loses, twice)) in
        [false, true].into_iter().flat_map(|is| kinds.map(|kind| (is, kind)))
    {
        for after in 0.. {
            let cut = Cut { after, is_torn, loses };
            let once = |again| {
                bench.reset(is_provisioned);
                run(&bench, is_provisioned, cut, again, mistake)
                    .map_err(|error| format!("{is_provisioned} {cut:?} {again:?}: {error}"))
            };
            let (found, has_ended) = once(None)?;
            let counter =
                if found.as_deref() == Some("new") { &mut looked.new } else { &mut looked.old };
            *counter += 1;
            for second in 0.. {
                if !twice || once(Some(Cut { after: second, ..cut }))?.1 {
                    break;
                }
                looked.second_cuts += 1;
            }
            if has_ended {
                break;
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
