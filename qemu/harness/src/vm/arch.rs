//! The processors a device can have, and what differs between them in QEMU.

use clap::ValueEnum;

/// A device's processor, by Debian's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    #[default]
    Amd64,
    Arm64,
}

impl Arch {
    /// Debian's name, which is also the one in container images.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// What images and bundles of `qemu/build` are called.
    pub(crate) fn image_name(self) -> &'static str {
        match self {
            Self::Amd64 => "margo",
            Self::Arm64 => "margo-arm64",
        }
    }

    /// A name of a directory of this processor's devices; the usual one's have none.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => "arm64",
        }
    }

    /// QEMU's program.
    pub(crate) fn emulator(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// QEMU's machine.
    pub(crate) fn machine(self, accelerator: &str) -> String {
        match self {
            Self::Amd64 => format!("q35,accel={accelerator},smm=off"),
            Self::Arm64 => format!("virt,accel={accelerator},gic-version=max"),
        }
    }

    /// QEMU's processor when it is emulated.
    pub(crate) fn emulated_cpu(self) -> &'static str {
        match self {
            // cmpxchg16b is emulated wrongly by some versions of QEMU, and nothing here needs it.
            Self::Amd64 => "max,-cx16",
            // A real one of the field. `max` signs pointers, which takes long to emulate.
            Self::Arm64 => "cortex-a72",
        }
    }

    /// UEFI firmware in the tools root: its code, and an empty variable store.
    pub(crate) fn firmware(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            Self::Arm64 => ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        }
    }

    /// Whether this machine has such a processor.
    pub(crate) fn is_ours(self) -> bool {
        std::env::consts::ARCH
            == match self {
                Self::Amd64 => "x86_64",
                Self::Arm64 => "aarch64",
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_share_no_name() {
        let (one, other) = (Arch::Amd64, Arch::Arm64);
        assert_ne!(one.name(), other.name());
        assert_ne!(one.image_name(), other.image_name());
        assert_ne!(one.directory(), other.directory());
        assert_ne!(one.emulator(), other.emulator());
        assert_ne!(one.firmware(), other.firmware());
        assert!(!(one.is_ours() && other.is_ours()));
    }
}
