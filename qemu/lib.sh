# shellcheck shell=bash disable=SC2016  # text for awk and other shells stays as it is
# Shared by the scripts of qemu/. Sourced, never run; leaves the shell in the project's directory.

called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/tools/common.sh
source tests/tools/common.sh

# Everything that is built or downloaded here; safe to remove.
built=$PWD/target/qemu
suite=trixie
mkdir -p "$built/log"

die() { printf 'error: %s\n' "$1" >&2; printf 'next step: %s\n' "$2" >&2; exit 1; }

# The path of a file that the command line names, from whatever directory the command was called.
given() { (cd "$called_from" && realpath -m -- "$1"); }

# Results must not depend on the mask of permissions of whoever builds.
umask 022

# Everything that is made carries one time: SOURCE_DATE_EPOCH where it is given, else that of the sources.
use_source_date() {
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}"
    # From FAT's first day to squashfs's last.
    { [[ $SOURCE_DATE_EPOCH =~ ^[0-9]{1,10}$ ]] && ((SOURCE_DATE_EPOCH >= 315532800 && SOURCE_DATE_EPOCH < 4294967296)); } ||
        die "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH: not a time that file systems can hold" \
            "give seconds since 1970, in the years 1980 to 2105, or leave it out for the time of the last commit"
    export SOURCE_DATE_EPOCH
}

# Roots are made and used in namespaces, so that nobody has to be root. Not every machine lets every user have them.
need_namespaces() {
    local user said
    need_packages mmdebstrap bubblewrap debian-archive-keyring uidmap >&2
    said=$(bwrap --bind / / true 2>&1) ||
        die "bubblewrap cannot make a namespace here: $said" \
            "as root, Ubuntu from 23.10 on: sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container: give it more rights (docker run --privileged)"
    [ "$(id -u)" -ne 0 ] || return 0
    user=$(id -un 2>/dev/null) || true
    { grep -qsE "^($user|$(id -u)):" /etc/subuid && grep -qsE "^($user|$(id -u)):" /etc/subgid; } ||
        die "the user $user has no subordinate ids (/etc/subuid, /etc/subgid), which unpacking Debian packages without root needs" \
            "as root: usermod --add-subuids 200000-265535 --add-subgids 200000-265535 $user"
}

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

# Where roots are unpacked. Without root their users are subordinate ids, to whom a TMPDIR in a closed home is closed.
open_tmpdir() {
    local path=${TMPDIR:-/tmp}
    while [ "$path" != / ]; do
        case $(stat -c %A "$path" 2>/dev/null) in d*[xt]) ;; *) echo /tmp; return 0 ;; esac
        path=$(dirname "$(realpath "$path")")
    done
    echo "${TMPDIR:-/tmp}"
}

# make_root ARCH LIST OUTPUT [OPTION…]: a Debian root with the packages of a list, as a tar archive. Packages are kept.
make_root() {
    local arch=$1 list=$2 output=$3 cache=$built/cache/$1 sources
    shift 3
    mkdir -p "$cache"
    sources=$(debian_sources)
    printf '%s\n' "$sources" | sed '/^$/d' | TMPDIR=$(open_tmpdir) mmdebstrap --variant=minbase --format=tar --architectures="$arch" \
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
