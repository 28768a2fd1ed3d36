# The agent's programs and files, as agent/dist/README.md says. Sourced by build.

crates() { echo margo-agent; [ ! -f agent/boot-env/Cargo.toml ] || echo margo-boot-env; }

# Sets `programs`, the directory with the built programs.
build_agent() {
    local arguments=() crate
    for crate in $(crates); do arguments+=(-p "$crate"); done
    programs=$PWD/target/release
    command -v cargo >/dev/null || die "cargo is missing" "install Rust (rustup, or your distribution's package), then run this again"
    step agent "building the agent" cargo build --release --locked "${arguments[@]}"
}

stage_agent() {
    local to=$1 command
    mkdir -p "$to/usr/bin" "$to/usr/lib/margo-agent/config.d" "$to/usr/lib/systemd/system" "$to/usr/lib/systemd/catalog" \
        "$to/usr/lib/tmpfiles.d" "$to/usr/lib/sysusers.d" "$to/usr/share/bash-completion/completions" "$to/usr/share/man/man1"
    install -m 755 "$programs/margo-agent" "$programs/margoctl" "$to/usr/bin/"
    [ ! -f agent/boot-env/Cargo.toml ] || install -m 755 "$programs/margo-boot-env" "$to/usr/lib/margo-agent/"
    install -m 644 agent/dist/config.d/*.toml "$to/usr/lib/margo-agent/config.d/"
    cp -r agent/dist/systemd/system/. "$to/usr/lib/systemd/system/"
    install -m 644 agent/dist/margo-agent.catalog "$to/usr/lib/systemd/catalog/"
    install -m 644 agent/dist/tmpfiles.d/* "$to/usr/lib/tmpfiles.d/"
    install -m 644 agent/dist/sysusers.d/* "$to/usr/lib/sysusers.d/"
    "$(native_margoctl)" completion bash > "$to/usr/share/bash-completion/completions/margoctl"
    "$(native_margoctl)" man > "$to/usr/share/man/man1/margoctl.1"
}

# One that runs here, for what a program says about itself.
native_margoctl() { echo "$programs/margoctl"; }
