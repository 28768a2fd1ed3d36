//! Every power cut within every change of the boot environment: what counts afterwards is the old or the new content,
//! for the library and for GRUB's rules, and the repair at the next boot brings both copies in step without changing it.

#[cfg(test)]
#[path = "power_cut/model_disk.rs"]
mod model_disk;

#[cfg(test)]
mod tests {
    use crate::model_disk::{File, ModelDisk};
    use margo_boot_env::choice::{Source, World, would_boot};
    use margo_boot_env::cmdline::Cmdline;
    use margo_boot_env::copies::{self, Written};
    use margo_boot_env::disk::{Copy, Disk as _};
    use margo_boot_env::env::{Env, Slot, State};
    use margo_boot_env::error::CopiesError;
    use margo_boot_env::heal;

    fn bytes(env: &Env) -> Vec<u8> {
        env.to_bytes().unwrap().to_vec()
    }

    /// The environments of an update, in order: installing, ordered, first try, committed; and a rejected one.
    fn life() -> Vec<Env> {
        let committed = Env { b: State::Good, ..Env::fresh() };
        let mut installing = committed.clone();
        installing.spoil(Slot::B);
        let mut ordered = installing.clone();
        ordered.make_first(Slot::B, Some(Slot::A));
        let tried = Env { b: State::Trial { tries: 2 }, ..ordered.clone() };
        let mut done = tried.clone();
        done.commit(Slot::B);
        let mut rejected = tried.clone();
        rejected.spoil(Slot::B);
        let named = Env { machine_id: Some("0123456789abcdef".repeat(2)), ..rejected.clone() };
        vec![committed, installing, ordered, tried, done, rejected, named]
    }

    /// What a copy can be before a change, given what it should hold.
    fn conditions(env: &Env) -> Vec<File> {
        let good = bytes(env);
        let mut long = good.clone();
        long.resize(2048, b'#');
        let torn = [vec![0xa5; 512], good[512..].to_vec()].concat();
        let contents: [Option<&[u8]>; 6] =
            [Some(&good), Some(&long), Some(&torn), Some(&good[..60]), Some(b""), None];
        contents.map(File::new).to_vec()
    }

    /// Pairs of files of which at least one can be read, with what counts then.
    fn starts() -> Vec<([File; 2], Env)> {
        let old = &life()[3];
        // GRUB counted in the first copy only.
        let stale = &life()[2];
        let mut starts = Vec::new();
        for first in conditions(old) {
            for second in conditions(stale).into_iter().chain(conditions(old)) {
                let files = [first.clone(), second];
                let disk = ModelDisk::new(files.clone());
                if let Ok((env, _)) = copies::read(&disk).unwrap().current() {
                    starts.push((files, env.clone()));
                }
            }
        }
        assert!(starts.len() > 30, "{}", starts.len());
        starts
    }

    /// What GRUB would take.
    fn grub_takes(files: &[File; 2]) -> Option<Env> {
        let disk = ModelDisk::new(files.clone());
        let [first, second] = Copy::ALL.map(|copy| disk.read(copy).unwrap());
        // Not writable, so that no try is counted and the environment is as GRUB read it.
        let world = World { writable: false, ..World::SOUND };
        let choice = would_boot(first.as_deref(), second.as_deref(), world);
        (choice.source != Source::Defaults).then_some(choice.after)
    }

    #[test]
    fn a_cut_leaves_the_old_or_the_new_content_and_so_does_a_cut_in_the_repair() {
        let mut seen = 0_usize;
        for (files, old) in starts() {
            for new in life() {
                let mut disk = ModelDisk::new(files.clone());
                let found = copies::read(&disk).unwrap();
                assert!(!matches!(
                    copies::write(&mut disk, &found, &new).unwrap(),
                    Written::FirstOnly(_)
                ));
                assert!(copies::read(&disk).unwrap().is_in_step(), "{files:02x?}");
                for cut in disk.after_a_cut() {
                    seen += 1;
                    let after = grub_takes(&cut).unwrap_or_else(|| panic!("lost: {cut:02x?}"));
                    assert!(
                        after == old || after == new,
                        "{after:?} is neither {old:?} nor {new:?}"
                    );
                    repaired(&cut, &after, [&old, &new], &mut seen);
                }
            }
        }
        eprintln!("{seen} disks after a power cut were read");
        assert!(seen > 10_000, "the model has become too small: {seen}");
    }

    /// The next boot's repair, cut short in its turn and then left to finish. A second cut can bring the new content
    /// back where the first cut left the old: when its sector was there already and only the file's size was not.
    fn repaired(files: &[File; 2], env: &Env, both: [&Env; 2], seen: &mut usize) {
        let mut disk = ModelDisk::new(files.clone());
        let found = copies::read(&disk).unwrap();
        let plan = heal::plan(&found, Cmdline::default(), None);
        assert_eq!(&plan.env, env);
        let _ = copies::write(&mut disk, &found, &plan.env).unwrap();
        let found = copies::read(&disk).unwrap();
        assert!(found.is_in_step());
        assert_eq!(found.current().unwrap().0, env);
        for cut in disk.after_a_cut() {
            *seen += 1;
            let after = grub_takes(&cut).unwrap_or_else(|| panic!("lost: {cut:02x?}"));
            assert!(both.contains(&&after), "{after:?} is none of {both:?}");
        }
    }

    #[test]
    fn nothing_is_written_when_nothing_changes() {
        let env = &life()[4];
        let whole = File::new(Some(&bytes(env)));
        let mut disk = ModelDisk::new([whole.clone(), whole]);
        let found = copies::read(&disk).unwrap();
        assert!(matches!(copies::write(&mut disk, &found, env), Ok(Written::Nothing)));
        assert_eq!(disk.steps(), 0);
    }

    #[test]
    fn both_copies_gone_is_an_error_that_writes_nothing_and_the_repair_makes_new_ones() {
        let broken = File::new(Some(&[0; 1024]));
        let mut disk = ModelDisk::new([broken, File::new(None)]);
        let found = copies::read(&disk).unwrap();
        assert!(matches!(found.current(), Err(CopiesError::BothDamaged { .. })));
        let plan = heal::plan(&found, Cmdline::default(), None);
        assert!(matches!(copies::write(&mut disk, &found, &plan.env), Ok(Written::Both)));
        assert_eq!(copies::read(&disk).unwrap().current().unwrap().0, &plan.env);
    }

    #[test]
    fn a_copy_that_cannot_be_written_stops_a_change_only_if_it_is_the_one_that_counts() {
        let [old, new] = [&life()[2], &life()[4]];
        for (broken, expected) in [(Copy::First, old), (Copy::Second, new)] {
            for second in conditions(old) {
                let mut disk = ModelDisk::new([File::new(Some(&bytes(old))), second]);
                disk.fails_on = Some(broken);
                let found = copies::read(&disk).unwrap();
                let result = copies::write(&mut disk, &found, new);
                match broken {
                    Copy::First => assert!(matches!(result, Err(CopiesError::File { .. }))),
                    Copy::Second => assert!(matches!(result, Ok(Written::FirstOnly(_)))),
                }
                assert_eq!(copies::read(&disk).unwrap().current().unwrap().0, expected);
            }
        }
    }
}
