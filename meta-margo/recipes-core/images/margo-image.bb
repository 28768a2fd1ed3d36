SUMMARY = "The OS of a Margo device"
DESCRIPTION = "A read-only slot image for A/B updates and a disk image to flash, with the agent, Docker and RAUC."
HOMEPAGE = "https://margo.org"
LICENSE = "Apache-2.0"

inherit core-image margo-image

IMAGE_INSTALL = "packagegroup-core-boot packagegroup-margo kernel-image ${CORE_IMAGE_EXTRA_INSTALL}"
