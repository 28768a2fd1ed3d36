//! Where things are in the project, and how its tools are run.

use crate::error::{Doing as _, Outcome, Trouble};
use crate::vm::arch::Arch;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The project's directories and the image under test.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// The project's root.
    pub(crate) root: PathBuf,
    /// The disk image to boot; it is never written.
    pub(crate) image: PathBuf,
    /// The device's processor.
    pub(crate) arch: Arch,
    /// Kernel, initrd and command line for an image without a boot loader (the harness's own tests).
    pub(crate) direct: Option<DirectBoot>,
    tools: PathBuf,
}

/// A kernel that QEMU loads by itself.
#[derive(Clone, Debug)]
pub(crate) struct DirectBoot {
    pub(crate) kernel: String,
    pub(crate) initrd: String,
    pub(crate) append: String,
}

impl Project {
    /// The project this program was built from; `MARGO_QEMU_IMAGE` names another image.
    pub(crate) fn find(arch: Arch, image: Option<PathBuf>) -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().doing("cannot find the project's directory")?;
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let image = match image.or_else(|| variable("MARGO_QEMU_IMAGE")) {
            Some(image) => image,
            None => root.join(format!("target/qemu/image/{}.img", arch.image_name())),
        };
        let tools = variable("MARGO_QEMU_TOOLS").unwrap_or_else(|| root.join("qemu/tools"));
        let direct = std::env::var("MARGO_QEMU_DIRECT").ok().and_then(|text| {
            let mut parts = text.splitn(3, ',').map(str::to_owned);
            Some(DirectBoot { kernel: parts.next()?, initrd: parts.next()?, append: parts.next()? })
        });
        Ok(Self { root, image, arch, direct, tools })
    }

    /// The image, which must have been built.
    pub(crate) fn require_image(&self) -> Outcome<&Path> {
        if self.image.exists() {
            return Ok(&self.image);
        }
        Err(Trouble::new(format!(
            "there is no image {}; next step: run qemu/build, or name one with --image",
            self.image.display()
        )))
    }

    /// Where a scenario's disks and logs go.
    pub(crate) fn run_dir(&self, name: &str) -> PathBuf {
        self.root.join("target/qemu/runs").join(self.arch.directory()).join(name)
    }

    /// Where prepared devices are kept.
    pub(crate) fn prepared_dir(&self, slot: usize, name: &str) -> PathBuf {
        let kept = self.root.join("target/qemu/prepared").join(self.arch.directory());
        kept.join(format!("{slot}")).join(name)
    }

    /// A command of the tools root. It dies with this program.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(&self.tools);
        command.arg(program).stdin(Stdio::null()).current_dir(&self.root);
        command
    }

    /// Runs a tool to its end and returns what it printed.
    pub(crate) fn run_tool(&self, program: &str, args: &[&str]) -> Outcome<Vec<u8>> {
        let output = self.tool(program).args(args).output();
        let output = output.doing(format!("cannot run {} {program}", self.tools.display()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Trouble::new(format!("{program} {}: {}: {said}", args.join(" "), output.status)))
    }
}
