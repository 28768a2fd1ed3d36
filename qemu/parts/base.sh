# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# The Debian part of the root, which is the same for every version. Sourced by build.

# Sets `base`; makes it when its package list, initramfs settings or this file changed.
make_base() {
    local input list=$built/device-$arch.list
    sed "s/@ARCH@/$arch/" qemu/packages/device > "$list"
    [ ! -f "qemu/packages/device-$arch" ] || cat "qemu/packages/device-$arch" >> "$list"
    input=$(input_of "$list" qemu/parts/base.sh qemu/initramfs/*/margo)
    base=$built/base-$arch-$input.tar
    [ ! -f "$base" ] || return 0
    need_packages mmdebstrap debian-archive-keyring uidmap >&2
    # Maintainer scripts of another processor run through qemu-user, which the kernel finds by binfmt_misc.
    [ "$arch" = "$(dpkg --print-architecture)" ] || need_packages qemu-user-static binfmt-support >&2
    rm -f "$built/base-$arch-"*
    step "base-$arch" "making the Debian part of the device OS ($arch; once, a minute or more)" \
        make_root "$arch" "$list" "$base" \
        --essential-hook='mkdir -p "$1/usr/share/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
        --essential-hook="copy-in qemu/initramfs/conf.d/margo /usr/share/initramfs-tools/conf.d" \
        --essential-hook="copy-in qemu/initramfs/modules.d/margo /usr/share/initramfs-tools/modules.d" \
        --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
        --customize-hook='dpkg-query --admindir="$1/var/lib/dpkg" -W -f '\''${Package} ${Version}\n'\'' > "$1/base.manifest"' \
        --customize-hook="download /base.manifest $base.manifest" \
        --customize-hook='rm "$1/base.manifest"'
}
