SUMMARY = "What makes an image the OS of a Margo device"
SUMMARY:${PN}-engine = "The container engine of a Margo device"
DESCRIPTION = "The agent, the OS around it, RAUC and the container engine: the counterpart of qemu/packages/device."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
LICENSE = "Apache-2.0"

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit features_check packagegroup

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

PACKAGES = "${PN} ${PN}-engine"

RDEPENDS:${PN} += "\
    ca-certificates \
    e2fsprogs-e2fsck \
    iproute2 \
    kmod \
    margo-agent \
    margo-os \
    margo-rauc-conf \
    margo-site \
    margoctl \
    os-release \
    rauc \
    rauc-service \
    ${BOOT_PACKAGES} \
"

# What a slot brings for the boot loader that starts it.
BOOT_PACKAGES ?= "${@'margo-boot-env margo-grub' if d.getVar('MARGO_BOOT') == 'grub' else 'margo-uboot'}"

# What runs the workloads; conf/distro/include/margo.inc says which.
RDEPENDS:${PN}-engine += "${MARGO_ENGINE}"
