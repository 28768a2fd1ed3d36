"""Stand-ins for the layers ours builds on: enough for BitBake's parser to read our files without a checkout.

Classes and recipes are empty, so their behaviour is not checked; that is what the full form is for. It also compares these
lists with the checkouts. A class or recipe that is missing here is an error, so a mistyped name is found.
"""

from layer import SERIES

# Collection: its layers' directory in the checkouts, classes, recipes.
LAYERS = {
    "core": ("openembedded-core/meta", [
        "allarch", "bash-completion", "cargo", "cargo-update-recipe-crates", "core-image", "deploy", "features_check", "image",
        "image-artifact-names", "kernel-arch", "native", "nopackages", "packagegroup", "rm_work", "systemd", "useradd",
    ], ["grub-efi_2.14", "libubootenv_0.3.7", "linux-yocto_6.18", "u-boot_2026.01"]),
    "rauc": ("meta-rauc", ["bundle"], ["rauc-conf", "rauc_1.15.2"]),
    "virtualization-layer": ("meta-virtualization", [], ["containerd_git", "docker-moby_git"]),
    "raspberrypi": ("meta-raspberrypi", [], ["linux-raspberrypi_6.18", "rpi-cmdline", "rpi-config_git", "rpi-u-boot-scr"]),
}

# Variables of these layers that neither the configuration below nor oelint-adv's data know.
VARIABLES = {"SDIMG_KERNELIMAGE"}

# The configuration that every BitBake needs. Names that openembedded-core sets and our files refer to.
BITBAKE_CONF = r"""
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'none'}"
PV = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1] or '1.0'}"
PR = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[2] or 'r0'}"
PF = "${PN}-${PV}-${PR}"
P = "${PN}-${PV}"
BPN = "${PN}"
BP = "${BPN}-${PV}"
TMPDIR = "${TOPDIR}/tmp"
CACHE = "${TMPDIR}/cache"
PERSISTENT_DIR = "${TOPDIR}/cache"
DL_DIR = "${TOPDIR}/downloads"
WORKDIR = "${TMPDIR}/${PF}"
UNPACKDIR = "${WORKDIR}/sources"
S = "${UNPACKDIR}/${BP}"
B = "${S}"
D = "${WORKDIR}/image"
T = "${WORKDIR}/temp"
STAMP = "${TMPDIR}/stamps/${PF}"
FILE_DIRNAME = "${@os.path.dirname(d.getVar('FILE', False) or '')}"
THISDIR = "${@os.path.dirname(d.getVar('FILE'))}"
FILESPATH = "${FILESEXTRAPATHS}:${FILE_DIRNAME}/${BP}:${FILE_DIRNAME}/${BPN}:${FILE_DIRNAME}/files"
FILESEXTRAPATHS ?= "__default"
MACHINE ??= "qemux86-64"
DISTRO ??= "nodistro"
DISTRO_VERSION ??= "0"
TARGET_OS = "linux"
TRANSLATED_TARGET_ARCH ??= "x86-64"
CLASSOVERRIDE ?= "class-target"
OVERRIDES = "${TARGET_OS}:${TRANSLATED_TARGET_ARCH}:pn-${PN}:layer-${FILE_LAYERNAME}:${MACHINEOVERRIDES}:${DISTROOVERRIDES}:${CLASSOVERRIDE}"
FILE_LAYERNAME ??= "none"
MACHINEOVERRIDES ??= "${MACHINE}"
DISTROOVERRIDES ??= "${DISTRO}"
prefix = "/usr"
bindir = "${prefix}/bin"
sbindir = "${prefix}/sbin"
libdir = "${prefix}/lib"
nonarch_libdir = "${prefix}/lib"
nonarch_base_libdir = "/usr/lib"
datadir = "${prefix}/share"
docdir = "${datadir}/doc"
mandir = "${datadir}/man"
sysconfdir = "/etc"
localstatedir = "/var"
systemd_unitdir = "${nonarch_libdir}/systemd"
systemd_system_unitdir = "${systemd_unitdir}/system"
require conf/local.conf
include conf/machine/${MACHINE}.conf
include conf/distro/${DISTRO}.conf
DISTRO_FEATURES:append = "${@' systemd usrmerge' if d.getVar('INIT_MANAGER') == 'systemd' else ''}"
"""

BASE_CLASS = r"""
addtask fetch
addtask unpack after do_fetch
addtask patch after do_unpack
addtask configure after do_patch
addtask compile after do_configure
addtask install after do_compile
addtask package after do_install
addtask build after do_package
do_build() {
    :
}
python do_unpack() {
    pass
}
"""


def write(directory, collections):
    """Makes the layers of these collections and returns their paths."""
    paths = []
    for collection in collections:
        _, classes, recipes = LAYERS[collection]
        path = directory / f"standin-{collection}"
        (path / "conf").mkdir(parents=True)
        conf = [f'BBPATH .= ":{path}"', f'BBFILES += "{path}/recipes/*.bb"', f'BBFILE_COLLECTIONS += "{collection}"',
                f'BBFILE_PATTERN_{collection} = "^{path}/"', f'BBFILE_PRIORITY_{collection} = "5"',
                f'LAYERSERIES_COMPAT_{collection} = "{SERIES}"', f'BBFILE_PATTERN_IGNORE_EMPTY_{collection} = "1"']
        for folder, names in (("classes", classes), ("classes-recipe", [])):
            (path / folder).mkdir()
            for name in names:
                (path / folder / f"{name}.bbclass").write_text(f"# stands in for {name}\n")
        (path / "recipes").mkdir()
        for name in recipes:
            (path / "recipes" / f"{name}.bb").write_text(f'SUMMARY = "stands in for {name}"\n')
        if collection == "core":
            conf.append(f'LAYERSERIES_CORENAMES = "{SERIES}"')
            (path / "conf" / "bitbake.conf").write_text(BITBAKE_CONF)
            (path / "classes" / "base.bbclass").write_text(BASE_CLASS)
        (path / "conf" / "layer.conf").write_text("\n".join(conf) + "\n")
        paths.append(path)
    return paths
