SUMMARY = "The OS of a Margo device, to work on: people can log in"
DESCRIPTION = "margo-image with ssh, a shell on the consoles and tools. Root has no password: never for devices that leave \
the house. It is what `bitbake -c testimage` tests, because those tests come in by ssh."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "images"
LICENSE = "Apache-2.0"

require margo-image.inc

IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password ssh-server-openssh"
BAD_RECOMMENDATIONS += "margo-os-no-login"
MARGO_LOGIN = "1"

IMAGE_INSTALL += "margo-os-login margoctl-bash-completion less strace tcpdump"
# The tests of this layer: meta-margo/lib/oeqa/runtime/cases/margo.py.
TEST_SUITES = "ping ssh margo"
