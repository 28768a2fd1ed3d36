# shellcheck shell=bash disable=SC2154  # the caller sets the names
# The same sources give the same image in another directory, for another user, in another time zone, with another mask
# of permissions. In its full form with an agent and a Debian base made anew. Sourced by check-build.

elsewhere=$(mktemp -d /tmp/margo-check.XXXXXX)
second=$elsewhere/another/directory
copy_project "$second"
# Without git and with other times of the files: the time in the image can only be the one that is given.
find "$second" -type f -exec touch -d '2001-02-03' {} +
cp "$acme/ca.pem" "$second/ca.pem"
mkdir -p "$second/home"
as_whom=(env)
if [ -n "$full" ]; then
    # A cargo home of another name, with the crates that are there already.
    mkdir -p "$second/home/cargo/registry"
    cp -r "${CARGO_HOME:-$HOME/.cargo}/registry/"{cache,index} "$second/home/cargo/registry/"
    as_whom+=("CARGO_HOME=$second/home/cargo" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" "PATH=$PATH")
    cp -r "$built/cache" "$second/target/qemu/"
else
    share_agent "$second"
    share_base "$second"
    as_whom+=("PATH=$second/target/bin:/usr/bin:/bin")
fi
who="the same user"
if [ "$(id -u)" -ne 0 ] || [ -n "$full" ]; then
    [ -z "$full" ] || skipped "a build by somebody who is not root: in the full form the compiler may be this user's alone"
elif ! setpriv --reuid 54321 --regid 54321 --clear-groups test -x "$built/tools/usr/bin"; then
    skipped "a build by somebody who is not root: $built is closed to others"
else
    who="somebody who is not root and can never be"
    chown -R 54321:54321 "$elsewhere"
    as_whom=(setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs "${as_whom[@]}")
fi

# Only what is set here, and the proxy that packages may need.
there() {
    (cd "$second/home" && umask 077 &&
        env -i ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} HOME="$second/home" TZ=Asia/Kolkata \
            LC_ALL=C SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "${as_whom[@]}" "$@")
}
check "the same image in another directory, by $who" \
    there ../qemu/build --production --version 1.0.0 --keyring ../ca.pem --out ../result
check "root.squashfs is equal, byte for byte" cmp "$image/root.squashfs" "$second/result/root.squashfs"
check "disk.img is equal, byte for byte" cmp "$image/disk.img" "$second/result/disk.img"
same_manifest() { diff <(grep -v '^source ' "$image/image.manifest") <(grep -v '^source ' "$second/result/image.manifest"); }
check "image.manifest is equal but for the revision of the sources" same_manifest
if [ -n "$full" ]; then
    for program in margo-agent margoctl margo-boot-env; do
        check "$program, compiled there, is equal" cmp "target/device/release/$program" "$second/target/device/release/$program"
    done
    check "the Debian base, made there, is equal" cmp "$base" "$second/target/qemu/$(basename "$base")"
fi

time_of() { run qemu/tools unsquashfs -fstime "$1"; }
check "the image carries the time of the sources" test "$(time_of "$image/root.squashfs")" = "$SOURCE_DATE_EPOCH"

# A bundle's signature and its verity salt are new each time; what it carries must not be.
dated_bundle() {
    run env SOURCE_DATE_EPOCH=1700000000 TZ="$2" qemu/bundle --version 1.0.0 --root "$image/root.squashfs" --out "$first/target/$1.raucb"
    [ "$(time_of "$first/target/$1.raucb")" = 1700000000 ]
}
check "a bundle carries the time that is given" dated_bundle one UTC
# Another age of the file that goes into it.
touch -d '2031-01-01' "$image/root.squashfs"
check "another bundle of the same image" dated_bundle two Asia/Kolkata
payload_is_equal() {
    local size
    # Where the superblock of squashfs holds the size of what follows.
    size=$(od -A n -t u8 -j 40 -N 8 "$first/target/one.raucb" | tr -d ' ')
    [ "$size" -gt "$(stat -c %s "$image/root.squashfs")" ]
    cmp -n "$size" "$first/target/one.raucb" "$first/target/two.raucb"
}
check "both carry the same, byte for byte" payload_is_equal

closed_tmpdir() {
    mkdir -p "$elsewhere/open" "$elsewhere/closed/inside"
    chmod 755 "$elsewhere" "$elsewhere/open" && chmod 700 "$elsewhere/closed"
    [ "$(TMPDIR=$elsewhere/open open_tmpdir)" = "$elsewhere/open" ]
    [ "$(TMPDIR=$elsewhere/closed/inside open_tmpdir)" = /tmp ]
    [ "$(TMPDIR=$elsewhere/nowhere open_tmpdir)" = /tmp ]
}
check "roots are not unpacked where subordinate users cannot get to" closed_tmpdir

# A machine without the right to install, and a user without subordinate ids: told, with the way on.
tells() {
    local text=$1
    shift
    if "$@" > "$area/tells" 2>&1; then echo "it did not fail"; return 1; fi
    cat "$area/tells"
    grep -q "^error: .*$text" "$area/tells" && grep -q '^next step: as root: ' "$area/tells"
}
no_root=(setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs setsid --wait bash -euo pipefail -c)
if [ "$(id -u)" -eq 0 ] && [ -z "$full" ] && [ "$who" != "the same user" ]; then
    check "a package that is missing is named to somebody who cannot install it" \
        tells 'margo-no-such-package' "${no_root[@]}" "cd '$second'; source qemu/lib.sh; need_packages margo-no-such-package"
    check "a user without subordinate ids is told how to get them" \
        tells 'no subordinate ids' "${no_root[@]}" "cd '$second'; source qemu/lib.sh; need_namespaces"
fi
