SUMMARY = "The partitions esp and env of a new Margo device with UEFI"
DESCRIPTION = "File systems without any random part: GRUB and its configuration, and a fresh boot environment in two copies."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "bootloaders"
LICENSE = "Apache-2.0"
CVE_PRODUCT = "margo-agent"

DEPENDS = "dosfstools-native margo-agent-native mtools-native"

inherit deploy features_check nopackages

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

EFI_LOADER = "${@'BOOTX64.EFI' if d.getVar('TARGET_ARCH') == 'x86_64' else 'BOOTAA64.EFI'}"

do_configure[noexec] = "1"
do_install[noexec] = "1"
deltask do_populate_sysroot
do_compile[depends] += "margo-grub:do_deploy"
do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${@d.getVar('MARGO_GRUB_MACHINE_CFG') + ':True' if d.getVar('MARGO_GRUB_MACHINE_CFG') else ''}"

# make_fat FILE MIB LABEL ID DIRECTORY
make_fat() {
    find "$5" -mindepth 1 -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +
    mkfs.vfat -C -F 16 -n "$3" -i "$4" --invariant "$1" $(expr $2 \* 1024)
    MTOOLS_SKIP_CHECK=1 mcopy -s -m -Q -i "$1" "$5"/* ::
}

do_compile() {
    esp=${B}/esp env=${B}/env
    install -d $esp/EFI/BOOT $esp/grub $env
    install -m 0644 ${DEPLOY_DIR_IMAGE}/margo-grub.efi $esp/EFI/BOOT/${EFI_LOADER}
    install -m 0644 ${DEPLOY_DIR_IMAGE}/margo-grub.cfg $esp/grub/grub.cfg
    if [ -n "${MARGO_GRUB_MACHINE_CFG}" ]; then
        install -m 0644 ${MARGO_GRUB_MACHINE_CFG} $esp/grub/machine.cfg
    fi
    make_fat ${B}/margo-esp.vfat ${MARGO_ESP_MIB} ESP 4d415247 $esp

    # A new device runs slot A; slot B is empty, hence bad.
    margo-boot-env init $env/grubenv
    cp $env/grubenv $env/grubenv.bak
    make_fat ${B}/margo-env.vfat ${MARGO_ENV_MIB} ENV 4d415245 $env
}

do_deploy() {
    install -m 0644 ${B}/margo-esp.vfat ${B}/margo-env.vfat ${DEPLOYDIR}/
}
addtask deploy after do_compile before do_build
