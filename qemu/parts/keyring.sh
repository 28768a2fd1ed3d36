# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# Which certificates an image trusts. Sourced by build and bundle.

# Subjects of the certificates in a PEM file, one a line.
subjects_of() {
    qemu/tools openssl crl2pkcs7 -nocrl -certfile /dev/stdin < "$1" 2>/dev/null |
        qemu/tools openssl pkcs7 -print_certs -noout 2>/dev/null | sed -n 's/^subject=//p'
}

# Development keys lie readable on the machine that made them: whoever has them owns the device.
refuse_development_keys() {
    local subjects
    [ -f "$1" ] || die "a production build needs your own keyring" "give your CA: --keyring ca.pem (qemu/README.md, \"Your own keys\")"
    subjects=$(subjects_of "$1")
    [ -n "$subjects" ] || die "$1 holds no certificate" "give a PEM file with your CA: --keyring ca.pem"
    if grep -q 'Margo development' <<< "$subjects"; then
        die "$1 holds a development certificate, and this is a production build" \
            "make your own CA (qemu/README.md, \"Your own keys\") and give it with --keyring; sign with --cert and --key"
    fi
}
