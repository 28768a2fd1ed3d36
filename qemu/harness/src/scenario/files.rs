//! The scenario files of the project.

use super::{Scenario, coverage, docs, parse};
use crate::error::{Doing as _, Outcome, Trouble};
use std::path::{Path, PathBuf};

/// Files in `dir`, in the order of their names.
pub(crate) fn paths(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).doing(format!("cannot list {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "scenario"));
    paths.sort();
    Ok(paths)
}

/// One file.
pub(crate) fn read(path: &Path) -> Outcome<Scenario> {
    let text = std::fs::read_to_string(path).doing(format!("cannot read {}", path.display()))?;
    parse::scenario(path, &text).map_err(Trouble::new)
}

/// All of a directory; every file that is wrong is told, not only the first.
pub(crate) fn read_all(dir: &Path) -> Outcome<Vec<Scenario>> {
    let (mut scenarios, mut wrong) = (Vec::new(), Vec::new());
    for path in paths(dir)? {
        match read(&path) {
            Ok(scenario) => scenarios.push(scenario),
            Err(trouble) => wrong.push(trouble.to_string()),
        }
    }
    if wrong.is_empty() { Ok(scenarios) } else { Err(Trouble::new(wrong.join("\n"))) }
}

/// Where the generated pages are, and what they should hold.
pub(crate) fn pages(project: &Path) -> Outcome<Vec<(PathBuf, String)>> {
    let scenarios = read_all(&project.join("qemu/scenarios"))?;
    Ok(vec![
        (project.join("qemu/scenarios/README.md"), docs::page()),
        (project.join("qemu/FAULT_POINTS.md"), coverage::page(&scenarios)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn all_scenario_files_can_be_read() {
        assert!(read_all(&project().join("qemu/scenarios")).unwrap().len() > 10);
        assert!(!read_all(&project().join("qemu/scenarios/prepared")).unwrap().is_empty());
    }

    #[test]
    fn the_pages_are_what_the_program_and_the_files_say() {
        for (path, wanted) in pages(&project()).unwrap() {
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, wanted, "{}: run cargo run -p margo-qemu -- docs", path.display());
        }
    }
}
