# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# Which certificates an image trusts, and what a production build refuses. Sourced by build and bundle.

own_keys='qemu/README.md, "Your own keys"'

# Subjects of the certificates in a PEM file, one a line.
subjects_of() {
    qemu/tools openssl crl2pkcs7 -nocrl -certfile /dev/stdin < "$1" 2>/dev/null |
        qemu/tools openssl pkcs7 -print_certs -noout 2>/dev/null | sed -n 's/^subject=//p'
}

# Development keys lie readable on the machine that made them: whoever has them owns the device.
# The second word says where the file is from.
refuse_development_keys() {
    local subjects name=${2:-$1}
    [ -f "$1" ] || die "there is no $name, and a production build needs your own keyring" "give your CA: --keyring ca.pem ($own_keys)"
    subjects=$(subjects_of "$1") || true
    [ -n "$subjects" ] || die "$name holds no certificate" "give a PEM file with your CA: --keyring ca.pem ($own_keys)"
    ! grep -q 'Margo development' <<< "$subjects" ||
        die "$name holds a development certificate, and this is a production build" \
            "make your own CA ($own_keys) and give it with --keyring; sign with --cert and --key"
}

# value_of FILE SECTION KEY: one setting of a system.conf.
value_of() {
    sed -n "/^\[$2\]/,/^\[/s/^[[:space:]]*$3[[:space:]]*=[[:space:]]*\(.*[^[:space:]]\)[[:space:]]*\$/\1/p" "$1" | tail -n 1
}

# What a device with this root image will check bundles with. Read from the image itself, with the words of its own
# system.conf: an overlay may have replaced any of it, and only what is really in there counts.
refuse_image_with_development_keys() {
    local image=$1 work=$2 path directory file
    rm -rf "$work" && mkdir -p "$work"
    qemu/tools unsquashfs -cat "$image" etc/rauc/system.conf > "$work/system.conf" 2>/dev/null ||
        die "$image has no /etc/rauc/system.conf, so it cannot be told which bundles it accepts" "build it with qemu/build --production"
    path=$(value_of "$work/system.conf" keyring path)
    directory=$(value_of "$work/system.conf" keyring directory)
    [ -n "$path$directory" ] ||
        die "/etc/rauc/system.conf in the image names no keyring" "give it path= in its section [keyring]"
    # A path beside system.conf can be given by its name alone.
    case $path in '' | /*) ;; *) path=/etc/rauc/$path ;; esac
    case $directory in '' | /*) ;; *) directory=/etc/rauc/$directory ;; esac
    if [ -n "$path" ]; then
        qemu/tools unsquashfs -cat "$image" "${path#/}" > "$work/keyring.pem" 2>/dev/null || rm -f "$work/keyring.pem"
        refuse_development_keys "$work/keyring.pem" "$path in the image"
    fi
    if [ -n "$directory" ]; then
        qemu/tools unsquashfs -quiet -no-progress -follow-symlinks -dest "$work/directory" "$image" "${directory#/}" >/dev/null 2>&1 || true
        for file in "$work/directory$directory"/*; do
            refuse_development_keys "$file" "$directory/$(basename "$file") in the image"
        done
    fi
}

# The name of a public key, as `rauc info --dump-cert` prints it.
key_name_of() {
    qemu/tools openssl x509 -in "$1" -noout -pubkey | qemu/tools openssl pkey -pubin -outform DER | sha256sum | cut -d ' ' -f 1
}

# Whoever signed it in the end, whatever was given: what rauc says about the finished bundle. A development key that was
# certified by another CA is one still.
refuse_development_signer() {
    local dumped=$1 file
    ! grep -q 'Margo development' "$dumped" || refuse_signer
    for file in "$built"/keys/*.pem; do
        [ ! -f "$file" ] || ! tr -d ':' < "$dumped" | grep -qi "$(key_name_of "$file")" || refuse_signer
    done
}

refuse_signer() {
    die "the bundle was signed with a development key, and this is a production build" "sign with your own: --cert and --key ($own_keys)"
}
