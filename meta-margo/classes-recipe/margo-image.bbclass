# An image that is a slot of a Margo device, and the disk that a device is made with.
# For an image of your own: `require recipes-core/images/margo-image.inc`, or `inherit core-image margo-image` with the
# packages of that file.
#
# MARGO_BOOT        grub (UEFI) or uboot: which boot loader chooses the slot
# MARGO_ROOT_MIB    size of one slot on the disk
# MARGO_LOGIN       "1": a development image, people can log in
# Every variable: meta-margo/README.md.

MARGO_LOGIN ??= ""

IMAGE_FEATURES += "read-only-rootfs"

# The slot, as bundles carry it, and the disk to flash, with its block map.
IMAGE_FSTYPES = "squashfs wic.zst wic.bmap"
# The version, not the time: the same sources give the same files.
IMAGE_VERSION_SUFFIX = "-${MARGO_OS_VERSION}"
# GRUB reads squashfs with gzip, lzo and xz, U-Boot with gzip, lzo and zstd.
EXTRA_IMAGECMD:squashfs = "-comp gzip -Xcompression-level 6 -b 128K -no-exports -no-xattrs -no-progress"
# What is in slot A is to the letter what a bundle brings.
IMAGE_TYPEDEP:wic = "squashfs"
WKS_FILE = "margo-${MARGO_BOOT}.wks.in"
WKS_FILE_DEPENDS = "bmaptool-native e2fsprogs-native squashfs-tools-native"
do_image_wic[depends] += "${@'margo-boot-parts:do_deploy' if d.getVar('MARGO_BOOT') == 'grub' else 'margo-uboot:do_deploy margo-uboot:do_deploy_environment'}"

# A kernel that needs no initramfs: what it takes to find the root is built in (os/kernel/margo.cfg).
IMAGE_INSTALL:append = " kernel-image"

# Programs to make packages with have no place on a read-only root.
IMAGE_FEATURES:remove = "package-management"

python () {
    layers = (d.getVar('BBFILE_COLLECTIONS') or '').split()
    if 'docker-moby' in (d.getVar('MARGO_ENGINE') or '').split() and 'virtualization-layer' not in layers:
        raise bb.parse.SkipRecipe('the container engine is docker-moby, and the layer meta-virtualization that has it is '
            'not there. Next step: bitbake-layers add-layer meta-virtualization (needs meta-oe, meta-python, '
            'meta-networking and meta-filesystems), or name another engine with MARGO_ENGINE')
    for feature in ('margo', 'rauc', 'systemd', 'usrmerge'):
        if feature not in d.getVar('DISTRO_FEATURES').split():
            raise bb.parse.SkipRecipe('the distribution %s lacks the feature %s. Next step: require '
                'conf/distro/include/margo.inc in its configuration' % (d.getVar('DISTRO'), feature))
    if d.getVar('MARGO_BOOT') not in ('grub', 'uboot'):
        raise bb.parse.SkipRecipe('MARGO_BOOT = "%s". Next step: set it to grub or uboot' % d.getVar('MARGO_BOOT'))
}

# Puts the slot together where packages alone cannot: files that belong to other packages, the kernel's name, the version.
margo_image_compose() {
    over=${IMAGE_ROOTFS}${datadir}/margo-os/over
    if [ -d $over ]; then
        cp -R --no-dereference --preserve=mode,links --remove-destination $over/. ${IMAGE_ROOTFS}/
        rm -r $over
        rmdir --ignore-fail-on-non-empty ${IMAGE_ROOTFS}${datadir}/margo-os
    fi
    # The boot environment is raw sectors there, not a file system.
    if [ "${MARGO_BOOT}" = uboot ]; then
        sed -i '/^PARTLABEL=env /d' ${IMAGE_ROOTFS}${sysconfdir}/fstab
    fi

    # One name in every slot: the boot loader's configuration outlives kernels.
    kernel=$(find ${IMAGE_ROOTFS}/boot -maxdepth 1 -type f -name '${KERNEL_IMAGETYPE}-*' | sort | tail -n 1)
    if [ -n "$kernel" ]; then
        rm -f ${IMAGE_ROOTFS}/boot/${KERNEL_IMAGETYPE}
        mv $kernel ${IMAGE_ROOTFS}/boot/vmlinuz
    fi

    # What the agent reports as the firmware's version.
    release=${IMAGE_ROOTFS}${nonarch_libdir}/os-release
    sed -i '/^IMAGE_ID=/d; /^IMAGE_VERSION=/d' $release
    printf '%s\n' 'IMAGE_ID=${MARGO_COMPATIBLE}' 'IMAGE_VERSION=${MARGO_OS_VERSION}' >>$release

    # Exactly what the presets say is switched on; packages have switched on themselves.
    systemctl --root=${IMAGE_ROOTFS} preset-all

    # The time the image was made is the least the clock can say.
    touch ${IMAGE_ROOTFS}${nonarch_libdir}/clock-epoch
}
ROOTFS_POSTPROCESS_COMMAND += "margo_image_compose"

# /var starts empty at each boot (fstab); what is in it here would only be hidden. Not earlier: the list of installed
# packages is in it, and manifests, SBOM and the scripts that are left for the first boot are looked up there.
margo_image_empty_var() {
    find ${IMAGE_ROOTFS}${localstatedir} -mindepth 1 -delete
}
IMAGE_PREPROCESS_COMMAND:prepend = "margo_image_empty_var "

# The same checks as for the Debian-based image, on what is really in this one.
margo_image_check() {
    sh ${MARGO_LAYER_DIR}/os/check-root ${IMAGE_ROOTFS} ${CHECK_ROOT_OPTIONS} ||
        bbfatal "${PN} is not the OS of a Margo device; the reason is above"
}
CHECK_ROOT_OPTIONS = "\
    ${@'--login' if d.getVar('MARGO_LOGIN') == '1' else ''} \
    ${@'' if d.getVar('MARGO_ENGINE') else '--no-engine'} \
    ${@'boot/grub-slot.cfg' if d.getVar('MARGO_BOOT') == 'grub' else 'boot/slot.scr'} \
"
# After everything that others do to the image.
IMAGE_PREPROCESS_COMMAND:append = " margo_image_check"
do_image[file-checksums] += "${MARGO_LAYER_DIR}/os/check-root:True"
