# shellcheck shell=bash disable=SC2016  # text for awk and other shells stays as it is
# Shared by the scripts of qemu/. Sourced, never run; leaves the shell in the project's directory.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/tools/common.sh
source tests/tools/common.sh

# Everything that is built or downloaded here; safe to remove.
built=$PWD/target/qemu
suite=trixie
mkdir -p "$built/log"

die() { printf 'error: %s\n' "$1" >&2; printf 'next step: %s\n' "$2" >&2; exit 1; }

# Progress goes to standard error, so that standard output can carry a result.
progress() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

# step NAME TEXT COMMAND…: runs a command that can take long. What it says goes to a file; of a failure the end is shown.
step() {
    local log=$built/log/$1.log text=$2 started=$SECONDS
    shift 2
    progress "$text"
    local result=0
    # Not as a condition, which would switch `set -e` off inside the command.
    set +e
    (set -e; "$@") >"$log" 2>&1 </dev/null
    result=$?
    set -e
    if [ "$result" -eq 0 ]; then
        [ $((SECONDS - started)) -lt 3 ] || progress "  done in $((SECONDS - started)) s"
        return 0
    fi
    printf 'error: failed: %s\n--- the end of %s:\n' "$text" "$log" >&2
    tail -n 15 "$log" >&2
    printf 'next step: read the log above, remove the cause, and run the same command again\n' >&2
    exit 1
}

# One builder at a time: the rest of this shell's life holds the lock of that name.
hold_lock() {
    exec 8>"$built/$1.lock"
    flock -n 8 || { progress "waiting for another run to finish ($1)"; flock 8; }
}

# The Debian mirror this machine uses already. Nothing when it has none: then mmdebstrap's own default is right.
mirror_of() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 2>/dev/null |
        awk -v kind="$1" '$2 == "Debian" && ($3 ~ /-security$/) == (kind == "security") { print $1; exit }'
}

# Sources of the suite for mmdebstrap, one a line, security updates included.
debian_sources() {
    local main security
    main=$(mirror_of main)
    security=$(mirror_of security)
    [ -n "$main" ] || return 0
    echo "deb $main $suite main"
    [ -z "$security" ] || echo "deb $security $suite-security main"
}

# make_root ARCH LIST OUTPUT [OPTION…]: a Debian root with the packages of a list, as a tar archive. Packages are kept.
make_root() {
    local arch=$1 list=$2 output=$3 cache=$built/cache/$1 sources
    shift 3
    mkdir -p "$cache"
    sources=$(debian_sources)
    printf '%s\n' "$sources" | sed '/^$/d' | mmdebstrap --variant=minbase --format=tar --architectures="$arch" \
        --include="$(packages_of "$list")" \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
        --skip=download/empty --skip=essential/unlink \
        --setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
        --setup-hook="sync-in $cache /var/cache/apt/archives" \
        --customize-hook="sync-out /var/cache/apt/archives $cache" \
        "$@" "$suite" "$output.part" ${sources:+-}
    mv "$output.part" "$output"
}

# Names of a package list: one a line, `#` begins a reason.
packages_of() { sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$1" | paste -sd, -; }

# A short name of what goes into something: changes exactly when the named files or words do.
input_of() { cat "$@" | sha256sum | cut -c 1-16; }
