//! How large the image, the bundle and the programs are.

use super::Figures;
use super::install::VERSION;
use crate::error::{Doing as _, Outcome, Trouble};
use crate::project::Project;
use crate::run::firmware;
use crate::run::world::World;
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;

/// The programs in the device, and the figures they are.
const PROGRAMS: [(&str, &str); 3] = [
    ("/usr/bin/margo-agent", "agent_bytes"),
    ("/usr/bin/margoctl", "margoctl_bytes"),
    ("/usr/lib/margo-agent/margo-boot-env", "boot_env_bytes"),
];

/// The programs' sizes as they are in the running device, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs(Vec<u64>);

impl Programs {
    pub(super) fn ask(world: &mut World) -> Outcome<Self> {
        let paths: Vec<&str> = PROGRAMS.iter().map(|(path, _)| *path).collect();
        let text = world.sh(&format!("stat -L -c %s {}", paths.join(" ")))?;
        Self::parse(&text).ok_or_else(|| Trouble::new(format!("no sizes of programs: {text}")))
    }

    fn parse(text: &str) -> Option<Self> {
        let sizes: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        sizes.ok().filter(|sizes| sizes.len() == PROGRAMS.len()).map(Self)
    }

    pub(super) fn figures(&self) -> Figures {
        let named = PROGRAMS.iter().zip(&self.0);
        named.map(|((_, figure), size)| ((*figure).to_owned(), Value::from(*size))).collect()
    }
}

/// The figures of files on this machine.
pub(super) fn measure(project: &Project) -> Outcome<Figures> {
    let disk = project.require_image()?.canonicalize().doing("the image")?;
    let of = |path: &std::path::Path| {
        std::fs::metadata(path).doing(format!("cannot look at {}", path.display()))
    };
    let (image, mut figures) = (of(&disk)?, Figures::new());
    figures.insert("disk_bytes".to_owned(), image.len().into());
    // Blocks of 512 bytes, whatever the file system's are. The rest are holes.
    figures.insert("disk_used_bytes".to_owned(), image.blocks().saturating_mul(512).into());
    // An image from elsewhere may have come without its parts.
    if let Ok(root) = of(&disk.with_file_name("root.squashfs")) {
        figures.insert("root_bytes".to_owned(), root.len().into());
    }
    if let Ok(bundle) = bundle_bytes(project) {
        figures.insert("bundle_bytes".to_owned(), bundle.into());
    }
    Ok(figures)
}

/// The size of the bundle that is installed.
pub(super) fn bundle_bytes(project: &Project) -> Outcome<u64> {
    let path = firmware::bundle(project, VERSION, "good")?;
    let found = std::fs::metadata(&path).doing(format!("cannot look at {}", path.display()))?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_the_order_of_the_programs() {
        let programs = Programs::parse("3\n2\n1\n").unwrap();
        assert_eq!(programs.figures()["agent_bytes"], 3);
        assert_eq!(programs.figures()["boot_env_bytes"], 1);
        assert_eq!(Programs::parse("3\n2\n"), None);
        assert_eq!(Programs::parse("3\n2\nstat: no such file\n"), None);
    }
}
