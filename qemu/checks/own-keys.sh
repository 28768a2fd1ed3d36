# shellcheck shell=bash disable=SC2154  # the caller sets the names
# An OEM's own CA, by the commands of the README as they stand there. Sourced by check-build.

# readme_block N: the Nth block of commands below "Your own keys".
readme_block() {
    awk -v want="$1" '/^## /{ inside = ($0 == "## Your own keys") } inside && /^```/{ code = !code; n += code; next }
        inside && code && n == want' qemu/README.md
}

# Runs such a block. Whoever asks for a passphrase gets one. The directory's name is that of the first block.
run_block() {
    local commands
    commands=$(readme_block "$1")
    [ -n "$commands" ] || { echo "qemu/README.md has no block $1 below \"Your own keys\""; return 1; }
    [ "$1" -eq 1 ] || commands="$(readme_block 1 | sed -n '1s/ &&.*//p')"$'\n'"$commands"
    # Without a terminal openssl asks on standard input. Sixteen bytes a line: each openssl takes a buffer full, not a line.
    run setsid --wait bash -euo pipefail -c "$commands" < <(yes acme-passphrase)
}

acme=$area/home/acme-keys
image=$first/target/qemu/image/amd64-1.0.0
update=$first/target/qemu/image/margo-1.1.0.raucb
check "README: making a CA and a signer" run_block 1
check "README: a production image and a production bundle" run_block 2
check "the CA's key and the signer's are nobody else's to read" test -z "$(find "$acme" -name '*.key' -perm /077)"
check "the disk image and the root image are there" test -s "$image/disk.img" -a -s "$image/root.squashfs"
check "nothing unfinished is left" test ! -e "$image/unfinished"

# What a device with that image does when it is given a bundle: its own system.conf and keyring, where it has them.
device=$first/target/device-files
device_reads() {
    bwrap --bind "$built/tools" / --dev /dev --proc /proc --ro-bind "$device/etc/rauc" /etc/rauc --tmpfs /tmp \
        --ro-bind "$1" /tmp/bundle.raucb --die-with-parent --setenv PATH /usr/bin:/bin --setenv LC_ALL C.UTF-8 \
        rauc info --output-format=json-2 /tmp/bundle.raucb
}
device_accepts() { device_reads "$1" > "$area/info.json" && grep -q "\"version\" *: *\"$2\"" "$area/info.json"; }
# For want of trust, and for no other reason.
device_refuses() {
    if device_reads "$1" > "$area/refused" 2>&1; then echo "the device accepted it"; return 1; fi
    cat "$area/refused"
    grep -q 'signature verification failed' "$area/refused"
}
# What this and other checks look at.
unpack_image() {
    run qemu/tools unsquashfs -quiet -no-progress -dest "$device" "$image/root.squashfs" etc/rauc usr/bin/margo-agent \
        usr/bin/margoctl usr/share usr/lib/margo-agent usr/lib/systemd usr/lib/tmpfiles.d usr/lib/sysusers.d usr/lib/udev/rules.d
}
check "the image can be read" unpack_image
check "the image trusts that CA and nothing else" cmp "$acme/ca.pem" "$device/etc/rauc/keyring.pem"
check "a device with that image accepts the bundle" device_accepts "$update" 1.1.0

development=$area/development.raucb
check "a development bundle of the same image is made" \
    run qemu/bundle --version 1.1.0 --root "$image/root.squashfs" --out "$development"
check "a device with that image refuses the development bundle" device_refuses "$development"
stranger=$area/stranger.raucb
check "a bundle that nobody's CA signed is made" \
    run qemu/bundle --version 1.1.0 --root "$image/root.squashfs" --kind bad-signature --out "$stranger"
check "a device with that image refuses it" device_refuses "$stranger"

# The image that the device will run afterwards.
unpack_bundle() { run qemu/tools unsquashfs -quiet -no-progress -force -dest "$1" "$2"; }
carries_root() {
    unpack_bundle "$first/target/unpacked" "$1"
    cmp "$first/target/unpacked/root.img" "$2"
}
check "the bundle carries the root image of its version" carries_root "$update" "$first/target/qemu/image/amd64-1.1.0/root.squashfs"
