# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# The Debian part of the root, which is the same for every version. Sourced by build.

# Debian packages of another processor run programs of their own when they are installed. The kernel hands those to
# qemu-user, by binfmt_misc, which belongs to the machine: a container cannot switch it on by itself.
can_run_packages() {
    local interpreter=aarch64
    [ "$arch" != "$(dpkg --print-architecture)" ] || return 0
    [ "$arch" = arm64 ] || interpreter=x86_64
    need_packages qemu-user-static binfmt-support arch-test >&2
    # In a container or without an init nobody has registered what the package brings.
    if [ "$(id -u)" -eq 0 ] && [ ! -e "/proc/sys/fs/binfmt_misc/qemu-$interpreter" ]; then
        [ -e /proc/sys/fs/binfmt_misc/status ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || true
        update-binfmts --enable "qemu-$interpreter" >/dev/null 2>&1 || true
    fi
    # F: the interpreter is kept open, so that it is there inside another root.
    grep -qs '^flags:.*F' "/proc/sys/fs/binfmt_misc/qemu-$interpreter" ||
        die "this machine cannot run programs for $arch: its kernel has no binfmt_misc entry qemu-$interpreter" \
            "as root, outside of any container: systemctl restart systemd-binfmt, or: update-binfmts --enable qemu-$interpreter"
}

# Sets `base`; makes it when its package list, initramfs settings or this file changed.
make_base() {
    local input list=$built/device-$arch.list
    sed "s/@ARCH@/$arch/" qemu/packages/device > "$list"
    [ ! -f "qemu/packages/device-$arch" ] || cat "qemu/packages/device-$arch" >> "$list"
    input=$(input_of "$list" qemu/parts/base.sh qemu/initramfs/*/margo)
    base=$built/base-$arch-$input.tar
    [ ! -f "$base" ] || return 0
    need_namespaces
    rm -f "$built/base-$arch-"*
    # The base outlives commits, so the times inside the initramfs are not those of one, but of a fixed day (2025-01-01).
    local -x SOURCE_DATE_EPOCH=1735689600 TZ=UTC
    # The initramfs is made once, at the end: packages would make it twice, which takes minutes when programs are emulated.
    step "base-$arch" "making the Debian part of the device OS ($arch; once, a minute or more)" \
        make_root "$arch" "$list" "$base" \
        --essential-hook='cd "$1/usr/share" && mkdir -p initramfs-tools/conf.d initramfs-tools/modules.d initramfs-tools/hooks initramfs-tools/scripts/init-bottom' \
        --essential-hook="copy-in qemu/initramfs/conf.d/margo /usr/share/initramfs-tools/conf.d" \
        --essential-hook="copy-in qemu/initramfs/modules.d/margo /usr/share/initramfs-tools/modules.d" \
        --essential-hook="copy-in qemu/initramfs/hooks/margo /usr/share/initramfs-tools/hooks" \
        --essential-hook="copy-in qemu/initramfs/init-bottom/margo /usr/share/initramfs-tools/scripts/init-bottom" \
        --essential-hook='dpkg-divert --root="$1" --quiet --local --rename --add /usr/sbin/update-initramfs; ln -s ../bin/true "$1/usr/sbin/update-initramfs"' \
        --customize-hook='rm "$1/usr/sbin/update-initramfs"; dpkg-divert --root="$1" --quiet --rename --remove /usr/sbin/update-initramfs' \
        --customize-hook='cd "$1/usr/share/initramfs-tools" && rm hooks/udev scripts/init-top/udev scripts/init-bottom/udev' \
        --customize-hook='chroot "$1" update-initramfs -c -k all' \
        --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
        --customize-hook='dpkg-query --admindir="$1/var/lib/dpkg" -W -f '\''${Package} ${Version}\n'\'' > "$1/base.manifest"' \
        --customize-hook="download /base.manifest $base.manifest" \
        --customize-hook='rm "$1/base.manifest"'
}
