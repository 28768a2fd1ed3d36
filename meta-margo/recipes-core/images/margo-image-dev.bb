SUMMARY = "The OS of a Margo device, to work on: people can log in"
# It is what `bitbake -c testimage` tests, because those tests come in by ssh.
DESCRIPTION = "margo-image with ssh, a shell on the consoles and tools. Never for devices that leave the house."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "images"
LICENSE = "Apache-2.0"
CVE_PRODUCT = "margo-agent"

require margo-image.inc

IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password ssh-server-openssh"
BAD_RECOMMENDATIONS += "margo-os-no-login"
MARGO_LOGIN = "1"

IMAGE_INSTALL += "\
    less \
    margo-os-login \
    margoctl-bash-completion \
    strace \
    util-linux-findmnt \
    util-linux-lsblk \
"
# The tests of this layer: meta-margo/lib/oeqa/runtime/cases/margo.py.
TEST_SUITES = "ping ssh margo"
# In QEMU: the disk as it is flashed, started by UEFI.
QB_DEFAULT_FSTYPE = "wic"
IMAGE_FSTYPES += "wic"
TEST_RUNQEMUPARAMS = "${@'ovmf' if d.getVar('MARGO_BOOT') == 'grub' else ''}"
EXTRA_IMAGEDEPENDS += "${@'ovmf' if 'qemuall' in d.getVar('OVERRIDES').split(':') and d.getVar('MARGO_BOOT') == 'grub' else ''}"
