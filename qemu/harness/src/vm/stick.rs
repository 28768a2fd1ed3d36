//! A USB stick: a FAT image with the label and the files of a provisioning package.

use crate::error::{Doing as _, Outcome};
use crate::project::Project;
use std::fs::File;
use std::path::Path;

/// The label a device looks for.
pub(crate) const LABEL: &str = "MARGOCONFIG";
/// Size of the stick: the smallest FAT is enough.
const STICK_BYTES: u64 = 8 << 20;

/// Writes an image with all files of a directory at its top.
pub(crate) fn make(project: &Project, files: &Path, image: &Path) -> Outcome {
    let file = File::create(image).doing(format!("cannot write {}", image.display()))?;
    file.set_len(STICK_BYTES).doing("size of the stick")?;
    let image = image.display().to_string();
    project.run_tool("mformat", &["-i", &image, "-v", LABEL, "::"])?;
    let entries = std::fs::read_dir(files).doing("provisioning package")?;
    for entry in entries.flatten() {
        let path = entry.path().display().to_string();
        project.run_tool("mcopy", &["-s", "-i", &image, &path, "::"])?;
    }
    Ok(())
}
