SUMMARY = "Settings, health checks and preloaded applications of this product"
DESCRIPTION = "Packs the directories named by MARGO_CONFIG_D, MARGO_HEALTH_DIR and MARGO_PRELOAD_DIR. Empty without them."
HOMEPAGE = "https://github.com/margo/margo-agent"
BUGTRACKER = "https://github.com/margo/margo-agent/issues"
SECTION = "base"
# What is packed is the product's own.
LICENSE = "CLOSED"
CVE_PRODUCT = "margo-agent"

inherit allarch features_check

# Its variables are set by conf/distro/include/margo.inc.
REQUIRED_DISTRO_FEATURES = "margo"

INHIBIT_DEFAULT_DEPS = "1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# site_copy NAME FROM TO MODE: the files below FROM, all with one mode.
site_copy() {
    [ -n "$2" ] || return 0
    case $2 in /*) ;; *) bbfatal "$1 = \"$2\" is no absolute path. Next step: write the whole path" ;; esac
    [ -d "$2" ] || bbfatal "$1 = \"$2\" is no directory. Next step: correct the path"
    (cd "$2" && find . -type f) | while read -r file; do
        install -D -m "$4" "$2/$file" "$3/$file"
    done
}

do_install() {
    site_copy MARGO_CONFIG_D "${MARGO_CONFIG_D}" ${D}${nonarch_libdir}/margo-agent/config.d 0644
    site_copy MARGO_HEALTH_DIR "${MARGO_HEALTH_DIR}" ${D}${nonarch_libdir}/margo/health.d 0755
    site_copy MARGO_PRELOAD_DIR "${MARGO_PRELOAD_DIR}" ${D}${datadir}/margo-agent/preload 0644
    # The agent looks into these two and nowhere else.
    for entry in ${D}${nonarch_libdir}/margo/health.d/*; do
        case ${entry##*/} in
        required.d | wanted.d | '*') ;;
        *) bbfatal "MARGO_HEALTH_DIR holds ${entry##*/}. Next step: put checks into required.d or wanted.d" ;;
        esac
    done
}
# Directories, which are not fetched because they are the product's own and have no name here.
do_install[file-checksums] += "${@' '.join(d.getVar(v) + ':True' for v in ('MARGO_CONFIG_D', 'MARGO_HEALTH_DIR', 'MARGO_PRELOAD_DIR') if d.getVar(v))}"

ALLOW_EMPTY:${PN} = "1"
FILES:${PN} += "${datadir}/margo-agent ${nonarch_libdir}/margo ${nonarch_libdir}/margo-agent"
RDEPENDS:${PN} += "margo-agent"
