//! The machine stays pure: no crate comes in unseen, and no standard library.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    /// All that the machine is built from. A name is added here only on purpose: each is code that a device runs.
    const CRATES: &[&str] = &[
        "margo-state-machine",
        "proc-macro2",
        "quote",
        "serde",
        "serde_core",
        "serde_derive",
        "syn",
        "unicode-ident",
    ];

    #[test]
    fn depends_on_serde_and_nothing_else() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = "tree -p margo-state-machine -e normal --prefix none --offline --locked";
        let output = Command::new(cargo)
            .args(arguments.split(' '))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listing = String::from_utf8(output.stdout).unwrap();
        let mut names: Vec<&str> = listing.lines().filter_map(|l| l.split(' ').next()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, CRATES);
    }

    #[test]
    fn has_no_standard_library_in_reach() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let lib = std::fs::read_to_string(src.join("lib.rs")).unwrap();
        assert!(lib.lines().any(|line| line == "#![no_std]"), "lib.rs is no_std");
        let mut folders = vec![src];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("extern crate std"), "{}", path.display());
            }
        }
    }
}
