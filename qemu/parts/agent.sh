# shellcheck shell=bash disable=SC2154,SC2016,SC2034  # the caller sets the names; text for other shells stays as it is
# The agent's programs and files, as agent/dist/README.md says. Sourced by build.

# Sets `programs`, the directory with the built programs, and `native`, the one with programs that run here.
build_agent() {
    command -v cargo >/dev/null || die "cargo is missing" "install Rust (rustup, or your distribution's package), then run this again"
    native=$PWD/target/device/release
    programs=$native
    compiler="$(rustc --version), $(cc --version | head -n 1)"
    step agent "building the agent" release_cargo build -p margo-agent -p margo-boot-env
    [ "$arch" = "$(dpkg --print-architecture)" ] || cross_build_agent
}

# The agent and the base, side by side where both are missing: linking the one and unpacking the other are mostly one
# processor's work each. Sets what build_agent and make_base set.
make_agent_and_base() {
    local making
    (hold_lock "build-$arch"; make_base) &
    making=$!
    build_agent
    wait "$making" || exit 1
    make_base
}

# Whoever builds with a newer C library than the device's gets programs that may not start there.
check_libc() {
    local program needed has
    has=$(sed -n 's/^libc6 \([0-9]*\.[0-9]*\).*/\1/p' "$base.manifest")
    for program in "$programs"/{margo-agent,margoctl,margo-boot-env}; do
        needed=$(readelf -V "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1) || true # a static one needs none
        [ "$(printf '%s\n' "${needed#GLIBC_}" "$has" | sort -V | tail -n 1)" = "$has" ] ||
            die "$program needs ${needed/_/ }, and the device has $has" "build on a machine with an older C library, such as Debian 12"
    done
}

stage_agent() {
    local to=$1 lib=$1/usr/lib share=$1/usr/share
    mkdir -p "$to/usr/bin" "$lib/margo-agent/config.d" "$lib/systemd/system" "$lib/systemd/catalog" "$lib/tmpfiles.d" \
        "$lib/sysusers.d" "$lib/udev/rules.d" "$share/doc/margo-agent"
    install -m 755 "$programs/margo-agent" "$programs/margoctl" "$to/usr/bin/"
    install -m 755 "$programs/margo-boot-env" "$lib/margo-agent/"
    install -m 644 agent/dist/config.d/*.toml "$lib/margo-agent/config.d/"
    cp -r agent/dist/systemd/system/. "$lib/systemd/system/"
    install -m 644 agent/dist/margo-agent.catalog "$lib/systemd/catalog/"
    install -m 644 agent/dist/tmpfiles.d/* "$lib/tmpfiles.d/"
    install -m 644 agent/dist/sysusers.d/* "$lib/sysusers.d/"
    install -m 644 agent/dist/udev/rules.d/* "$lib/udev/rules.d/"
    install -m 644 agent/dist/PROVISIONING.md agent/dist/CODES.md "$share/doc/margo-agent/"
    meta-margo/os/margoctl-texts "$native/margoctl" "$share"
}
