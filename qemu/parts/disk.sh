# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# The disk image: partition table, boot loader, boot environment, the root image in slot A. Sourced by build.
# Neither root nor loop devices are needed: each partition is made as a file and copied to its place.

mapfile -t grub_modules < <(sed 's/ *#.*//; /^$/d' meta-margo/os/boot/grub-modules)

# GRUB as one file; it goes on with /grub/grub.cfg of the partition it was loaded from.
make_grub() {
    local to=$1 format=x86_64-efi
    [ "$arch" = amd64 ] || format=arm64-efi
    qemu/tools grub-mkimage -O "$format" -d "$(grub_directory)" -p /grub -o "$to" "${grub_modules[@]}"
}

grub_directory() {
    case $arch in
        amd64) echo /usr/lib/grub/x86_64-efi ;;
        # That package exists for arm64 only, so its modules came with the base.
        arm64) echo "$built/grub-arm64/usr/lib/grub/arm64-efi" ;;
    esac
}

unpack_grub_modules() {
    [ "$arch" = arm64 ] || return 0
    rm -rf "$built/grub-arm64"
    mkdir -p "$built/grub-arm64"
    tar -C "$built/grub-arm64" -xf "$base" ./usr/lib/grub
}

# make_fat FILE MIB BITS LABEL ID DIRECTORY: a FAT file system with the files of a directory, without any random part.
make_fat() {
    local file=$1 mib=$2 bits=$3 label=$4 id=$5 from=$6
    rm -f "$file"
    qemu/tools mkfs.vfat -C -F "$bits" -n "$label" -i "$id" --invariant "$file" $((mib * 1024))
    find "$from" -mindepth 1 -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    qemu/tools sh -c 'MTOOLS_SKIP_CHECK=1 mcopy -s -m -Q -i "$1" "$2"/* ::' sh "$file" "$from"
}

# A new device runs slot A; slot B is empty, hence bad. The environment and its second copy.
make_boot_environment() {
    "$native/margo-boot-env" init "$1/grubenv"
    cp "$1/grubenv" "$1/grubenv.bak"
}

# Start and size of partition NAME in bytes.
place_of() {
    qemu/tools sfdisk --json "$1" | tr -d '\n' | sed 's/},/}\n/g' |
        sed -n "s/.*\"start\": *\([0-9]*\), *\"size\": *\([0-9]*\),.*\"name\": *\"$2\".*/\1 \2/p" |
        awk '{ print $1 * 512, $2 * 512 }'
}

# put DISK NAME FILE: copies a file to a partition.
put() {
    local start size
    read -r start size < <(place_of "$1" "$2")
    [ "$(stat -c %s "$3")" -le "$size" ] ||
        { echo "$3 is larger than the partition $2 ($size bytes; meta-margo/os/partitions)" >&2; return 1; }
    dd if="$3" of="$1" bs=1M seek="$start" oflag=seek_bytes conv=notrunc,sparse status=none
}

# Images and bundles of the other processor carry its name.
image_name() { case $arch in amd64) echo margo ;; *) echo "margo-$arch" ;; esac; }

mib_of() { sed -n "s/^name=$1,.* size=\([0-9]*\)MiB.*/\1/p" meta-margo/os/partitions; }

assemble_disk() {
    local parts=$1 disk=$2 total loader=BOOTX64.EFI
    [ "$arch" = amd64 ] || loader=BOOTAA64.EFI
    mkdir -p "$parts/esp/EFI/BOOT" "$parts/esp/grub" "$parts/env"
    unpack_grub_modules
    make_grub "$parts/esp/EFI/BOOT/$loader"
    cp meta-margo/os/boot/grub.cfg "$parts/esp/grub/grub.cfg"
    make_boot_environment "$parts/env"
    make_fat "$parts/esp.img" "$(mib_of esp)" 16 ESP 4d415247 "$parts/esp"
    make_fat "$parts/env.img" "$(mib_of env)" 16 ENV 4d415245 "$parts/env"
    truncate -s "$(mib_of data)M" "$parts/data.img"
    # Fixed identities make two builds equal. Blocks, inodes and journal are sized for the grown file system, not for this one.
    qemu/tools mke2fs -q -t ext4 -b 4096 -i 16384 -L data -U 6d617267-6f00-4000-8000-0000000000da -J size=32 \
        -E hash_seed=6d617267-6f00-4000-8000-0000000000db,root_owner=0:0 "$parts/data.img"
    total=$(sed -n 's/.*size=\([0-9]*\)MiB.*/\1/p' meta-margo/os/partitions | awk '{ t += $1 } END { print t + 2 }')
    rm -f "$disk"
    truncate -s "${total}M" "$disk"
    { echo 'label-id: 6d617267-6f00-4000-8000-000000000000'; grep -v '^#' meta-margo/os/partitions; } |
        qemu/tools sfdisk --quiet "$disk"
    put "$disk" esp "$parts/esp.img"
    put "$disk" env "$parts/env.img"
    put "$disk" root_a "$new/root.squashfs"
    put "$disk" data "$parts/data.img"
}

make_disk() {
    local parts=$built/stage.$$/disk
    mkdir -p "$parts"
    MARGO_TOOLS_BIND=$(dirs_outside "$new") \
        step "disk-$arch-$version" "making the disk image" assemble_disk "$parts" "$new/disk.img"
    # What scenarios can ask for. Debian's kernel for arm64 has no driver for any watchdog that QEMU's machine has.
    [ "$arch" = amd64 ] || echo "boot-env firmware guard provisioning" > "$new/disk.features"
}
