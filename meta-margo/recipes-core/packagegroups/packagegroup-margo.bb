SUMMARY = "What makes an image the OS of a Margo device"
HOMEPAGE = "https://margo.org"
LICENSE = "Apache-2.0"

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

RDEPENDS:${PN} = "\
    ca-certificates \
    dosfstools \
    e2fsprogs-e2fsck \
    e2fsprogs-resize2fs \
    iproute2 \
    kmod \
    margo-agent \
    margo-boot-env \
    margo-os \
    margo-rauc-conf \
    margoctl \
    rauc \
    rauc-service \
    ${MARGO_ENGINE} \
"

# The container engine. Empty: an image without one, whose agent says that it has none.
MARGO_ENGINE ??= "docker-moby"
