# shellcheck shell=bash disable=SC2154  # the caller sets the names
# A bundle signed with a key that never leaves its token, by the commands of the README. Sourced by check-build.

check "README: a key made in a token, its certificate, and a bundle signed with it" run_block 3
token_update=$acme/margo-1.1.0.raucb
check "a device with the production image accepts that bundle" device_accepts "$token_update" 1.1.0

signed_in_token() {
    grep -q 'CN *= *Acme firmware signer in a token' <<< "$(MARGO_TOOLS_BIND=$area run qemu/tools rauc \
        --conf="$area/info.conf" info --keyring="$acme/ca.pem" --dump-cert "$1")"
}
printf '%s\n' '[system]' 'compatible=margo-qemux86-64' 'bootloader=noop' '[keyring]' "path=$acme/ca.pem" 'check-purpose=codesign' > "$area/info.conf"
check "the key in the token signed it" signed_in_token "$token_update"

in_token() {
    (export SOFTHSM2_CONF=$acme/softhsm2.conf RAUC_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so RAUC_PKCS11_PIN=$1 MARGO_TOOLS_BIND=$acme
        run qemu/bundle --production --version 1.1.0 --root "$image/root.squashfs" --keyring "$acme/ca.pem" --out "$area/in-token.raucb" \
            --cert "pkcs11:token=acme;object=$2;type=cert" --key 'pkcs11:token=acme;object=firmware;type=private')
}
# For that reason and no other, or it would prove nothing.
fails_without_result() {
    local reason=$1
    shift
    if in_token "$@" > "$area/in-token" 2>&1; then echo "--- it was made"; return 1; fi
    cat "$area/in-token"
    grep -qi "$reason" "$area/in-token" && [ ! -e "$area/in-token.raucb" ]
}
check "a wrong PIN makes no bundle" fails_without_result 'login\|PIN' 9999 firmware
check "a certificate that is not in the token makes no bundle" fails_without_result 'certificate' 1234 other
check "with the right PIN and certificate it is made" in_token 1234 firmware
