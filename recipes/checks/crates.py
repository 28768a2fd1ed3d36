"""The recipe fetches exactly the crates of Cargo.lock, and the series' Rust can build them."""

import json
import re
import shutil
import subprocess

from layer import RUST, line_of

ENTRY = re.compile(r"crate://crates\.io/([^/\s]+)/([^\s\\;\"]+)")
CHECKSUM = re.compile(r'^SRC_URI\[([^\]]+)\.sha256sum\]\s*=\s*"([0-9a-f]*)"')
REGENERATE = "run meta-margo/scripts/crates-inc"


def locked(text):
    """Name-version and checksum of every crate that Cargo.lock takes from the registry."""
    crates = {}
    for block in text.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|source|checksum) = "([^"]*)"', block, re.MULTILINE))
        if fields.get("source", "").startswith("registry+"):
            crates[f"{fields['name']}-{fields['version']}"] = fields.get("checksum", "")
    return crates


def check_list(layer, report):
    """Both directions, and every checksum."""
    with report.case("crates: the list and Cargo.lock") as case:
        lists = sorted(layer.path.rglob("*-crates.inc"))
        if not lists:
            case.fault(layer.path, 0, "there is no *-crates.inc", REGENERATE)
        wanted = locked((layer.project / "Cargo.lock").read_text())
        for file in lists:
            compare(case, file, wanted)


def compare(case, file, wanted):
    """One list against the lock."""
    listed, sums = {}, {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        for name, version in ENTRY.findall(line):
            if f"{name}-{version}" in listed:
                case.fault(file, number, f"{name} {version} is listed twice", REGENERATE)
            listed[f"{name}-{version}"] = number
        for crate, checksum in CHECKSUM.findall(line):
            sums[crate] = (checksum, number)
    for crate in sorted(wanted.keys() - listed.keys()):
        case.fault(file, 0, f"{crate} is in Cargo.lock and not in the list", REGENERATE)
    for crate in sorted(listed.keys() - wanted.keys()):
        case.fault(file, listed[crate], f"{crate} is in the list and not in Cargo.lock", REGENERATE)
    for crate in sorted(listed.keys() & wanted.keys()):
        checksum, number = sums.pop(crate, ("", listed[crate]))
        if checksum != wanted[crate]:
            case.fault(file, number, f"the checksum of {crate} is not that of Cargo.lock", REGENERATE)
    for crate, (_, number) in sorted(sums.items()):
        case.fault(file, number, f"a checksum for {crate}, which is not in the list", REGENERATE)


def version(text):
    """Numbers that can be compared: 1.94 counts as 1.94.0."""
    return tuple(int(part) for part in (text.split("-")[0] + ".0.0").split(".")[:3])


def check_rust(layer, report):
    """Our own Rust version, and that of every crate that goes onto the device."""
    manifest = layer.project / "Cargo.toml"
    with report.case(f"rust: Cargo.toml asks for no more than the series' {RUST}") as case:
        text = manifest.read_text()
        found = re.search(r'^rust-version = "([0-9.]+)"', text, re.MULTILINE)
        if not found:
            case.fault(manifest, 0, "no rust-version", f"set it to that of the series, {RUST}, or older")
        elif version(found[1]) > version(RUST):
            case.fault(manifest, line_of(text, "^rust-version"), f"rust-version {found[1]} is newer than {RUST}",
                       "go back to it, or wait for a series that has a newer Rust")
    name = f"rust: every crate of Cargo.lock builds with {RUST}"
    if not shutil.which("cargo"):
        report.skip(name, "cargo is not installed")
        return
    with report.case(name) as case:
        answer = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", manifest],
                                capture_output=True, text=True, check=False)
        if answer.returncode:
            case.fault(layer.project / "Cargo.lock", 0, answer.stderr.strip(), "make `cargo metadata --locked` succeed")
            return
        for package in json.loads(answer.stdout)["packages"]:
            wants = package.get("rust_version")
            if wants and version(wants) > version(RUST):
                lock = (layer.project / "Cargo.lock").read_text()
                case.fault(layer.project / "Cargo.lock", line_of(lock, f'^name = "{package["name"]}"'),
                           f"{package['name']} {package['version']} needs Rust {wants}",
                           f"take an older one: cargo update -p {package['name']} --precise VERSION")
