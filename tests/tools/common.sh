# Shared by tests/run and its parts. Sourced, never run.

say() { printf '%s\n' "$*"; }
banner() { printf '\n==== %s\n' "$*"; }

# Where downloads, the private engine and its data live; survives between runs.
work=${MARGO_TEST_WORK:-$PWD/target/test-work}
mkdir -p "$work"

# Uses sudo only where it is needed.
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# Whether as_root can work: it is root, or sudo asks for nothing, or there is somebody to ask.
may_be_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null && { sudo -n true || (: </dev/tty); } 2>/dev/null
}

# Installs those of the named Debian packages that are missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! may_be_root; then
        say "error: packages are missing, and this user cannot install them: ${missing[*]}"
        say "next step: as root: apt-get install --no-install-recommends ${missing[*]}"
        exit 1
    fi
    say "installing: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Cargo for what is released: the programs are the same in whatever directory and by whomever they are built. Their
# directory is target/device/release, apart from those of other builds, which have paths of this machine in them.
release_cargo() {
    local command=$1
    shift
    # Nothing in them depends on the date of the commit, and dependencies would be built anew for another one.
    env -u SOURCE_DATE_EPOCH RUSTC_WRAPPER="$PWD/tests/tools/rustc-without-paths" \
        cargo "$command" --release --locked --target-dir "$PWD/target/device" "$@"
}

# The test programs of the packages in these directories, as arguments for `cargo test --workspace`. Chosen by package instead,
# they would bring together other features of what they depend on, and all of that would be compiled anew for each part.
test_targets() {
    local package path name
    for package in "$@"; do
        for path in "$package"/tests/*; do
            name=$(basename "$path" .rs)
            if [[ $path == *.rs || -f $path/main.rs ]]; then echo "--test=$name"; fi
        done
    done
}

# build_programs PACKAGE…: their programs, for trying out. Within tests/run with the features that the tests have, for
# the same reason.
build_programs() {
    local package choice=()
    if [ -n "${MARGO_TESTS_RUN:-}" ]; then
        choice=(--workspace --bins --test e2e)
    else
        for package in "$@"; do choice+=(-p "$package"); done
    fi
    cargo build --locked --quiet "${choice[@]}"
}

# What everything here needs: packages, Rust, an engine. Leaves what is there alone.
prepare() {
    need_packages docker.io busybox-static iproute2 gcc libc6-dev ca-certificates
    local rust
    rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    command -v cargo >/dev/null || { say "cargo is missing: install Rust $rust or newer, then run this again"; exit 1; }
    say "$(cargo --version), needed: $rust or newer"
    start_engine
    say "Docker engine $(docker version --format '{{.Server.Version}}')"
}

# Makes `docker` and the tests talk to an engine: the system's if it answers, else one of our own.
start_engine() {
    export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
    export MARGO_REQUIRE_ENGINE=1
    if docker version >/dev/null 2>&1; then return 0; fi
    local dir=$work/engine
    mkdir -p "$dir"
    export DOCKER_HOST=unix:///var/run/docker.sock
    say "starting a Docker engine (log: $dir/dockerd.log)"
    # With networks in its records that a killed run left half made, Docker 20.10 panics.
    as_root rm -rf "$dir/data/network"
    # The engine's own pools end after about 31 networks, fewer than tests that run side by side may have.
    as_root sh -c "setsid dockerd --data-root '$dir/data' --exec-root '$dir/exec' --pidfile '$dir/pid' \
        --default-address-pool base=10.214.0.0/16,size=24 -H '$DOCKER_HOST' >'$dir/dockerd.log' 2>&1 </dev/null &"
    local tries=0
    until docker version >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then
            say "the Docker engine did not start; the end of its log:"
            tail -n 20 "$dir/dockerd.log"
            return 1
        fi
        sleep 1
    done
    echo "$$" > "$dir/owner"
}

# Stops the engine this very run started, if it did.
stop_engine() {
    local dir=$work/engine
    [ "$(cat "$dir/owner" 2>/dev/null)" = "$$" ] || return 0
    as_root kill "$(cat "$dir/pid")" 2>/dev/null || true
    rm -f "$dir/owner"
}

# Adds up what the test runners said and ends with the totals.
summarise() {
    local results=$1 failed_parts=$2 passed failed ignored
    read -r passed failed ignored < <(awk '/^test result: /{
        for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i; if ($(i+1) == "ignored;") s += $i }
    } END { print p + 0, f + 0, s + 0 }' "$results")
    if [ "$failed_parts" -gt 0 ] && [ "$failed" -eq 0 ]; then failed=$failed_parts; fi
    printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$ignored"
    [ "$failed" -eq 0 ] && [ "$failed_parts" -eq 0 ] && [ "$passed" -gt 0 ]
}
