# shellcheck shell=bash disable=SC2154,SC2016  # the caller sets the names; text for other shells stays as it is
# What agent/dist/README.md promises is what an image has. Sourced by check-build.

# The rows of its tables whose second column is a place on the device: first and second column, a tab between.
rows() { sed -n 's/^| `\([^`]*\)`[^|]*| `\(\/[^`]*\)`.*/\1\t\2/p' agent/dist/README.md; }
commands() { run target/device/release/margoctl help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'; }

same_file() { cmp "$1" "$device$2"; }
# shellcheck disable=SC2086  # its words
made_by() { run target/device/release/"${1%% *}" ${1#* } | cmp - "$device$2"; }

promised=0
while IFS=$'\t' read -r from to; do
    promised=$((promised + 1))
    case $from in
        margoctl*'<command>')
            for command in $(commands); do
                check "$(dirname "$to")/margoctl-$command.1" made_by "margoctl man $command" "${to/<command>/$command}"
            done ;;
        margoctl*) check "$to" made_by "$from" "$to" ;;
        *) check "$to$(basename "$from")" same_file "agent/dist/$from" "$to$(basename "$from")" ;;
    esac
done < <(rows)
check "the tables of agent/dist/README.md were read ($promised rows)" test "$promised" -ge 16
check "margoctl names its commands" test "$(commands | wc -l)" -ge 13

every_file_is_promised() {
    local file bad=0
    while read -r file; do
        rows | cut -f 1 | grep -qxF "${file#agent/dist/}" || { echo "$file is in no table of agent/dist/README.md"; bad=1; }
    done < <(git ls-files --cached --others --exclude-standard agent/dist | grep -v '/README.md$')
    return $bad
}
check "every file of agent/dist is in those tables" every_file_is_promised
pages() { (cd "$device/usr/share/man/man1" && printf '%s\n' margoctl-*.1 | sed 's/^margoctl-\(.*\)\.1$/\1/'); }
check "the commands with a manual page, which the main page lists, are those that margoctl has" \
    test "$(pages | sort)" = "$(commands | sort)"

# Whoever takes a program apart learns nothing of the machine that built it, and another machine builds the same one.
no_paths() {
    ! grep -laF -e "${CARGO_HOME:-$HOME/.cargo}" -e "$built" -e "$PWD/agent" "$device"/usr/bin/margo* "$device/usr/lib/margo-agent/margo-boot-env"
}
check "the programs name no directory of this machine" no_paths

# The device's C library must have what the programs need, also when a newer one was at hand where they were built.
with_libc() {
    sed "s/^libc6 .*/libc6 $1/" "$base.manifest" > "$area/libc.manifest"
    (programs=target/device/release base=$area/libc check_libc)
}
refuses_libc() { ! with_libc "$1" && grep -q '^error: .* needs GLIBC .*, and the device has' "$said"; }
check "programs that the device's C library can load are taken" with_libc 2.41-12
check "programs that need a newer C library than the device's are refused" refuses_libc 2.9-1
