//! Readable transcripts: what the machine does in situations that matter to people.
//!
//! Each file in `scenarios/` is a script with the machine's answers below each line. `UPDATE=1` rewrites the
//! answers; what changed is then read as a diff. How to write one is told in the README.

#[cfg(test)]
#[path = "scenarios/device.rs"]
mod device;
#[cfg(test)]
#[path = "scenarios/diagrams.rs"]
mod diagrams;
#[cfg(test)]
#[path = "scenarios/firmware.rs"]
mod firmware;
#[cfg(test)]
#[path = "scenarios/script.rs"]
mod script;
#[cfg(test)]
#[path = "support/mod.rs"]
mod support;
#[cfg(test)]
#[path = "scenarios/words.rs"]
mod words;

#[cfg(test)]
mod tests {
    use crate::script;
    use std::path::{Path, PathBuf};

    /// Whether golden files are to be rewritten.
    pub(crate) fn is_update() -> bool {
        std::env::var_os("UPDATE").is_some_and(|value| value == "1")
    }

    fn files() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        files.sort();
        files
    }

    #[test]
    fn transcripts_are_what_the_machine_does() {
        let mut wrong = Vec::new();
        for path in files() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let golden = std::fs::read_to_string(&path).unwrap();
            assert!(golden.starts_with("# "), "{name}: must open with what it shows, in # lines");
            match script::play(&golden) {
                Ok(played) if played == golden => {}
                Ok(played) if is_update() => std::fs::write(&path, played).unwrap(),
                Ok(played) => wrong.push(difference(&name, &golden, &played)),
                Err(problem) => wrong.push(format!("{name}:{problem}")),
            }
        }
        assert!(wrong.is_empty(), "{}\nUPDATE=1 rewrites the answers", wrong.join("\n"));
    }

    fn difference(name: &str, golden: &str, played: &str) -> String {
        let same = golden.lines().zip(played.lines()).take_while(|(g, p)| g == p).count();
        let at = |text: &str| text.lines().nth(same).unwrap_or("(the end)").to_owned();
        format!("{name}:{}:\n  file:    {}\n  machine: {}", same + 1, at(golden), at(played))
    }

    #[test]
    fn a_script_that_does_not_fit_is_refused() {
        for (script, problem) in [
            ("start fresh\nengine explodes\n", "2: not a known line"),
            ("start fresh\napp-a prepared\n", "2: nothing under way that this would answer"),
            ("start fresh\nwfm fails NO_SUCH \"x\"\n", "2: no such code: NO_SUCH"),
            ("policy taste = good\n", "1: no such setting: taste = good"),
        ] {
            let found = script::play(script).unwrap_err();
            assert!(found.starts_with(problem), "{script:?}: {found}");
        }
    }
}
