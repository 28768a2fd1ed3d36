//! A whole replay of logs made here: what a flush settles stays, what lies between flushes comes in every mixture, and
//! a state that cannot be read is counted.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use crate::support::{OFFSET, Recording};
    use margo_boot_env::env::{Env, Slot, State};
    use margo_write_log::env_judge::Kind;
    use margo_write_log::error::ReplayError;
    use margo_write_log::log::Log;
    use margo_write_log::run::{Figures, Reader};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// Sectors of the two copies within the partition: a file system in miniature.
    const FIRST: u64 = 2;
    const SECOND: u64 = 5;

    /// A partition with these two copies, and a reader that knows where they are.
    fn recording(first: &Env, second: &Env) -> Recording {
        let mut partition = vec![0; 8192];
        for (env, sector) in [(first, FIRST), (second, SECOND)] {
            let at = usize::try_from(sector * 512).unwrap();
            partition[at..at + 1024].copy_from_slice(&env.to_bytes().unwrap());
        }
        let recording = Recording::new(&std::env::temp_dir(), &partition);
        // Stands in for GRUB's file system: the file's name is its place.
        let fstest = format!(
            "case $3 in */grubenv) skip={FIRST} ;; *) skip={SECOND} ;; esac\n\
             exec dd if=\"$1\" bs=512 skip=$skip count=2 2>/dev/null\n"
        );
        script(&recording, "grub-fstest", &fstest);
        let dir = recording.path("").display().to_string();
        script(&recording, "tools", &format!("PATH={dir}:$PATH exec \"$@\"\n"));
        recording
    }

    fn script(recording: &Recording, name: &str, text: &str) {
        let path = recording.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn flush(recording: &mut Recording) {
        recording.entry(0, 1, &[]);
    }

    fn judge(recording: &Recording) -> Figures {
        recording.judge(recording.path("tools"), Reader::Env(Kind::Margo))
    }

    fn envs() -> (Env, Env) {
        let old = Env::fresh();
        let new = Env { first: Slot::B, b: State::FRESH_TRIAL, ..Env::fresh() };
        (old, new)
    }

    fn unreadable(figures: &Figures) -> usize {
        figures.env.as_ref().unwrap().unreadable
    }

    #[test]
    fn our_way_of_writing_has_no_unreadable_state() {
        let (old, new) = envs();
        let mut recording = recording(&old, &old);
        let bytes = new.to_bytes().unwrap();
        recording.write(FIRST, &bytes);
        flush(&mut recording);
        recording.write(SECOND, &bytes);
        flush(&mut recording);
        let figures = judge(&recording);
        assert_eq!((unreadable(&figures), figures.epochs, figures.epochs_complete), (0, 2, 2));
        // Only the first of the two sectors changes: old, half way (both ways of it are one state), new.
        assert_eq!(figures.distinct, 3);
        let contents: Vec<usize> = figures.env.unwrap().contents.into_values().collect();
        assert_eq!(contents, [1, 2], "the old one once, the new one alone and with its copy");
    }

    #[test]
    fn emptying_both_copies_at_once_is_found() {
        let (old, new) = envs();
        let mut recording = recording(&old, &old);
        for copy in [FIRST, SECOND] {
            recording.write(copy, &[0; 1024]);
            recording.write(copy, &new.to_bytes().unwrap());
        }
        flush(&mut recording);
        let figures = judge(&recording);
        assert!(unreadable(&figures) > 0);
        assert!(unreadable(&figures) < figures.distinct);
    }

    #[test]
    fn what_was_flushed_does_not_come_back() {
        let (old, new) = envs();
        let mut recording = recording(&old, &old);
        for copy in [FIRST, SECOND] {
            recording.write(copy, &new.to_bytes().unwrap());
        }
        flush(&mut recording);
        let before = judge(&recording).distinct;
        // Something elsewhere: from now on the old content must be in no new state.
        recording.write(10, &[1; 512]);
        let figures = judge(&recording);
        assert_eq!(figures.distinct, before + 1);
    }

    #[test]
    fn a_write_with_fua_is_on_the_medium_and_what_came_before_it_need_not_be() {
        let (old, new) = envs();
        let mut recording = recording(&old, &old);
        recording.write(10, &[1; 512]);
        recording.entry(OFFSET / 512 + FIRST, 2, &new.to_bytes().unwrap());
        recording.write(11, &[1; 512]);
        let figures = judge(&recording);
        let contents = figures.env.unwrap().contents;
        // Before it completes: with and without sector 10, old and new. After it: new, with every mixture of 10 and 11.
        assert_eq!(contents.into_values().collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn writes_outside_the_partition_do_not_count() {
        let (old, _) = envs();
        let mut recording = recording(&old, &old);
        recording.entry(0, 0, &[0; 512]);
        recording.write(16, &[0; 512]);
        let figures = judge(&recording);
        assert_eq!((figures.sectors, figures.states), (0, 0));
    }

    #[test]
    fn a_file_that_is_no_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, told) in [(vec![0; 4096], "it begins with"), (vec![0; 3], "it ends before")] {
            let path = dir.path().join("log");
            fs::write(&path, bytes).unwrap();
            let error = Log::open(&path).unwrap_err();
            assert!(matches!(error, ReplayError::Format { .. }));
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
