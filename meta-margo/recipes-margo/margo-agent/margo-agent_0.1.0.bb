SUMMARY = "Margo WFM client for fail-safe edge devices"
SUMMARY:margo-boot-env = "Writes the boot environment of an A/B device in place, in two copies"
SUMMARY:margoctl = "Shows what margo-agent does and why; provisions a device"
DESCRIPTION = "Holds the device at its fleet manager's desired state: applications on Docker, firmware through RAUC."
HOMEPAGE = "https://margo.org"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "margo-agent"

# What writes completions and man pages: the same program for the build host.
DEPENDS:append:class-target = " margo-agent-native"

# From the repository that holds this layer: the agent that is built is the one the layer was tested with.
FILESEXTRAPATHS:prepend := "${MARGO_SOURCE_DIR}:"
SRC_URI = "\
    file://Cargo.lock;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://Cargo.toml;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://LICENSE;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://agent/Cargo.toml;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://agent/boot-env/Cargo.toml;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://agent/boot-env/src;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://agent/dist;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://agent/src;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://state-machine/Cargo.toml;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    file://state-machine/src;subdir=${BB_GIT_DEFAULT_DESTSUFFIX} \
    ${@' '.join('file://%s/Cargo.toml;subdir=%s' % (m, d.getVar('BB_GIT_DEFAULT_DESTSUFFIX')) for m in d.getVar('OTHER_MEMBERS').split())} \
"
require ${BPN}-crates.inc

# Members of the workspace that are not built here. Cargo wants to see their manifests, because Cargo.lock covers them
# too; their sources are not fetched, so that a changed test does not build the agent anew.
OTHER_MEMBERS = "qemu/harness qemu/write-log tests/bench tests/demo tests/e2e tests/lab"

inherit cargo cargo-update-recipe-crates margo-checkout systemd useradd

CARGO_BUILD_FLAGS += "--package margo-agent --package margo-boot-env --bins"
# Symbols go into the -dbg package, which is made by Yocto.
export CARGO_PROFILE_RELEASE_STRIP = "none"
# The one for the build host only writes texts: it need not be small or fast, and is compiled in a fraction of the time.
CARGO_PROFILE_RELEASE_LTO:class-native = "off"
CARGO_PROFILE_RELEASE_LTO[export] = "1"
CARGO_PROFILE_RELEASE_OPT_LEVEL:class-native = "0"
CARGO_PROFILE_RELEASE_OPT_LEVEL[export] = "1"
CARGO_PROFILE_RELEASE_CODEGEN_UNITS:class-native = "16"
CARGO_PROFILE_RELEASE_CODEGEN_UNITS[export] = "1"
# C and assembler of crates lie beside ${S}, which the usual maps do not cover: the path of the build was in -dbg.
DEBUG_PREFIX_MAP:append:class-target = " -ffile-prefix-map=${UNPACKDIR}/cargo_home=${TARGET_DBGSRC_DIR}/sources/cargo_home"

do_configure:append() {
    for member in ${OTHER_MEMBERS}; do
        sed -i '/^default-run/d' ${S}/$member/Cargo.toml
        install -d ${S}/$member/src
        touch ${S}/$member/src/lib.rs
    done
}

do_install() {
    built=${B}/target/${CARGO_TARGET_SUBDIR}
    install -d ${D}${bindir}
    install -m 0755 $built/margoctl ${D}${bindir}/
}

# Where recipes find it.
do_install:append:class-native() {
    install -m 0755 $built/margo-boot-env ${D}${bindir}/
}

do_install:append:class-target() {
    install -m 0755 $built/margo-agent ${D}${bindir}/
    install -D -m 0755 $built/margo-boot-env ${D}${nonarch_libdir}/margo-agent/margo-boot-env

    dist=${S}/agent/dist
    install -d ${D}${nonarch_libdir}/margo-agent/config.d
    install -m 0644 $dist/config.d/*.toml ${D}${nonarch_libdir}/margo-agent/config.d/
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 $dist/systemd/system/* ${D}${systemd_system_unitdir}/
    install -D -m 0644 $dist/margo-agent.catalog ${D}${nonarch_libdir}/systemd/catalog/margo-agent.catalog
    install -D -m 0644 $dist/tmpfiles.d/margo-agent.conf ${D}${nonarch_libdir}/tmpfiles.d/margo-agent.conf
    install -D -m 0644 $dist/sysusers.d/margo-agent.conf ${D}${nonarch_libdir}/sysusers.d/margo-agent.conf
    install -d ${D}${nonarch_libdir}/udev/rules.d
    install -m 0644 $dist/udev/rules.d/* ${D}${nonarch_libdir}/udev/rules.d/
    install -d ${D}${docdir}/margo-agent
    install -m 0644 $dist/PROVISIONING.md $dist/CODES.md ${D}${docdir}/margo-agent/

    # What only the program itself knows: its commands. Asked of the one for the build host, same sources.
    sh ${MARGO_LAYER_DIR}/os/margoctl-texts margoctl ${D}${datadir}
}
do_install[file-checksums] += "${MARGO_LAYER_DIR}/os/margoctl-texts:True"

SYSTEMD_PACKAGES = "${PN}"
SYSTEMD_SERVICE:${PN} = "margo-agent.service margo-provision.service"

# Members may use margoctl. sysusers.d says the same, for a system that makes its groups at boot.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system margo"

# margo-agent is the last one in the list, so that the others take their files out first.
PACKAGE_BEFORE_PN = "margo-boot-env margoctl margoctl-bash-completion margoctl-fish-completion margoctl-zsh-completion"

FILES:${PN} += "\
    ${nonarch_libdir}/margo-agent/config.d \
    ${nonarch_libdir}/systemd/catalog \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/udev/rules.d \
    ${systemd_system_unitdir} \
"
FILES:margo-boot-env += "${nonarch_libdir}/margo-agent/margo-boot-env"
FILES:margoctl += "${bindir}/margoctl"
FILES:margoctl-bash-completion += "${datadir}/bash-completion"
FILES:margoctl-fish-completion += "${datadir}/fish"
FILES:margoctl-zsh-completion += "${datadir}/zsh"

# The units call margoctl, to take credentials and drives.
RDEPENDS:${PN} += "margoctl"
RDEPENDS:margoctl-bash-completion += "bash-completion"
RRECOMMENDS:${PN} += "ca-certificates"

BBCLASSEXTEND = "native"
