SUMMARY = "Signed update bundle of the OS of a Margo device"
DESCRIPTION = "RAUC bundle of format verity with the slot image of MARGO_BUNDLE_IMAGE, checked as a device checks it."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "images"
LICENSE = "Apache-2.0"
CVE_PRODUCT = "margo-agent"

inherit bundle features_check margo-keys

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

KEYS_NEEDED = "keyring signer"
KEYS_TASK = "do_bundle"

RAUC_BUNDLE_COMPATIBLE = "${MARGO_COMPATIBLE}"
RAUC_BUNDLE_VERSION = "${MARGO_OS_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "${DISTRO_NAME} ${MARGO_OS_VERSION}"
# The time of the build, which is RAUC's default, would make every bundle another one.
RAUC_BUNDLE_BUILD = "${MARGO_OS_VERSION}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "${MARGO_BUNDLE_IMAGE}"
RAUC_SLOT_rootfs[fstype] = "squashfs"
RAUC_SLOT_rootfs[rename] = "root.img"
BUNDLE_NAME = "${BUNDLE_BASENAME}-${MACHINE}-${MARGO_OS_VERSION}"

RAUC_CERT_FILE = "${SIGNER_CERT_FILE}"
RAUC_KEY_FILE = "${SIGNER_KEY_FILE}"
RAUC_KEYRING_FILE = "${BUNDLE_KEYRING_FILE}"
BUNDLE_ARGS:append = " --keyring=${BUNDLE_KEYRING_FILE} --conf=${WORKDIR}/check.conf"
BUNDLE_ARGS:append = " ${@'--intermediate=' + d.getVar('MARGO_BUNDLE_INTERMEDIATE') if d.getVar('MARGO_BUNDLE_INTERMEDIATE') else ''}"
# The image is compressed already.
BUNDLE_ARGS:append = " --mksquashfs-args='-noD -noF'"

# A key in a token: the module that knows it. The PIN comes from the URI (pin-source=) or the token asks for none.
export RAUC_PKCS11_MODULE = "${MARGO_PKCS11_MODULE}"
DEPENDS:append = " ${@'libp11-native' if 'pkcs11:' in (d.getVar('MARGO_BUNDLE_KEY') or '') + (d.getVar('MARGO_BUNDLE_CERT') or '') else ''}"

# As the device checks: a certificate for signing code.
do_bundle:prepend() {
    margo_refuse_development_keys ${BUNDLE_KEYRING_FILE}
    size=$(stat -L -c %s ${BUNDLE_DIR}/root.img)
    if [ "$size" -gt $(expr ${MARGO_ROOT_MIB} \* 1048576) ]; then
        bbfatal "the image has $size bytes, a slot ${MARGO_ROOT_MIB} MiB. Next step: leave packages out, or make the slots \
of new devices larger with MARGO_ROOT_MIB"
    fi
    printf '%s\n' '[system]' 'compatible=${MARGO_COMPATIBLE}' 'bootloader=noop' \
        '[keyring]' 'path=${BUNDLE_KEYRING_FILE}' 'check-purpose=codesign' >${WORKDIR}/check.conf
}
do_bundle:append() {
    ${STAGING_BINDIR_NATIVE}/rauc --conf=${WORKDIR}/check.conf info --keyring=${BUNDLE_KEYRING_FILE} --dump-cert \
        ${B}/bundle.raucb >${WORKDIR}/bundle.info
    # Whoever signed it in the end, also out of a token.
    if [ "${MARGO_DEVELOPMENT_KEYS}" != 1 ] && grep -q 'Margo development' ${WORKDIR}/bundle.info; then
        bbfatal "the bundle was signed with a development key. Next step: set MARGO_BUNDLE_CERT and MARGO_BUNDLE_KEY to your own"
    fi
}
