# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# The agent's programs and files, as agent/dist/README.md says. Sourced by build.

# Sets `programs`, the directory with the built programs, and `native`, the one with programs that run here.
build_agent() {
    command -v cargo >/dev/null || die "cargo is missing" "install Rust (rustup, or your distribution's package), then run this again"
    native=$PWD/target/release
    programs=$native
    # Nothing in them depends on the date of the commit, and dependencies would be built anew for another one.
    step agent "building the agent" env -u SOURCE_DATE_EPOCH cargo build --release --locked -p margo-agent -p margo-boot-env
    [ "$arch" = "$(dpkg --print-architecture)" ] || cross_build_agent
}

stage_agent() {
    local to=$1 lib=$1/usr/lib
    mkdir -p "$to/usr/bin" "$lib/margo-agent/config.d" "$lib/systemd/system" "$lib/systemd/catalog" "$lib/tmpfiles.d" \
        "$lib/sysusers.d" "$lib/udev/rules.d" "$to/usr/share/bash-completion/completions" "$to/usr/share/man/man1"
    install -m 755 "$programs/margo-agent" "$programs/margoctl" "$to/usr/bin/"
    install -m 755 "$programs/margo-boot-env" "$lib/margo-agent/"
    install -m 644 agent/dist/config.d/*.toml "$lib/margo-agent/config.d/"
    cp -r agent/dist/systemd/system/. "$lib/systemd/system/"
    install -m 644 agent/dist/margo-agent.catalog "$lib/systemd/catalog/"
    install -m 644 agent/dist/tmpfiles.d/* "$lib/tmpfiles.d/"
    install -m 644 agent/dist/sysusers.d/* "$lib/sysusers.d/"
    install -m 644 agent/dist/udev/rules.d/* "$lib/udev/rules.d/"
    "$native/margoctl" completion bash > "$to/usr/share/bash-completion/completions/margoctl"
    "$native/margoctl" man > "$to/usr/share/man/man1/margoctl.1"
}
