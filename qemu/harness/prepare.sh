# shellcheck shell=bash
# Shared by qemu/test, qemu/bench, qemu/demo and qemu/run. Sourced, never run; leaves the shell in the project's directory.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
source tests/tools/common.sh

# The device's processor, from the words of the caller's own command line. The harness reads the same words.
arch_of() {
    local arch=amd64
    while [ $# -gt 0 ]; do
        case $1 in
            --arch) arch=${2:-} ;;
            --arch=*) arch=${1#--arch=} ;;
        esac
        shift
    done
    echo "$arch"
}
arch=$(arch_of "$@")
# What is emulated on top of a foreign processor's emulation is slower still than what scenarios allow for.
[ "$arch" = amd64 ] || export MARGO_QEMU_PATIENCE=${MARGO_QEMU_PATIENCE:-3}

# Makes what is missing: packages, tools root, image. What is there and fits is not built again.
prepare_device() {
    # busybox-static: what the apps of the scenarios are made of.
    need_packages gcc libc6-dev ca-certificates busybox-static
    command -v cargo >/dev/null || { say "cargo is missing: install Rust, then run this again"; exit 1; }
    # shellcheck disable=SC2046  # nothing, or one word
    qemu/tools-root $([ "$arch" = amd64 ] || echo "$arch")
    if [ -z "${MARGO_QEMU_IMAGE:-}" ]; then
        MARGO_QEMU_IMAGE=$(qemu/build --arch "$arch")/disk.img
        export MARGO_QEMU_IMAGE
    fi
    build_programs margo-qemu margo-lab
}

# prepare_bundles VERSION[:KIND]…: the update bundles that are missing.
prepare_bundles() {
    local item version kind
    for item in "$@"; do
        version=${item%%:*} kind=good
        [ "$item" = "$version" ] || kind=${item#*:}
        qemu/bundle --arch "$arch" --version "$version" --kind "$kind" >/dev/null
    done
}
