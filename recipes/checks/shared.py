"""One source for the OS: nothing that `meta-margo/os` or `agent/dist` holds lies in the layer a second time."""

import difflib
import subprocess

# Names that many directories have and that say nothing about the content.
COMMON = {"README.md", "LICENSE"}


def sources(layer):
    """Files that qemu/ and the recipes share."""
    for root in (layer.path / "os", layer.project / "agent" / "dist"):
        yield from (file for file in sorted(root.rglob("*")) if file.is_file() and not file.is_symlink())


def is_like(one, other):
    """Half of the lines are the same: a copy that somebody changed."""
    lines = [file.read_text(errors="replace").splitlines() for file in (one, other)]
    return difflib.SequenceMatcher(None, *lines).ratio() >= 0.5


def check(layer, report):
    """Copies, by name and by content; then what the layer's own scripts compare."""
    with report.case("shared: no second copy of a file of the OS") as case:
        by_name, by_content = {}, {}
        for file in sources(layer):
            by_name[file.name] = file
            if file.stat().st_size > 80:
                by_content[file.read_bytes()] = file
        for file in sorted(layer.path.rglob("*")):
            if not file.is_file() or file.is_symlink() or "os" == file.relative_to(layer.path).parts[0]:
                continue
            same = by_content.get(file.read_bytes())
            if not same and file.name in by_name and file.name not in COMMON and is_like(file, by_name[file.name]):
                same = by_name[file.name]
            if same:
                case.fault(file, 0, f"{same.relative_to(layer.project)} exists already",
                           "remove this file and let the recipe take that one (FILESEXTRAPATHS)")
    for script in sorted((layer.path / "scripts").glob("check-*")):
        with report.case(f"shared: meta-margo/scripts/{script.name}") as case:
            answer = subprocess.run([script], cwd=layer.project, capture_output=True, text=True, check=False)
            if answer.returncode:
                case.fault(script, 0, (answer.stdout + answer.stderr).strip(), "do what it says")
