# shellcheck shell=bash disable=SC2154  # the caller sets the names
# What a production build refuses: with a clear error, an exit code, and nothing in the place of a result.
# Sourced by check-build.

out=$area/refused-out

# refused TEXT REASON COMMAND…: fails, says why and what to do next, prints no result and leaves none.
refused() {
    local text=$1 reason=$2
    shift 2
    rm -rf "$out"
    check "refused: $text" refuses "$reason" "$@"
}
refuses() {
    local reason=$1 result=0
    shift
    (run "$@" --out "$out") >"$area/stdout" 2>"$area/stderr" || result=$?
    cat "$area/stdout" "$area/stderr"
    [ "$result" -ne 0 ] || { echo "--- it was not refused"; return 1; }
    [ ! -s "$area/stdout" ] || { echo "--- it printed a result"; return 1; }
    grep -q "^error: .*$reason" "$area/stderr" || { echo "--- the error does not say: $reason"; return 1; }
    grep -q '^next step: ' "$area/stderr" || { echo "--- no next step"; return 1; }
    [ -z "$(find "$out" "$out.part" ! -type d 2>/dev/null)" ] || { echo "--- it left:"; find "$out"; return 1; }
}

theirs=(--keyring "$first/target/qemu/keys/ca.pem")
ours=(--keyring "$acme/ca.pem")
signed=(--cert "$acme/signer.pem" --key "$acme/signer.key")
build=(qemu/build --production --version 9.9.9)
bundle=(qemu/bundle --production --version 1.1.0 --root "$image/root.squashfs")

refused "a build without keyring" "needs your own keyring" "${build[@]}"
refused "a build with the development keyring" "development certificate" "${build[@]}" "${theirs[@]}"
cat "$acme/ca.pem" "$first/target/qemu/keys/ca.pem" > "$area/both.pem"
refused "a build with both keyrings in one file" "development certificate" "${build[@]}" --keyring "$area/both.pem"
echo 'not a certificate' > "$area/none.pem"
refused "a build with a keyring without certificate" "no certificate" "${build[@]}" --keyring "$area/none.pem"
refused "a build with a keyring that is not there" "no such file" "${build[@]}" --keyring "$area/nowhere.pem"
refused "a build of a variant" "broken images" "${build[@]}" "${ours[@]}" --variant panic
refused "a build with an overlay that is not there" "not a directory" "${build[@]}" "${ours[@]}" --overlay "$area/nowhere"
refused "a build with a time that is none" "SOURCE_DATE_EPOCH" env SOURCE_DATE_EPOCH=yesterday "${build[@]}" "${ours[@]}"
mkdir -p "$area/overlay/etc/rauc"
cp "$first/target/qemu/keys/ca.pem" "$area/overlay/etc/rauc/keyring.pem"
refused "a build with an overlay that brings the development keyring" "/etc/rauc/keyring.pem in the image holds a development certificate" \
    "${build[@]}" "${ours[@]}" --overlay "$area/overlay"

refused "a bundle without keys" "needs your own keys" "${bundle[@]}" "${ours[@]}"
refused "a bundle without keyring" "needs your own keyring" "${bundle[@]}" "${signed[@]}"
refused "a bundle with the development keyring" "development certificate" "${bundle[@]}" "${theirs[@]}" "${signed[@]}"
refused "a bundle signed with the development signer" "development certificate" "${bundle[@]}" "${ours[@]}" \
    --cert "$first/target/qemu/keys/signer.pem" --key "$first/target/qemu/keys/signer.key"
refused "a bundle with the key of the development signer" "signed with a development key" "${bundle[@]}" "${ours[@]}" \
    --cert "$acme/signer.pem" --key "$first/target/qemu/keys/signer.key"
refused "a certificate without its key" "belong together" "${bundle[@]}" "${ours[@]}" --cert "$acme/signer.pem"
for kind in panic bad-signature truncated wrong-compatible; do
    refused "a bundle of kind $kind" "broken bundle" "${bundle[@]}" "${ours[@]}" "${signed[@]}" --kind "$kind"
done

# The development key under a name of one's own: only the finished signature shows it.
certify_development_key() {
    openssl x509 -x509toreq -in "$first/target/qemu/keys/signer.pem" -signkey "$first/target/qemu/keys/signer.key" -out "$area/renamed.csr"
    openssl x509 -req -in "$area/renamed.csr" -CA "$acme/ca.pem" -CAkey "$acme/ca.key" -passin 'pass:acme-passphrase' -days 30 \
        -extfile "$acme/signer.ext" -subj '/O=Acme/CN=Acme signer' -out "$area/renamed.pem"
    cp "$first/target/qemu/keys/signer.key" "$area/renamed.key"
}

# Images that no build would make, with the one file that matters: what an overlay can bring in more than one way.
make_root() {
    rm -rf "$first/target/odd" "$first/target/odd.squashfs"
    mkdir -p "$first/target/odd/etc/rauc/more"
    printf '[system]\ncompatible=margo-qemux86-64\n\n[keyring]\n%s\n' "$1" > "$first/target/odd/etc/rauc/system.conf"
    cp "$acme/ca.pem" "$first/target/odd/etc/rauc/keyring.pem"
    cp "$first/target/qemu/keys/ca.pem" "$first/target/odd/etc/rauc/other.pem"
    cp "$first/target/qemu/keys/ca.pem" "$first/target/odd/etc/rauc/more/one.pem"
    run qemu/tools mksquashfs "$first/target/odd" "$first/target/odd.squashfs" -quiet -no-progress -all-root >"$said" 2>&1
}
odd=(qemu/bundle --production --version 1.1.0 --root "$first/target/odd.squashfs" "${ours[@]}" "${signed[@]}")
make_root 'path = /etc/rauc/keyring.pem'
check "a bundle of an image with one's own keyring is made" run "${odd[@]}" --out "$area/odd.raucb"
check "certifying the development key anew" certify_development_key
refused "a bundle signed with the development key under another name" "signed with a development key" \
    qemu/bundle --production --version 1.1.0 --root "$first/target/odd.squashfs" "${ours[@]}" --cert "$area/renamed.pem" --key "$area/renamed.key"
make_root 'path = /etc/rauc/other.pem'
refused "a bundle of an image whose system.conf names another keyring" "/etc/rauc/other.pem in the image holds a development" "${odd[@]}"
make_root 'path=other.pem'
refused "the same by a relative name" "/etc/rauc/other.pem in the image holds a development" "${odd[@]}"
make_root $'path=/etc/rauc/keyring.pem\ndirectory=/etc/rauc/more'
refused "a bundle of an image with a directory of keyrings" "/etc/rauc/more/one.pem in the image holds a development" "${odd[@]}"
make_root 'path=/data/keyring.pem'
refused "a bundle of an image whose keyring is not in it" "there is no /data/keyring.pem in the image" "${odd[@]}"
make_root 'check-purpose=codesign'
refused "a bundle of an image that names no keyring" "names no keyring" "${odd[@]}"

# A refusal takes nothing away that was there.
earlier_stays() {
    mkdir -p "$area/earlier"
    echo earlier > "$area/earlier/disk.img"
    ! run "${build[@]}" --out "$area/earlier" || return 1
    grep -q earlier "$area/earlier/disk.img"
}
check "a refused build leaves an earlier result alone" earlier_stays
