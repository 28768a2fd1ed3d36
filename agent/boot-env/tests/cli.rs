//! The program as RAUC, the units and people call it.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::process::{Command, Output};
    use tempfile::TempDir;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    struct Device {
        dir: TempDir,
    }

    impl Device {
        /// A device as the image builder leaves it.
        fn new() -> Self {
            let device = Self { dir: tempfile::tempdir().unwrap() };
            device.boots("A", "committed");
            device.put("machine-id", &format!("{ID}\n"));
            let file = device.dir.path().join("grubenv");
            assert!(device.run(&["init", file.to_str().unwrap()]).status.success());
            fs::copy(&file, device.dir.path().join("grubenv.bak")).unwrap();
            device
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).unwrap();
        }

        fn boots(&self, slot: &str, why: &str) {
            self.put(
                "cmdline",
                &format!("ro quiet rauc.slot={slot} margo.boot={why} margo.env=first\n"),
            );
        }

        fn run(&self, words: &[&str]) -> Output {
            let mut command = Command::new(env!("CARGO_BIN_EXE_margo-boot-env"));
            for (option, name) in [
                ("--env-dir", ""),
                ("--cmdline", "cmdline"),
                ("--machine-id", "machine-id"),
                ("--lock", "lock"),
            ] {
                command.arg(option).arg(self.dir.path().join(name));
            }
            command.args(words).output().unwrap()
        }

        /// The answer of a command that must succeed.
        fn ask(&self, words: &[&str]) -> String {
            let output = self.run(words);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words:?}: {told}");
            String::from_utf8(output.stdout).unwrap()
        }

        fn copies(&self) -> [Vec<u8>; 2] {
            ["grubenv", "grubenv.bak"].map(|name| fs::read(self.dir.path().join(name)).unwrap())
        }
    }

    #[test]
    fn an_update_in_raucs_words() {
        let device = Device::new();
        assert_eq!(device.ask(&["get-primary"]), "A\n");
        assert_eq!(device.ask(&["get-current"]), "A\n");
        assert_eq!(device.ask(&["get-state", "A"]), "good\n");
        device.ask(&["set-state", "B", "bad"]);
        device.ask(&["set-primary", "B"]);
        assert_eq!(device.ask(&["get-primary"]), "B\n");
        assert_eq!(device.ask(&["get-state", "B"]), "bad\n", "it is not committed");
        device.boots("B", "trial");
        device.ask(&["set-state", "B", "good"]);
        assert_eq!(device.ask(&["get-state", "B"]), "good\n");
        let [first, second] = device.copies();
        assert_eq!(first, second);
    }

    #[test]
    fn a_change_keeps_the_file_and_its_length() {
        let device = Device::new();
        let inode = || fs::metadata(device.dir.path().join("grubenv")).unwrap().ino();
        let before = inode();
        device.ask(&["set-primary", "B"]);
        assert_eq!(inode(), before, "GRUB's blocks are the same");
        assert!(device.copies().iter().all(|copy| copy.len() == 1024));
    }

    #[test]
    fn a_trial_is_rejected_once_and_a_committed_slot_never() {
        let device = Device::new();
        let refused = device.run(&["reject"]);
        assert_eq!(refused.status.code(), Some(3));
        device.ask(&["set-primary", "B"]);
        device.boots("B", "trial");
        device.ask(&["reject"]);
        assert_eq!(device.ask(&["get-primary"]), "A\n");
        assert_eq!(device.run(&["reject"]).status.code(), Some(3));
    }

    #[test]
    fn the_guard_leaves_a_committed_slot_and_an_unknown_one_running() {
        // Never without --dry-run: a mistake would reboot the machine that runs the test.
        let device = Device::new();
        let guard = || device.ask(&["guard", "--dry-run"]);
        assert_eq!(guard(), "");
        device.ask(&["set-primary", "B"]);
        assert_eq!(guard(), "", "slot A runs, and is committed");
        device.boots("B", "trial");
        let before = device.copies();
        assert_eq!(guard(), "would reject slot B and reboot\n");
        assert_eq!(before, device.copies(), "asking changes nothing");
        device.put("cmdline", "quiet");
        assert_eq!(guard(), "");
        device.boots("B", "trial");
        device.put("grubenv", "x");
        device.put("grubenv.bak", "x");
        assert_eq!(guard(), "");
    }

    #[test]
    fn the_repair_stores_the_machine_id_once_and_mends_either_copy() {
        let device = Device::new();
        device.ask(&["heal"]);
        let [whole, _] = device.copies();
        assert!(String::from_utf8_lossy(&whole).contains(ID));
        for name in ["grubenv", "grubenv.bak"] {
            for damage in ["", "nothing", "# GRUB Environment Block\n"] {
                device.put(name, damage);
                let told = device.run(&["heal"]);
                let told = String::from_utf8(told.stderr).unwrap();
                assert!(told.starts_with(&format!("<4>margo-boot-env: {name}: ")), "{told}");
                assert_eq!(device.copies(), [whole.clone(), whole.clone()]);
            }
            fs::remove_file(device.dir.path().join(name)).unwrap();
            device.ask(&["heal"]);
            assert_eq!(device.copies(), [whole.clone(), whole.clone()]);
        }
        let quiet = device.run(&["heal"]);
        assert!(quiet.stderr.is_empty() && quiet.stdout.is_empty(), "nothing was wrong");
    }

    #[test]
    fn both_copies_lost_is_an_error_with_a_next_step_until_the_repair() {
        let device = Device::new();
        device.put("grubenv", "x");
        device.put("grubenv.bak", "x");
        let failed = device.run(&["get-primary"]);
        assert_eq!(failed.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&failed.stderr).contains("margo-boot-env heal"));
        device.boots("B", "committed");
        device.ask(&["heal"]);
        assert_eq!(device.ask(&["get-primary"]), "B\n");
    }

    #[test]
    fn show_speaks_to_people_and_to_programs() {
        let device = Device::new();
        device.ask(&["set-primary", "B"]);
        device.put("grubenv.bak", "x");
        let text = device.ask(&["show"]);
        assert!(
            text.starts_with("slot B: trial, 3 tries left, next\nslot A: good (committed), runs\n"),
            "{text}"
        );
        assert!(text.contains("damaged: grubenv.bak: it does not begin with"), "{text}");
        let json = device.ask(&["show", "--json"]);
        assert!(
            json.contains(
                r#""tries_max":3,"slots":{"A":{"state":"good","tries":0},"B":{"state":"trial","tries":3}}"#
            ),
            "{json}"
        );
        assert!(json.contains(r#""in_step":false"#), "{json}");
    }

    #[test]
    fn wrong_words_name_what_is_wrong() {
        let device = Device::new();
        for (words, told) in [
            (&["get-state", "C"][..], "\"C\" is no slot"),
            (&["set-state", "A", "great"], "\"set-state A great\" is not understood"),
            (&["--env-dir"], "--env-dir needs a value"),
            (&[], "a command is missing"),
        ] {
            let output = device.run(words);
            assert_eq!(output.status.code(), Some(2));
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.contains(told), "{text}");
        }
        let existing = device.dir.path().join("grubenv");
        assert_eq!(device.run(&["init", existing.to_str().unwrap()]).status.code(), Some(1));
    }

    #[test]
    fn writers_wait_for_each_other() {
        let device = Device::new();
        let held = margo_boot_env::lock::Lock::take(
            &device.dir.path().join("lock"),
            std::time::Duration::ZERO,
        );
        let held = held.unwrap();
        let second = margo_boot_env::lock::Lock::take(
            &device.dir.path().join("lock"),
            std::time::Duration::ZERO,
        );
        assert!(second.unwrap_err().to_string().contains("another process has held the lock"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| device.ask(&["set-primary", "B"]));
            assert!(!waiting.is_finished());
            drop(held);
            waiting.join().unwrap();
        });
        assert_eq!(device.ask(&["get-primary"]), "B\n");
    }
}
