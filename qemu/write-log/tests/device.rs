//! A device's disk in small, judged over logs made here: what is done rightly passes, and each wrong way of writing is
//! found by the real readers.

#[cfg(test)]
#[path = "device/rig.rs"]
mod rig;

#[cfg(test)]
mod tests {
    use crate::rig::Rig;
    use margo_boot_env::env::{Env, Slot, State};
    use margo_write_log::device::figures::Figures;

    fn writing() -> Env {
        Env { b: State::Bad, machine_id: Some("0".repeat(32)), ..Env::fresh() }
    }

    fn trial() -> Env {
        Env { first: Slot::B, b: State::FRESH_TRIAL, ..writing() }
    }

    fn started(figures: &Figures) -> Vec<&str> {
        let texts = figures.boot.decisions.iter().map(|(text, _)| text.split(';').next().unwrap());
        let mut all: Vec<&str> = texts.collect();
        all.dedup();
        all
    }

    #[test]
    fn an_update_and_two_saves_leave_nothing_unreadable() {
        let Some(mut rig) = Rig::new() else { return };
        rig.change_env(&writing());
        rig.install(None);
        rig.flush();
        rig.change_env(&trial());
        rig.change_env(&Env { b: State::Good, ..trial() });
        for number in 0..2 {
            let (sector, content) = rig.saved[number].clone();
            rig.write(sector, &content);
            rig.flush();
            let (sector, content) = rig.directory(number + 1);
            rig.write(sector, &content);
            rig.flush();
        }
        let figures = rig.judge();
        assert!(figures.is_well(), "{}", figures.table());
        assert_eq!(
            started(&figures),
            ["starts A (committed)", "starts B (trial)", "starts B (committed)"],
            "{}",
            figures.table()
        );
        assert_eq!(figures.store.spans_of_store, 4);
        assert_eq!(figures.store.found.generations.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert!(figures.table().contains("unreadable"));
    }

    #[test]
    fn an_environment_that_is_emptied_before_it_is_written_is_found() {
        let Some(mut rig) = Rig::new() else { return };
        let (directory, [empty, full]) = rig.truncated();
        let [first, second] = rig.copies();
        rig.write(directory, &empty);
        rig.write(first, &writing().to_bytes().unwrap());
        rig.write(second, &writing().to_bytes().unwrap());
        rig.write(directory, &full);
        rig.flush();
        let boot = rig.judge().boot;
        assert!(boot.unreadable > 0 && boot.unreadable < boot.states, "{boot:?}");
        assert!(boot.faults[0].contains("no copy of the environment can be read"), "{boot:?}");
    }

    #[test]
    fn a_slot_that_is_tried_before_it_is_complete_is_found() {
        let Some(mut rig) = Rig::new() else { return };
        // GRUB can load everything it needs from it.
        let middle = rig.second.len() / 512 / 2;
        rig.change_env(&writing());
        rig.install(Some(middle));
        rig.flush();
        rig.change_env(&trial());
        let boot = rig.judge().boot;
        assert!(boot.half_written > 0, "{boot:?}");
        assert_eq!(boot.unreadable, 0);
    }

    #[test]
    fn a_slot_that_was_not_flushed_before_it_is_tried_is_found() {
        let Some(mut rig) = Rig::new() else { return };
        rig.change_env(&writing());
        rig.install(None);
        rig.change_env(&trial());
        let figures = rig.judge();
        assert!(figures.boot.half_written > 0, "{}", figures.table());
    }

    #[test]
    fn a_save_without_fsync_is_found() {
        let Some(mut rig) = Rig::new() else { return };
        let (sector, content) = rig.saved[0].clone();
        rig.write(sector, &content);
        let (sector, content) = rig.directory(1);
        rig.write(sector, &content);
        rig.flush();
        let figures = rig.judge();
        let found = &figures.store.found;
        // Old and new, and the new name without its content; the other file still counts.
        assert_eq!((found.healed, found.unreadable), (1, 0), "{}", figures.table());
        assert!(!figures.is_well());
    }

    #[test]
    fn a_save_of_both_files_without_fsync_loses_the_state() {
        let Some(mut rig) = Rig::new() else { return };
        for (sector, content) in rig.saved.clone() {
            rig.write(sector, &content);
        }
        let (sector, content) = rig.directory(2);
        rig.write(sector, &content);
        rig.flush();
        let figures = rig.judge();
        assert!(figures.store.found.unreadable > 0, "{}", figures.table());
        assert!(figures.store.faults[0].contains("no file of the store can be read"));
    }

    #[test]
    fn a_store_that_forgets_what_was_flushed_is_found() {
        let Some(mut rig) = Rig::new() else { return };
        let (sector, content) = rig.saved[0].clone();
        rig.write(sector, &content);
        rig.flush();
        for renamed in [1, 0] {
            let (sector, content) = rig.directory(renamed);
            rig.write(sector, &content);
            rig.flush();
        }
        let figures = rig.judge();
        assert!(figures.store.forgotten > 0, "{}", figures.table());
        assert!(!figures.is_well());
    }
}
