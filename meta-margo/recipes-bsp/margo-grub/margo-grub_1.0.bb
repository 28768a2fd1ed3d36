SUMMARY = "GRUB of a Margo device: the loader, and what travels with a slot"
DESCRIPTION = "Uses oe-core's GRUB and the configuration in meta-margo/os/boot. Deploys margo-grub.efi and grub.cfg."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "bootloaders"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "margo-agent"

# The modules come out of grub-efi's sysroot, grub-mkimage out of grub-native's.
DEPENDS = "grub-efi grub-native"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os/boot:"
SRC_URI = "\
    file://grub-modules \
    file://grub-slot.cfg \
    file://grub.cfg \
"

S = "${UNPACKDIR}"

inherit deploy features_check

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

COMPATIBLE_HOST = "(x86_64|aarch64).*-linux"
GRUB_FORMAT = "${@'x86_64-efi' if d.getVar('TARGET_ARCH') == 'x86_64' else 'arm64-efi'}"

do_configure[noexec] = "1"

do_compile() {
    # shellcheck disable=SC2046  # one word each
    grub-mkimage -O ${GRUB_FORMAT} -d ${STAGING_LIBDIR}/grub/${GRUB_FORMAT} -p /grub -o ${B}/margo-grub.efi \
        $(sed 's/ *#.*//; /^$/d' ${S}/grub-modules)
    # A kernel that needs no initramfs.
    printf '%s\n' '# For this machine. Read by grub-slot.cfg.' 'set margo_initrd=' \
        'set margo_args="${MARGO_KERNEL_ARGS}"' >${B}/grub-slot-machine.cfg
    if [ -n "${MARGO_CONSOLE}" ]; then
        echo 'if [ -z "$margo_console" ]; then set margo_console="${MARGO_CONSOLE}"; fi' >>${B}/grub-slot-machine.cfg
    fi
}

do_install() {
    install -D -m 0644 ${S}/grub-slot.cfg ${D}/boot/grub-slot.cfg
    install -m 0644 ${B}/grub-slot-machine.cfg ${D}/boot/grub-slot-machine.cfg
}

do_deploy() {
    install -m 0644 ${B}/margo-grub.efi ${DEPLOYDIR}/margo-grub.efi
    install -m 0644 ${S}/grub.cfg ${DEPLOYDIR}/margo-grub.cfg
}
addtask deploy after do_compile before do_build

PACKAGE_ARCH = "${MACHINE_ARCH}"
FILES:${PN} += "/boot"
