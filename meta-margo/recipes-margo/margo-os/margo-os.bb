SUMMARY = "Units, mounts and settings of the Margo device OS"
DESCRIPTION = "The same files that the Debian-based image of qemu/ is made of."
HOMEPAGE = "https://margo.org"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os:"
SRC_URI = "file://rootfs"

S = "${UNPACKDIR}/rootfs"

inherit allarch features_check

REQUIRED_DISTRO_FEATURES = "systemd usrmerge"

# Files that other packages own. margo-image.bbclass lays them over the image in the end.
MARGO_OS_OVER = "etc/fstab etc/machine-id etc/resolv.conf"
# RAUC's, in margo-rauc-conf.
MARGO_OS_RAUC = "etc/rauc etc/dbus-1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    cp -R --no-dereference --preserve=mode,links ${S}/. ${D}/
    chmod -R u+rwX,go+rX,go-w ${D}
    for path in ${MARGO_OS_RAUC}; do
        rm -rf ${D}/$path
    done
    for path in ${MARGO_OS_OVER}; do
        install -d ${D}${datadir}/margo-os/over/$(dirname $path)
        mv ${D}/$path ${D}${datadir}/margo-os/over/$path
    done
    install -d ${D}/data ${D}/boot/env ${D}${sysconfdir}/margo-agent/config.d
    install -d -m 0700 ${D}${sysconfdir}/margo-agent/identity
}

FILES:${PN} = "/data /boot/env ${sysconfdir} ${nonarch_libdir} ${datadir}/margo-os"
RDEPENDS:${PN} = "margo-boot-env"
