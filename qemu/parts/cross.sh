# shellcheck shell=bash disable=SC2154,SC2016,SC2034  # the caller sets the names; text for other shells stays as it is
# The cross root: a Debian directory with Rust, a linker and the libraries of the other processor. Sourced by build.
# Distributions' Rust has no standard library for other processors, and rustup is not everywhere; Debian has both.

# Sets `cross`; makes it when its package list or this file changed.
make_cross_root() {
    local input list=$built/cross-$arch.list archive=$built/cross-$arch.tar
    cross=$built/cross-$arch
    case $arch in
        arm64) cross_triple=aarch64-linux-gnu cross_target=aarch64-unknown-linux-gnu ;;
        amd64) cross_triple=x86_64-linux-gnu cross_target=x86_64-unknown-linux-gnu ;;
    esac
    sed "s/@ARCH@/$arch/; s/@TRIPLE@/${cross_triple//_/-}/" qemu/packages/cross > "$list"
    input=$(input_of "$list" qemu/parts/cross.sh)
    [ "$(cat "$cross/.input" 2>/dev/null || true)" != "$input" ] || return 0
    need_namespaces
    hold_lock "cross-$arch"
    # The agent needs a newer Rust than the device's suite has. The newest suite that keeps all processors in step has it;
    # backports do not: there, one processor's Rust can be of another version for days, and the two do not go together.
    # Its package lists say how long they may be used, which a mirror that is kept as it was on some day cannot heed; the
    # signatures count all the same.
    local suite=forky
    step "cross-$arch" "making the cross root for $arch (once, a minute)" \
        make_root "$(dpkg --print-architecture),$arch" "$list" "$archive" --aptopt='Acquire::Check-Valid-Until "false"'
    step "cross-unpack-$arch" "unpacking the cross root" unpack_cross_root "$archive" "$input"
}

unpack_cross_root() {
    rm -rf "$cross.new"
    mkdir -p "$cross.new"
    tar -C "$cross.new" --exclude='./dev/*' --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' -xf "$1"
    mkdir -p "$cross.new/proc" "$cross.new/dev"
    rm -f "$1"
    echo "$2" > "$cross.new/.input"
    rm -rf "$cross"
    mv "$cross.new" "$cross"
}

# Runs cargo in the cross root: with this project and the crates that the host's cargo has fetched, without network.
cross_cargo() {
    local home=${CARGO_HOME:-$HOME/.cargo} word=${cross_target//-/_}
    bwrap --bind "$cross" / --dev /dev --proc /proc --tmpfs /tmp --bind "$PWD" "$PWD" --bind "$home" "$home" --chdir "$PWD" \
        --unshare-net --die-with-parent --setenv CARGO_HOME "$home" --setenv RUSTC_WRAPPER "$PWD/tests/tools/rustc-without-paths" --setenv PATH /usr/bin:/bin --setenv LC_ALL C.UTF-8 \
        --setenv "CARGO_TARGET_${word^^}_LINKER" "$cross_triple-gcc" --setenv "CC_$word" "$cross_triple-gcc" \
        --setenv "AR_$word" "$cross_triple-ar" -- cargo "$@" --offline --target "$cross_target" --target-dir "$PWD/target/cross"
}

# The agent for another processor. Sets `programs`.
cross_build_agent() {
    make_cross_root
    step "fetch-$arch" "fetching the agent's crates" cargo fetch --locked
    step "agent-$arch" "building the agent for $arch (the first time some minutes)" \
        cross_cargo build --release --locked -p margo-agent -p margo-boot-env --bins
    compiler=$(dpkg-query --admindir="$cross/var/lib/dpkg" -W -f '${Package} ${Version} ' rustc "gcc-${cross_triple//_/-}")
    programs=$PWD/target/cross/$cross_target/release
}
