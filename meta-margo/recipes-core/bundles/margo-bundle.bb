SUMMARY = "Signed update bundle of the OS of a Margo device"
HOMEPAGE = "https://margo.org"
LICENSE = "Apache-2.0"

MARGO_KEYS_NEEDED = "keyring signer"

inherit bundle margo-keys

RAUC_BUNDLE_COMPATIBLE = "${MARGO_COMPATIBLE}"
RAUC_BUNDLE_VERSION = "${MARGO_OS_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "${DISTRO_NAME} ${MARGO_OS_VERSION}"
# The time of the build would make every bundle another one.
RAUC_BUNDLE_BUILD = "${MARGO_OS_VERSION}"
RAUC_BUNDLE_FORMAT = "verity"

MARGO_BUNDLE_IMAGE ?= "margo-image"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "${MARGO_BUNDLE_IMAGE}"
RAUC_SLOT_rootfs[fstype] = "squashfs"
RAUC_SLOT_rootfs[rename] = "root.img"

RAUC_CERT_FILE = "${MARGO_CERT_FILE}"
RAUC_KEY_FILE = "${MARGO_KEY_FILE}"
RAUC_KEYRING_FILE = "${MARGO_KEYRING_FILE}"
