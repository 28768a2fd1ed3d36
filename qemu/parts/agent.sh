# shellcheck shell=bash disable=SC2154,SC2016,SC2034,SC1003  # the caller sets the names; text for other shells stays as it is
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

# Whoever builds with a newer C library than the device's gets programs that may not start there.
check_libc() {
    local program needed has
    has=$(sed -n 's/^libc6 \([0-9]*\.[0-9]*\).*/\1/p' "$base.manifest")
    for program in "$programs"/{margo-agent,margoctl,margo-boot-env}; do
        needed=$(readelf -V "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
        [ "$(printf '%s\n' "${needed#GLIBC_}" "$has" | sort -V | tail -n 1)" = "$has" ] ||
            die "$program needs ${needed/_/ }, and the device has $has" "build on a machine with an older C library, such as Debian 12"
    done
}

stage_agent() {
    local to=$1 lib=$1/usr/lib share=$1/usr/share command
    mkdir -p "$to/usr/bin" "$lib/margo-agent/config.d" "$lib/systemd/system" "$lib/systemd/catalog" "$lib/tmpfiles.d" \
        "$lib/sysusers.d" "$lib/udev/rules.d" "$share/bash-completion/completions" "$share/zsh/site-functions" \
        "$share/fish/vendor_completions.d" "$share/man/man1" "$share/doc/margo-agent"
    install -m 755 "$programs/margo-agent" "$programs/margoctl" "$to/usr/bin/"
    install -m 755 "$programs/margo-boot-env" "$lib/margo-agent/"
    install -m 644 agent/dist/config.d/*.toml "$lib/margo-agent/config.d/"
    cp -r agent/dist/systemd/system/. "$lib/systemd/system/"
    install -m 644 agent/dist/margo-agent.catalog "$lib/systemd/catalog/"
    install -m 644 agent/dist/tmpfiles.d/* "$lib/tmpfiles.d/"
    install -m 644 agent/dist/sysusers.d/* "$lib/sysusers.d/"
    install -m 644 agent/dist/udev/rules.d/* "$lib/udev/rules.d/"
    install -m 644 agent/dist/PROVISIONING.md agent/dist/CODES.md "$share/doc/margo-agent/"
    "$native/margoctl" completion bash > "$share/bash-completion/completions/margoctl"
    "$native/margoctl" completion zsh > "$share/zsh/site-functions/_margoctl"
    "$native/margoctl" completion fish > "$share/fish/vendor_completions.d/margoctl.fish"
    "$native/margoctl" man > "$share/man/man1/margoctl.1"
    for command in $(commands_of "$share/man/man1/margoctl.1"); do
        "$native/margoctl" man "$command" > "$share/man/man1/margoctl-$command.1"
    done
}

# The commands that the main manual page lists.
commands_of() { sed -n 's/^margoctl\\-\([a-z\\-]*\)(1)$/\1/p' "$1" | tr -d '\\'; }
