SUMMARY = "U-Boot of a Margo device: boot scripts and boot environment"
DESCRIPTION = "boot.scr chooses the slot by the rules of grub.cfg, slot.scr starts its kernel, margo-boot-env is for RAUC."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "bootloaders"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "margo-agent"

DEPENDS = "u-boot-mkimage-native"

# For boards whose U-Boot wants a default script to be there before it is built.
PROVIDES += "u-boot-default-script"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os/uboot:"
SRC_URI = "\
    file://boot.cmd \
    file://fw_env.config \
    file://margo-boot-env \
    file://slot.cmd \
"

S = "${UNPACKDIR}"

inherit deploy features_check kernel-arch

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

# Two recipes have a package margo-boot-env. Where GRUB starts the device this one must not be among the choices, nor
# draw in a U-Boot.
python () {
    if d.getVar('MARGO_BOOT') != 'uboot':
        raise bb.parse.SkipRecipe('MARGO_BOOT is not "uboot" for the machine %s. Next step: set it, if U-Boot starts it'
            % d.getVar('MACHINE'))
}

# How U-Boot starts the kernel: booti for an Image, bootz for a zImage.
MARGO_UBOOT_BOOTCMD ??= "booti"
# Offset of the second copy within the partition env, and the size of each, as in uboot.cfg.
MARGO_UBOOT_ENV_SIZE ??= "0x4000"
MARGO_UBOOT_ENV_OFFSET_REDUND ??= "0x800000"

do_configure[noexec] = "1"

do_compile() {
    sed -e 's|@CONSOLE@|${MARGO_CONSOLE}|' -e 's|@ARGS@|${MARGO_KERNEL_ARGS}|' -e 's|@BOOTCMD@|${MARGO_UBOOT_BOOTCMD}|' \
        ${S}/slot.cmd >${B}/slot.txt
    mkimage -A ${UBOOT_ARCH} -T script -C none -n "Margo slot" -d ${B}/slot.txt ${B}/slot.scr
    mkimage -A ${UBOOT_ARCH} -T script -C none -n "Margo boot" -d ${S}/boot.cmd ${B}/boot.scr
}

# The environment of a new device: U-Boot's built-in one, slot A good, slot B empty, hence bad. In both copies.
do_environment() {
    initial=${DEPLOY_DIR_IMAGE}/u-boot-initial-env
    if [ ! -s $initial ]; then
        bbfatal "$initial is not there. Next step: give the U-Boot recipe of this machine UBOOT_INITIAL_ENV = \"u-boot-initial-env\""
    fi
    cp $initial ${B}/environment
    printf '%s\n' 'ORDER=A B' 'A_STATE=good' 'A_TRIES=0' 'B_STATE=bad' 'B_TRIES=0' 'margo_env=1' >>${B}/environment
    uboot-mkenvimage -r -s ${MARGO_UBOOT_ENV_SIZE} -o ${B}/environment.bin ${B}/environment
    rm -f ${B}/margo-env.img
    truncate -s ${MARGO_ENV_MIB}M ${B}/margo-env.img
    dd if=${B}/environment.bin of=${B}/margo-env.img conv=notrunc
    dd if=${B}/environment.bin of=${B}/margo-env.img bs=1 seek=$(printf '%d' ${MARGO_UBOOT_ENV_OFFSET_REDUND}) conv=notrunc
}
addtask environment after do_compile before do_build
do_environment[depends] += "virtual/bootloader:do_deploy"
do_environment[doc] = "Makes the partition env of a new device"

do_install() {
    install -D -m 0644 ${B}/slot.scr ${D}/boot/slot.scr
    install -D -m 0755 ${S}/margo-boot-env ${D}${nonarch_libdir}/margo-agent/margo-boot-env
    install -m 0644 ${S}/fw_env.config ${D}${nonarch_libdir}/margo-agent/fw_env.config
}

do_deploy() {
    install -m 0644 ${B}/boot.scr ${DEPLOYDIR}/boot.scr
}
addtask deploy after do_compile before do_build

# The disk's part is deployed by itself: U-Boot's own build may need boot.scr, so do_deploy must not wait for U-Boot.
do_deploy_environment() {
    install -D -m 0644 ${B}/margo-env.img ${DEPLOY_DIR_IMAGE}/margo-env.img
}
addtask deploy_environment after do_environment before do_build
do_deploy_environment[doc] = "Puts the partition env of a new device beside the images"

PACKAGE_ARCH = "${MACHINE_ARCH}"
FILES:${PN} += "/boot ${nonarch_libdir}/margo-agent"
# fw_printenv and fw_setenv, U-Boot's built-in environment, and a lock.
RDEPENDS:${PN} += "libubootenv-bin u-boot-env util-linux-flock"
# In place of the program for GRUB's environment, under its path.
RPROVIDES:${PN} += "margo-boot-env"
RCONFLICTS:${PN} = "margo-boot-env"
