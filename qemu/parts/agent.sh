# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# The agent's programs and files, as agent/dist/README.md says. Sourced by build.

# Sets `programs`, the directory with the built programs, and `native`, the one with programs that run here.
build_agent() {
    command -v cargo >/dev/null || die "cargo is missing" "install Rust (rustup, or your distribution's package), then run this again"
    native=$PWD/target/release
    programs=$native
    step agent "building the agent" cargo build --release --locked -p margo-agent -p margo-boot-env
    [ "$arch" = "$(dpkg --print-architecture)" ] || cross_build_agent
}

# For another processor: with the standard library of that processor where Rust has it, else built from its source.
cross_build_agent() {
    local target=aarch64-unknown-linux-gnu linker=gcc-aarch64-linux-gnu sysroot arguments=()
    [ "$arch" = arm64 ] || { target=x86_64-unknown-linux-gnu linker=gcc-x86-64-linux-gnu; }
    need_packages "$linker" "libc6-dev-$arch-cross" >&2
    sysroot=$(rustc --print sysroot)
    if [ ! -d "$sysroot/lib/rustlib/$target/lib" ]; then
        [ -d "$sysroot/lib/rustlib/src/rust/library" ] || die "Rust has no standard library for $target" \
            "run: rustup target add $target (or, to build it from source: rustup component add rust-src)"
        export RUSTC_BOOTSTRAP=1
        arguments=('-Zbuild-std=std,panic_abort')
    fi
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc CC_x86_64_unknown_linux_gnu=x86_64-linux-gnu-gcc
    step "agent-$arch" "building the agent for $arch" \
        cargo build --release --locked --target "$target" "${arguments[@]}" -p margo-agent -p margo-boot-env
    programs=$PWD/target/$target/release
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
