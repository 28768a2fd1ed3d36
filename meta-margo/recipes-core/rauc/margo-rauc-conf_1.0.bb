SUMMARY = "RAUC's configuration, keyring and D-Bus policy on a Margo device"
DESCRIPTION = "system.conf for this machine, the authorities that sign its bundles, and a policy that leaves RAUC to root."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${MARGO_SOURCE_DIR}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "margo-agent"

FILESEXTRAPATHS:prepend := "${MARGO_LAYER_DIR}/os/rootfs/etc:"
SRC_URI = "\
    file://dbus-1/system.d/margo-rauc.conf \
    file://rauc/system.conf \
"

S = "${UNPACKDIR}"

inherit features_check margo-keys

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    margo_refuse_development_keys ${BUNDLE_KEYRING_FILE}
    install -D -m 0644 ${S}/rauc/system.conf ${D}${sysconfdir}/rauc/system.conf
    sed -i 's/@COMPATIBLE@/${MARGO_COMPATIBLE}/' ${D}${sysconfdir}/rauc/system.conf
    install -D -m 0644 ${BUNDLE_KEYRING_FILE} ${D}${sysconfdir}/rauc/keyring.pem
    install -D -m 0644 ${S}/dbus-1/system.d/margo-rauc.conf ${D}${sysconfdir}/dbus-1/system.d/margo-rauc.conf
}

# The word that bundles must name belongs to the machine.
PACKAGE_ARCH = "${MACHINE_ARCH}"

RPROVIDES:${PN} += "virtual-rauc-conf"
RCONFLICTS:${PN} = "rauc-conf"
