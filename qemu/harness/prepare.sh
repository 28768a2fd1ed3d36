# Shared by qemu/test, qemu/demo and qemu/run. Sourced, never run; leaves the shell in the project's directory.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/tools/common.sh

# Makes what is missing: packages, tools root, image. What is there and fits is not built again.
prepare_device() {
    # busybox-static: what the apps of the scenarios are made of.
    need_packages gcc libc6-dev ca-certificates busybox-static
    command -v cargo >/dev/null || { say "cargo is missing: install Rust, then run this again"; exit 1; }
    qemu/tools-root
    if [ -z "${MARGO_QEMU_IMAGE:-}" ]; then
        MARGO_QEMU_IMAGE=$(qemu/build)/disk.img
        export MARGO_QEMU_IMAGE
    fi
    cargo build --locked --quiet -p margo-qemu -p margo-lab
}

# prepare_bundles VERSION[:KIND]…: the update bundles that are missing.
prepare_bundles() {
    local item version kind
    for item in "$@"; do
        version=${item%%:*} kind=good
        [ "$item" = "$version" ] || kind=${item#*:}
        qemu/bundle --version "$version" --kind "$kind" >/dev/null
    done
}
