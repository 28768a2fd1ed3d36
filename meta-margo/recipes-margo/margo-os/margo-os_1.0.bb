SUMMARY = "Units, mounts and settings of the Margo device OS"
SUMMARY:${PN}-login = "Login on a Margo device, for development"
SUMMARY:${PN}-no-login = "No login on any console of a Margo device"
DESCRIPTION = "The files that the Debian-based image of qemu/ is made of, from the same directory."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "margo-agent"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os:"
SRC_URI = "\
    file://links \
    file://rootfs \
"

S = "${UNPACKDIR}/rootfs"

inherit allarch features_check margo-checkout

REQUIRED_DISTRO_FEATURES = "margo systemd usrmerge"

# Files of other packages. margo-image.bbclass lays ours over them in the end.
OS_FILES_OVER = "etc/fstab etc/machine-id etc/resolv.conf etc/containerd/config.toml"
# In margo-rauc-conf, because they belong to a machine.
OS_FILES_RAUC = "etc/rauc etc/dbus-1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    cp -R --no-dereference --preserve=mode,links ${S}/. ${D}/
    grep -v '^#' ${UNPACKDIR}/links | while read -r link target; do
        install -d ${D}/$(dirname $link)
        ln -s $target ${D}/$link
    done
    chmod -R u+rwX,go+rX,go-w ${D}
    for path in ${OS_FILES_RAUC}; do
        rm -r ${D}/$path
    done
    for path in ${OS_FILES_OVER}; do
        install -d ${D}${datadir}/margo-os/over/$(dirname $path)
        mv ${D}/$path ${D}${datadir}/margo-os/over/$path
    done
    find ${D}${sysconfdir} -type d -empty -delete
    # Where partitions and what provisioning writes are mounted.
    install -d ${D}/data ${D}/boot/env ${D}${sysconfdir}/margo-agent/config.d
    install -d -m 0700 ${D}${sysconfdir}/margo-agent/identity
    # Read before the preset that switches off what it does not name.
    printf '%s\n' '# A development image: people log in.' 'enable getty@.service' 'enable serial-getty@.service' \
        'enable sshd.socket' 'enable sshdgenkeys.service' 'enable systemd-logind.service' \
        >${D}${nonarch_libdir}/systemd/system-preset/05-margo-login.preset
}

# Nobody logs in on a device. A development image has the second of these in place of the first.
PACKAGE_BEFORE_PN = "${PN}-no-login ${PN}-login"
FILES:${PN}-login += "${nonarch_libdir}/systemd/system-preset/05-margo-login.preset"
FILES:${PN}-no-login += "\
    ${sysconfdir}/systemd/system-generators/systemd-getty-generator \
    ${sysconfdir}/systemd/system/getty.target \
    ${sysconfdir}/systemd/system/systemd-ask-password-console.path \
    ${sysconfdir}/systemd/system/systemd-ask-password-wall.path \
    ${sysconfdir}/systemd/system/systemd-logind.service \
    ${sysconfdir}/systemd/system/systemd-user-sessions.service \
"

FILES:${PN} += "\
    /boot/env \
    /data \
    ${nonarch_libdir} \
"
RRECOMMENDS:${PN} = "${PN}-no-login"
RCONFLICTS:${PN}-login = "${PN}-no-login"
