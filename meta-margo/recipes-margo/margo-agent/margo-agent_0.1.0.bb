SUMMARY = "Margo WFM client for fail-safe edge devices"
DESCRIPTION = "Holds the device at the desired state of its fleet manager: pulls applications as OCI artifacts, runs \
them on Docker, restores them after a reboot without network, and updates the firmware through RAUC."
HOMEPAGE = "https://margo.org"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

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

inherit cargo cargo-update-recipe-crates systemd useradd

# Of the target, what is installed; of the build host, what writes completions, man pages and a new boot environment.
CARGO_BUILD_FLAGS += "--package margo-agent --package margo-boot-env --bins"
DEPENDS:append:class-target = " margo-agent-native"
# Symbols go into the -dbg package, which is made by Yocto.
export CARGO_PROFILE_RELEASE_STRIP = "none"

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
    install -d ${D}${datadir}/bash-completion/completions ${D}${datadir}/zsh/site-functions \
        ${D}${datadir}/fish/vendor_completions.d ${D}${mandir}/man1
    margoctl completion bash >${D}${datadir}/bash-completion/completions/margoctl
    margoctl completion zsh >${D}${datadir}/zsh/site-functions/_margoctl
    margoctl completion fish >${D}${datadir}/fish/vendor_completions.d/margoctl.fish
    margoctl man >${D}${mandir}/man1/margoctl.1
}

SYSTEMD_PACKAGES = "${PN}"
SYSTEMD_SERVICE:${PN} = "margo-agent.service margo-provision.service"

# Members may use margoctl. sysusers.d says the same, for a system that makes its groups at boot.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system margo"

PACKAGE_BEFORE_PN = "margoctl margoctl-bash-completion margoctl-zsh-completion margoctl-fish-completion margo-boot-env"
FILES:${PN} += "\
    ${nonarch_libdir}/margo-agent/config.d \
    ${nonarch_libdir}/systemd/catalog \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/udev/rules.d \
    ${systemd_system_unitdir} \
"
# The units call it, to take credentials and drives.
RDEPENDS:${PN} = "margoctl"
RRECOMMENDS:${PN} = "ca-certificates"

SUMMARY:margoctl = "Shows what margo-agent does and why; provisions a device"
FILES:margoctl = "${bindir}/margoctl"
RRECOMMENDS:margoctl = ""

SUMMARY:margo-boot-env = "Writes the boot environment of an A/B device in place, in two copies"
FILES:margo-boot-env = "${nonarch_libdir}/margo-agent/margo-boot-env"

FILES:margoctl-bash-completion = "${datadir}/bash-completion"
RDEPENDS:margoctl-bash-completion = "bash-completion"
FILES:margoctl-zsh-completion = "${datadir}/zsh"
FILES:margoctl-fish-completion = "${datadir}/fish"

BBCLASSEXTEND = "native"
