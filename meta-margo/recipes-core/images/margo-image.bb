SUMMARY = "The OS of a Margo device"
DESCRIPTION = "A read-only image for the slots A and B, and a disk image to flash: the agent, Docker, RAUC. Nobody can log in."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "images"
LICENSE = "Apache-2.0"
CVE_PRODUCT = "margo-agent"

require margo-image.inc
