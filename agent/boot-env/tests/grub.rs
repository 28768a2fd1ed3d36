//! GRUB's own code as the judge: the real grub.cfg in real GRUB chooses what [`margo_boot_env::choice`] says, and leaves
//! the copies as it says; and GRUB's parser reads blocks as ours does.
//!
//! Needs the image tools; see `grub/rig.rs`.

#[cfg(test)]
#[path = "grub/rig.rs"]
mod rig;

#[cfg(test)]
mod tests {
    use crate::rig::{Rig, TestDisk};
    use margo_boot_env::block::{Block, HEADER};
    use margo_boot_env::choice::{Source, World, would_boot};
    use margo_boot_env::env::{Env, Slot, State};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    use std::ffi::OsStr;

    const STATES: [State; 6] = [
        State::Good,
        State::Bad,
        State::Trial { tries: 0 },
        State::Trial { tries: 1 },
        State::Trial { tries: 2 },
        State::Trial { tries: 3 },
    ];
    const ID: &str = "0123456789abcdef0123456789abcdef";

    /// Every environment there is.
    fn all_envs() -> Vec<Env> {
        let mut envs = Vec::new();
        for first in Slot::ALL {
            for a in STATES {
                for b in STATES {
                    envs.push(Env { first, a, b, machine_id: Some(ID.to_owned()), ..Env::fresh() });
                }
            }
        }
        envs
    }

    fn bytes(env: &Env) -> Vec<u8> {
        env.to_bytes().unwrap().to_vec()
    }

    /// One start with these copies on that disk: what GRUB chooses and leaves is what the library says.
    fn check(rig: &Rig, disk: &TestDisk, copies: [Option<&[u8]>; 2], kernels: &str, world: World) {
        for (index, copy) in copies.iter().enumerate() {
            if let Some(bytes) = copy {
                disk.put(index, bytes);
            }
        }
        let before = [disk.get(0), disk.get(1)];
        let expected = would_boot(copies[0], copies[1], world);
        let (started, text) = rig.start(disk, kernels);
        let told =
            format!("{copies:02x?}\nwith kernels {kernels}: {expected:?}\nGRUB said: {text}");
        let wanted = expected.started.map(|(slot, reason)| (slot, reason, expected.source));
        assert_eq!(started, wanted, "{told}");
        let used = match expected.source {
            Source::First => Some(0),
            Source::Second => Some(1),
            Source::Defaults => None,
        };
        for (index, was) in before.into_iter().enumerate() {
            let is = disk.get(index);
            if used == Some(index) {
                assert_eq!(Env::parse(&is.unwrap()).as_ref(), Ok(&expected.after), "{told}");
            } else {
                assert!(is == was, "GRUB wrote the copy it did not read: {told}");
            }
        }
    }

    #[test]
    fn every_environment_with_every_kernel_there_or_not() {
        let Some(rig) = Rig::new() else { return };
        let disk = rig.disk("both");
        let envs = all_envs();
        for (kernels, kernel_a, kernel_b) in
            [("ab", true, true), ("a", true, false), ("b", false, true)]
        {
            let world = World { kernel_a, kernel_b, writable: true };
            for env in &envs {
                // The second copy says otherwise, and must not matter.
                let other = bytes(&Env { first: env.first.other(), ..Env::fresh() });
                check(&rig, &disk, [Some(&bytes(env)), Some(&other)], kernels, world);
            }
        }
        // A slot whose file system is gone is a slot without a kernel.
        let world = World { kernel_b: false, ..World::SOUND };
        let disk = rig.disk("no-slot-b");
        for env in &envs {
            check(&rig, &disk, [Some(&bytes(env)), Some(&bytes(env))], "ab", world);
        }
    }

    #[test]
    fn a_damaged_first_copy_leaves_the_second() {
        let Some(rig) = Rig::new() else { return };
        let disk = rig.disk("both");
        for damage in damages() {
            for env in [&all_envs()[0], &all_envs()[29], &all_envs()[47]] {
                let good = bytes(env);
                check(&rig, &disk, [Some(&damage), Some(&good)], "ab", World::SOUND);
                check(&rig, &disk, [Some(&good), Some(&damage)], "ab", World::SOUND);
            }
            check(&rig, &disk, [Some(&damage), Some(&damage)], "ab", World::SOUND);
        }
        let trial = all_envs().pop().unwrap();
        let good = bytes(&trial);
        let disk = rig.disk("no-first");
        for env in all_envs() {
            check(&rig, &disk, [None, Some(&bytes(&env))], "ab", World::SOUND);
        }
        check(&rig, &rig.disk("no-second"), [Some(&good), None], "ab", World::SOUND);
        let disk = rig.disk("none");
        check(&rig, &disk, [None, None], "ab", World::SOUND);
        let without_a = World { kernel_a: false, ..World::SOUND };
        check(&rig, &disk, [None, None], "b", without_a);
        check(&rig, &rig.disk("empty-first"), [Some(b""), Some(&good)], "ab", World::SOUND);
        check(
            &rig,
            &rig.disk("short-first"),
            [Some(&good[..100]), Some(&good)],
            "ab",
            World::SOUND,
        );
        let mut long = good.clone();
        long.resize(2048, b'#');
        check(&rig, &rig.disk("long-first"), [Some(&long), Some(&good)], "ab", World::SOUND);
    }

    /// Blocks that GRUB must not take.
    fn damages() -> Vec<Vec<u8>> {
        let good = bytes(&Env { machine_id: Some(ID.to_owned()), ..Env::fresh() });
        let text = String::from_utf8(good.clone()).unwrap();
        let swap = |from: &str, to: &str| {
            let mut changed = text.replacen(from, to, 1).into_bytes();
            assert_ne!(changed, good, "{from} is in the block");
            changed.resize(1024, b'#');
            changed
        };
        let mut damages = vec![vec![0; 1024], vec![0xff; 1024], b"#".repeat(1024)];
        // A first sector that never reached the medium, or only its beginning.
        damages.push([vec![0; 512], good[512..].to_vec()].concat());
        damages.push([good[..90].to_vec(), vec![0; 934]].concat());
        damages.push([HEADER.to_vec(), vec![b'#'; 1024 - HEADER.len()]].concat());
        damages.push(swap("margo_env=1", "margo_env=2"));
        damages.push(swap("margo_env=1\n", ""));
        damages.push(swap("ORDER=A B", "ORDER=A A"));
        damages.push(swap("ORDER=A B", "ORDER=A"));
        damages.push(swap("A_STATE=good", "A_STATE=goof"));
        damages.push(swap("A_STATE=good", "A_STATE="));
        damages.push(swap("B_STATE=bad\n", ""));
        damages.push(swap("B_TRIES=0", "B_TRIES=4"));
        damages.push(swap("B_TRIES=0", "B_TRIES=00"));
        damages.push(swap("A_TRIES=0", "A_TRIES=-"));
        // Text that GRUB's script could trip over.
        damages.push(swap("A_STATE=good", "A_STATE=\" = x"));
        damages.push(swap("A_STATE=good", "A_STATE=$(ls)"));
        damages
    }

    #[test]
    fn a_try_that_cannot_be_counted_is_not_made() {
        let Some(rig) = Rig::new() else { return };
        let disk = rig.disk("both");
        let world = World { writable: false, ..World::SOUND };
        for env in all_envs() {
            // GRUB reads such a block and refuses to change it: its end is taken.
            let mut full = bytes(&env);
            full[1023] = b'x';
            check(&rig, &disk, [Some(&full), Some(&full)], "ab", world);
        }
    }

    #[test]
    fn without_any_kernel_the_machine_starts_over() {
        let Some(rig) = Rig::new() else { return };
        let world = World { kernel_a: false, kernel_b: false, writable: true };
        let env = Env { first: Slot::B, b: State::FRESH_TRIAL, ..Env::fresh() };
        check(&rig, &rig.disk("both"), [Some(&bytes(&env)), None], "none", world);
    }

    #[test]
    fn three_tries_and_then_the_committed_slot() {
        let Some(rig) = Rig::new() else { return };
        let disk = rig.disk("both");
        let env = Env { first: Slot::B, b: State::FRESH_TRIAL, ..Env::fresh() };
        disk.put(0, &bytes(&env));
        disk.put(1, &bytes(&env));
        let slots: Vec<Slot> =
            (0..5).map(|_| rig.start(&disk, "ab").0.expect("a slot").0).collect();
        assert_eq!(slots, [Slot::B, Slot::B, Slot::B, Slot::A, Slot::A]);
        let left = Env::parse(&disk.get(0).unwrap()).unwrap();
        assert_eq!(left.b, State::Trial { tries: 0 });
    }

    /// Blocks with lines of all kinds, whole and broken.
    fn any_block() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"ORDER=A B\n".to_vec()),
            Just(b"margo_env=1\n".to_vec()),
            Just(b"# text\n".to_vec()),
            Just(b"name".to_vec()),
            Just(b"=".to_vec()),
            Just(b"\\".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"#".to_vec()),
            proptest::collection::vec(0x20_u8..0x7f, 0..12),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| {
            let mut block = HEADER.to_vec();
            block.extend(pieces.concat());
            block.resize(1024, b'#');
            block
        })
    }

    #[test]
    fn grubs_parser_reads_what_ours_reads() {
        const BLOCKS: usize = 400;
        let Some(rig) = Rig::new() else { return };
        let mut runner = TestRunner::deterministic();
        let strategy = any_block();
        let blocks: Vec<Vec<u8>> =
            (0..BLOCKS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
        for (index, block) in blocks.iter().enumerate() {
            std::fs::write(rig.path().join(format!("block{index}")), block).unwrap();
        }
        // grub-editenv is built from the same source as load_env.
        let list = format!(
            "for i in $(seq 0 {}); do grub-editenv block$i list; printf '\\001'; done",
            BLOCKS - 1
        );
        let output = rig.run(rig.path(), &["sh", "-c", &list].map(OsStr::new));
        let answers: Vec<&[u8]> = output.stdout.split(|byte| *byte == 1).collect();
        assert_eq!(answers.len(), BLOCKS + 1, "{}", String::from_utf8_lossy(&output.stderr));
        let mut with_variables = 0;
        for (block, answer) in blocks.iter().zip(answers) {
            let mut ours = Vec::new();
            for (name, value) in Block::parse(block).unwrap().iter() {
                ours.extend([name, b"=", value, b"\n"].concat());
            }
            with_variables += usize::from(!ours.is_empty());
            let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(shown(&ours), shown(answer), "{}", shown(block));
        }
        assert!(with_variables > BLOCKS / 4, "most blocks say nothing: {with_variables}");
    }
}
