"""recipes/check tested: a copy of the project is broken in each way that a check is there for, and the check must say so.

    python recipes/checks/faults.py [PART OF A NAME]
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from report import Report

CHECKS = Path(__file__).parent
PROJECT = CHECKS.parents[1]
AGENT = "meta-margo/recipes-margo/margo-agent/margo-agent_*.bb"
CRATES = "meta-margo/recipes-margo/margo-agent/margo-agent-crates.inc"
IMAGE = "meta-margo/recipes-core/images/margo-image.bb"
README = "meta-margo/README.md"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Copy:
    """A copy of the project, whose files are the original's until they are changed."""

    def __init__(self, path):
        self.path = path

    def file(self, name):
        found = sorted(self.path.glob(name))
        if not found:
            raise FileNotFoundError(f"the fault needs {name}")
        return found[0]

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file of the original must not change with it.
        path.unlink(missing_ok=True)
        path.write_text(text)
        return path

    def append(self, name, text):
        path = self.file(name)
        self.write(path.relative_to(self.path), f"{path.read_text()}\n{text}\n")

    def replace(self, name, pattern, text):
        path = self.file(name)
        changed, count = re.subn(pattern, text, path.read_text(), count=1, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"the fault found no {pattern} in {name}")
        self.write(path.relative_to(self.path), changed)


def append(name, text):
    return lambda copy: copy.append(name, text)


def replace(name, pattern, text):
    return lambda copy: copy.replace(name, pattern, text)


def write(name, text):
    return lambda copy: copy.write(name, text)


def copied(source, target, more=""):
    return lambda copy: copy.write(target, copy.file(source).read_text() + more)


# What is broken: name, check that must notice, how, and what it must say.
FAULTS = [
    ("oelint finds something", "lint", append(IMAGE, 'LABEL="x"'), r"margo-image\.bb:\d+: oelint\.vars\.spacesassignment"),
    ("an exception hides in a file", "lint", append(IMAGE, "# nooelint: oelint.var.badpr"), r"margo-image\.bb:\d+: a finding is silenced"),
    ("a script for a newer Python", "lint", append("meta-margo/scripts/check-same-os", "import tomllib"), r"check-same-os:\d+: tomllib is not in Python 3\.10"),
    ("words of a newer Python", "lint", append("meta-margo/scripts/crates-inc", "try:\n    pass\nexcept* ValueError:\n    pass"), r"crates-inc:\d+: Python 3\.10 cannot read this"),
    ("an explanation explains nothing", "lint", append("recipes/checks/oelint-explained", "oelint.nothing * because"),
     r"oelint-explained:\d+: nothing is found any more for oelint\.nothing"),
    ("an explanation without a reason", "lint", append("recipes/checks/oelint-explained", "oelint.nothing *"),
     r"oelint-explained:\d+: an explanation has a rule, files and a reason"),

    ("a kas file with a wrong key", "kas", append("recipes/qemux86-64.yml", "machin: x"), r"qemux86-64\.yml.*machin"),
    ("a kas file with a wrong value", "kas", replace("recipes/base.yml", r"^    branch: wrynose", "    branch: [a]"),
     r"base\.yml:\d+: repos\.openembedded-core.*\[.a.\]"),
    ("a kas file that is no YAML", "kas", append("recipes/ci.yml", "a: [b"), r"ci\.yml:\d+: no YAML"),
    ("a repository without a lock", "kas", replace("recipes/base.lock.yml", r"^    meta-rauc:\n.*\n", ""),
     r"base\.yml:\d+: meta-rauc is not in base\.lock\.yml"),
    ("a lock that nothing fetches", "kas", append("recipes/base.lock.yml", f"    meta-other:\n      commit: {COMMIT}"),
     r"base\.lock\.yml:\d+: meta-other is locked and not fetched"),
    ("a lock that is no commit", "kas", replace("recipes/base.lock.yml", r"commit: [0-9a-f]{40}", "commit: wrynose"),
     r"base\.lock\.yml:\d+: wrynose is no full commit"),
    ("a kas file with another revision", "kas", replace("recipes/base.yml", r"^    branch: wrynose", f"    branch: wrynose\n    commit: {COMMIT}"),
     r"base\.yml:\d+: openembedded-core has another commit in base\.lock\.yml"),
    ("a repository without a branch", "kas", replace("recipes/base.yml", r"^    branch: wrynose\n", ""), r"base\.yml:\d+: openembedded-core has no branch"),
    ("a repository of another series", "kas", replace("recipes/base.yml", r"^    branch: wrynose$", "    branch: scarthgap"), r"base\.yml:\d+: openembedded-core is on scarthgap"),
    ("a lock file of no kas file", "kas", copied("recipes/base.lock.yml", "recipes/old.lock.yml"), r"old\.lock\.yml: there is no old\.yml"),
    ("a target without a recipe", "kas", replace("recipes/base.yml", "^  - margo-image$", "  - margo-imag"), r"qemux86-64\.yml:\d+: the layer has no recipe margo-imag"),
    ("an include that is not there", "kas", replace("recipes/ci.yml", "recipes/qemux86-64.yml", "recipes/qemux86.yml"), r"ci\.yml.*qemux86\.yml"),
    ("a distro that is not there", "kas", replace("recipes/base.yml", "^distro: margo", "distro: marg"), r"the layer has no conf/distro/marg\.conf"),
    ("a layer that is not there", "kas", replace("recipes/base.yml", "^      meta-margo:", "      meta-marg:"), r"meta-marg is no layer"),

    ("a recipe that is no BitBake", "bitbake", append(IMAGE, "this is no assignment"), r"margo-image\.bb:\d+: .*this is no assignment"),
    ("a class that does not exist", "bitbake", append(IMAGE, "inherit margo-imag"), r"margo-image\.bb:\d+: .*margo-imag"),
    ("a required file that does not exist", "bitbake", append(IMAGE, "require margo-imag.inc"), r"margo-image\.bb:\d+: .*margo-imag\.inc"),
    ("a variable that nothing sets", "bitbake", append(IMAGE, 'DESCRIPTION .= "${MARGO_OS_VERSON}"'), r"margo-image\.bb:\d+: DESCRIPTION refers to \$\{MARGO_OS_VERSON\}"),
    ("the same in a task", "bitbake", append(AGENT, 'do_install:append() {\n    touch ${DATDIR}/x\n}'), r"margo-agent_.*\.bb:\d+: do_install refers to \$\{DATDIR\}"),
    ("a flag that does not expand", "bitbake", append(IMAGE, 'do_build[depends] += "${@nothing(d)}"'), r"margo-image\.bb.*do_build\[depends\]"),
    ("an expression that fails", "bitbake", append(IMAGE, 'DESCRIPTION .= "${@1/0}"'), r"margo-image\.bb.*division by zero"),
    ("a shell task that is no shell", "bitbake", append(AGENT, "do_install:append() {\n    if true; then\n}"), r"margo-agent_.*\.bb:\d+: do_install: "),
    ("a Python task that is no Python", "bitbake", append(IMAGE, "python do_faulty() {\n    if True\n}\naddtask faulty"), r"margo-image\.bb:\d+: do_faulty: .*[Ss]yntax"),
    ("anonymous Python that fails", "bitbake", append(IMAGE, "python () {\n    d.nothing()\n}"), r"margo-image\.bb: (?s:.)*no attribute 'nothing'"),
    ("a source that is not there", "bitbake", append(AGENT, 'SRC_URI += "file://nothing.conf"'), r"margo-agent_.*\.bb:\d+: SRC_URI names nothing\.conf"),
    ("a licence that changed", "bitbake", append("LICENSE", "and something else"), r"margo-agent_.*\.bb:\d+: the checksum is not that of the project's LICENSE"),
    ("a file that nobody reads", "bitbake", write("meta-margo/recipes-core/images/forgotten.inc", 'A = "b"\n'), r"forgotten\.inc: no configuration of recipes/ reads this file"),
    ("an append to nothing", "bitbake", write("meta-margo/recipes-core/images/nothing_%.bbappend", 'A = "b"\n'), r"nothing_%\.bbappend: appends to a recipe that no layer has"),
    ("another series", "bitbake", replace("meta-margo/conf/layer.conf", r"^LAYERSERIES_COMPAT_margo = .*", 'LAYERSERIES_COMPAT_margo = "scarthgap"'), r"margo is not compatible"),
    ("a layer it depends on by a wrong name", "bitbake", replace("meta-margo/conf/layer.conf", r"^LAYERDEPENDS_margo = .*", 'LAYERDEPENDS_margo = "core rauk"'), r"depends on layer 'rauk'"),
    ("a recipe that leaves itself out", "bitbake", append(IMAGE, 'python () {\n    raise bb.parse.SkipRecipe("because")\n}'), r"margo-image\.bb: qemux86-64\.yml is to build it, and it skipped itself: because"),
    ("a recipe that nobody can build", "bitbake", write("meta-margo/recipes-core/images/never.bb", 'python () {\n    raise bb.parse.SkipRecipe("because")\n}\n'),
     r"never\.bb: skipped itself in every configuration: because"),
    ("times of a checkout", "bitbake", replace("meta-margo/recipes-margo/margo-os/margo-os_1.0.bb", r" margo-checkout$", ""),
     r"margo-os_1\.0\.bb:\d+: the times of a checkout become SOURCE_DATE_EPOCH"),
    ("a list of packages that is gone too early", "bitbake", replace("meta-margo/classes-recipe/margo-image.bbclass", r"^IMAGE_PREPROCESS_COMMAND:prepend.*", 'ROOTFS_POSTPROCESS_COMMAND += "margo_image_empty_var"'),
     r"margo-image\.bbclass:\d+: margo_image_empty_var empties /var before"),
    ("a kas file with a wrong setting", "bitbake", append("recipes/qemux86-64.yml", "local_conf_header:\n  x: |\n    A B C"), r"A B C"),
    ("a variable that was renamed", "bitbake", append("meta-margo/conf/layer.conf", 'BB_ENV_WHITELIST = "A"'), r"BB_ENV_WHITELIST"),

    ("a crate is missing", "crates", replace(CRATES, r"^    crate://crates.io/serde/.*\n", ""), r"margo-agent-crates\.inc: serde-\S+ is in Cargo\.lock and not in the list"),
    ("a crate too many", "crates", append(CRATES, 'SRC_URI += "crate://crates.io/leftpad/1.0.0"'), r"margo-agent-crates\.inc:\d+: leftpad-1\.0\.0 is in the list and not"),
    ("a crate twice", "crates", replace(CRATES, r"^(    crate://crates.io/serde/.*\n)", r"\1\1"), r"margo-agent-crates\.inc:\d+: serde \S+ is listed twice"),
    ("a changed checksum", "crates", replace(CRATES, r'^(SRC_URI\[serde-[0-9.]+\.sha256sum\] = ")[0-9a-f]{4}', r"\g<1>0000"), r"margo-agent-crates\.inc:\d+: the checksum of serde-"),
    ("a checksum of nothing", "crates", append(CRATES, 'SRC_URI[leftpad-1.0.0.sha256sum] = "00"'), r"margo-agent-crates\.inc:\d+: a checksum for leftpad"),
    ("no list at all", "crates", lambda copy: copy.file(CRATES).unlink(), r"meta-margo: there is no \*-crates\.inc"),

    ("a Rust that is too new", "rust", replace("Cargo.toml", r'^rust-version = .*', 'rust-version = "1.95"'), r"Cargo\.toml:\d+: rust-version 1\.95 is newer"),
    ("a crate that needs a newer Rust", "rust", replace("tests/demo/Cargo.toml", r"^rust-version.*", 'rust-version = "1.99"'), r"margo-demo \S+ needs Rust 1\.99"),

    ("a variable that is not documented", "variables", append(IMAGE, 'MARGO_SECRET ?= "x"'), r"margo-image\.bb:\d+: MARGO_SECRET is used and not documented"),
    ("a variable that is not used", "variables", append(README, "| `MARGO_UNUSED` | nothing |"), r"README\.md:\d+: MARGO_UNUSED is documented and used nowhere"),
    ("a variable with two rows", "variables", append(README, "| `MARGO_KEYRING` | again |"), r"README\.md:\d+: MARGO_KEYRING is documented twice"),
    ("the guide has another name", "variables", append("recipes/README.md", "Set `MARGO_KEYRINGS`."), r"recipes/README\.md:\d+: MARGO_KEYRINGS is no variable"),

    ("a command that is no shell", "guide", append("recipes/README.md", "```sh\nif true; then\n```"), r"README\.md:\d+: .*syntax error"),
    ("an example that is no kas file", "guide", append("recipes/README.md", "```yaml\nheader:\n  version: x\n```"), r"README\.md:\d+: no kas file"),
    ("a link to nothing", "guide", append("recipes/README.md", "[x](../nothing.md)"), r"README\.md:\d+: there is no \.\./nothing\.md"),
    ("a heading that is gone", "guide", append("recipes/README.md", "[x](#nothing)"), r"README\.md:\d+: there is no heading for #nothing"),
    ("a file that is gone", "guide", append("recipes/README.md", "`recipes/qemux86.yml`"), r"README\.md:\d+: there is no recipes/qemux86\.yml"),
    ("an option that is gone", "guide", append("recipes/README.md", "`qemu/build --nothing`"), r"README\.md:\d+: qemu/build has no option --nothing"),

    ("man pages of one side only", "shared", replace("meta-margo/recipes-margo/margo-agent/margo-agent_0.1.0.bb", r"^ *sh \S*/margoctl-texts .*\n", ""),
     r"margo-agent_0\.1\.0\.bb does not run os/margoctl-texts"),
    ("a unit in the layer again", "shared", copied("agent/dist/systemd/system/margo-agent.service", "meta-margo/recipes-margo/margo-agent/files/margo-agent.service"),
     r"files/margo-agent\.service: agent/dist/\S+ exists already"),
    ("a changed copy of a file of the OS", "shared", copied("meta-margo/os/boot/grub.cfg", "meta-margo/recipes-bsp/margo-grub/files/grub.cfg", "# changed\n"),
     r"files/grub\.cfg: meta-margo/os/boot/grub\.cfg exists already"),
    ("a file under another name", "shared", copied("meta-margo/os/rootfs/etc/rauc/system.conf", "meta-margo/recipes-core/rauc/files/other.conf"),
     r"files/other\.conf: meta-margo/os/rootfs/etc/rauc/system\.conf exists already"),
]


def make_original(path):
    """The project as it lies there, committed or not, without what is built."""
    names = subprocess.run(["git", "-C", PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        source, target = PROJECT / name, path / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def run(check, project):
    """The check's exit code and words."""
    answer = subprocess.run([sys.executable, CHECKS, "--project", project, check], capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout + answer.stderr


def try_fault(original, scratch, number):
    """Breaks a copy. Returns what the check said and whether that was right."""
    _, check, break_it, expected = FAULTS[number]
    path = scratch / str(number)
    shutil.copytree(original, path, symlinks=True, copy_function=os.link)
    copy = Copy(path)
    break_it(copy)
    if check == "bitbake":
        # One machine shows it as well as four.
        for name in ("ci", "qemuarm64", "raspberrypi4-64"):
            (path / "recipes" / f"{name}.yml").unlink()
    code, words = run(check, path)
    shutil.rmtree(path)
    return code == 1 and re.search(expected, words), words


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    report = Report(PROJECT)
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        original = Path(scratch) / "original"
        make_original(original)
        chosen = [number for number, fault in enumerate(FAULTS) if wanted in fault[0] or wanted == fault[1]]
        tried = {number: pool.submit(try_fault, original, Path(scratch), number) for number in chosen}
        for number in chosen:
            name, check, _, expected = FAULTS[number]
            with report.case(f"fault noticed by {check}: {name}") as case:
                right, words = tried[number].result()
                if not right:
                    said = "\n".join(f"    | {line}" for line in words.splitlines())
                    case.fault(CHECKS / "faults.py", 0, f"`{check}` did not say {expected!r}, but:\n{said}",
                               f"make the check notice it again: python recipes/checks/faults.py '{name}'")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
