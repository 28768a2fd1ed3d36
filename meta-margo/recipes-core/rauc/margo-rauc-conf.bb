SUMMARY = "RAUC's configuration, keyring and D-Bus policy on a Margo device"
HOMEPAGE = "https://margo.org"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

RPROVIDES:${PN} += "virtual-rauc-conf"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os/rootfs/etc:"
SRC_URI = "\
    file://rauc/system.conf \
    file://dbus-1/system.d/margo-rauc.conf \
"

S = "${UNPACKDIR}"

inherit margo-keys

# The word that bundles must name belongs to the machine.
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0644 ${S}/rauc/system.conf ${D}${sysconfdir}/rauc/system.conf
    sed -i 's/@COMPATIBLE@/${MARGO_COMPATIBLE}/' ${D}${sysconfdir}/rauc/system.conf
    install -D -m 0644 ${MARGO_KEYRING_FILE} ${D}${sysconfdir}/rauc/keyring.pem
    install -D -m 0644 ${S}/dbus-1/system.d/margo-rauc.conf ${D}${sysconfdir}/dbus-1/system.d/margo-rauc.conf
}
do_install[file-checksums] += "${MARGO_KEYRING_FILE}:True"

RCONFLICTS:${PN} = "rauc-conf"
