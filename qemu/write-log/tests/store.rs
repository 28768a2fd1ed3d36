//! The agent's store on ext4, read after a cut: one lost file is healed, two are found to be lost.
//!
//! Needs e2fsprogs of the image tools: by `MARGO_TOOLS`, or `qemu/tools` when its root is there.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use crate::support::Recording;
    use margo_agent::store::{Copies, Store};
    use margo_write_log::run::Reader;
    use state_machine::state::Durable;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// The command that runs image tools; `None`, after saying why, where there is none.
    fn tools() -> Option<PathBuf> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if let Some(tools) = std::env::var_os("MARGO_TOOLS") {
            return Some(PathBuf::from(tools));
        }
        if project.join("target/qemu/tools/usr/sbin/e2fsck").exists() {
            return Some(project.join("qemu/tools").canonicalize().unwrap());
        }
        eprintln!("skipped: no ext4 tools; run qemu/tools-root, or set MARGO_TOOLS");
        None
    }

    #[test]
    fn one_lost_file_is_healed_and_two_are_lost() {
        let Some(tools) = tools() else { return };
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tempfile::tempdir_in(parent).unwrap();
        let state = dir.path().join("root/state");
        let (mut store, _) = Store::open::<Durable>(&state).unwrap();
        store.save(&Durable::default(), Copies::Both).unwrap();
        drop(store);
        let image = dir.path().join("ext4.img");
        let mut command = Command::new(&tools);
        command.arg("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(dir.path().join("root"));
        assert!(command.arg(&image).arg("8M").status().unwrap().success());
        let partition = fs::read(&image).unwrap();
        let mut recording = Recording::new(parent, &partition);
        let reader = || Reader::Store("/state".to_owned());
        for name in ["state-a", "state-b"] {
            let mut first = fs::read(state.join(name)).unwrap();
            first.resize(512, 0);
            let found = partition.chunks(512).position(|sector| sector == first);
            let sector = u64::try_from(found.expect("the file's first sector")).unwrap();
            recording.write(sector, &[0xff; 512]);
        }
        // Whole, either lost, both lost.
        let figures = recording.judge(tools, reader());
        let store = figures.store.unwrap();
        assert_eq!((figures.distinct, store.healed, store.unreadable), (4, 2, 1));
        assert_eq!(store.generations.values().sum::<usize>(), 3);
    }
}
