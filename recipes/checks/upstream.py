"""The layer in real BitBake with the real layers: parsed, resolved, and through the Yocto Project's own layer test.

Needs checkouts in one directory, named like the repositories of the kas files. Nothing is built and nothing is fetched.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kasfiles
import standin
from layer import RUST, SERIES

# A user that may write nothing but the scratch directory: BitBake refuses root.
NOBODY = 65534
LOCAL_CONF = """
BB_NO_NETWORK = "1"
CONNECTIVITY_CHECK_URIS = ""
INHERIT:remove = "uninative"
SANITY_TESTED_DISTROS = ""
BB_HASHSERVE = ""
BB_SIGNATURE_HANDLER = "OEBasicHash"
BB_DISKMON_DIRS = ""
"""
# Whose recipes are, for the most part, applications that no image of ours has.
APPLICATIONS = ("meta-openembedded", "meta-virtualization")
TRIES = 4
TOO_BUSY = "Timeout while waiting for a reply from the bitbake server"
# What ci.yml asks for and a machine without network cannot have.
NOT_HERE = re.compile(r"^OE_FRAGMENTS.*sstate-mirror-cdn.*$", re.MULTILINE)


class Upstream:
    """The checkouts, and a scratch directory to call BitBake in."""

    def __init__(self, layer, directory):
        self.layer, self.directory = layer, Path(directory).resolve()
        self.scratch = layer.project / "target" / "recipes" / "upstream"
        shutil.rmtree(self.scratch, ignore_errors=True)
        (self.scratch / "home").mkdir(parents=True)
        (self.scratch / "home" / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        self.own(self.scratch)

    def own(self, path):
        """Gives a directory to the user that runs BitBake."""
        if os.getuid() == 0:
            for root, folders, files in os.walk(path):
                for name in [".", *folders, *files]:
                    os.chown(Path(root) / name, NOBODY, NOBODY, follow_symlinks=False)

    def call(self, build, log, *command):
        """Runs a command of BitBake's. Returns its exit code and what it said, which also goes to a file."""
        environment = {
            "PATH": f"{self.directory}/bitbake/bin:{self.directory}/openembedded-core/scripts:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.scratch / "home"), "LANG": "en_US.UTF-8", "BUILDDIR": str(build), "BBPATH": str(build),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        answer = subprocess.run(command, cwd=build, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False, **user)
        (self.scratch / f"{log}.log").write_text(answer.stdout)
        return answer.returncode, answer.stdout

    def build_directory(self, name, layers, local_conf):
        """Makes a build directory."""
        build = self.scratch / name
        (build / "conf").mkdir(parents=True)
        (build / "conf" / "bblayers.conf").write_text(
            'LCONF_VERSION = "7"\nBBPATH = "${TOPDIR}"\nBBFILES ?= ""\nBBLAYERS = "%s"\n' % " ".join(map(str, layers)))
        (build / "conf" / "local.conf").write_text(local_conf + LOCAL_CONF)
        # Without this cache the first call of BitBake computes another checksum of the configuration than the second,
        # which then reads every recipe again. The first build here is a small one.
        read_before = self.scratch / "minimal" / "cache" / "bb_codeparser.dat"
        if read_before.exists():
            (build / "cache").mkdir()
            shutil.copy(read_before, build / "cache")
        self.own(build)
        return build

    def layers_of(self, config):
        """The layers of a kas configuration, and the repositories that are not there."""
        paths, missing = [], []
        for name, repo in config["repos"].items():
            repo = repo or {}
            base = self.directory / name if repo.get("url") else self.layer.project
            layers = [layer for layer, value in (repo.get("layers") or {".": None}).items() if value != "disabled"]
            if layers and not base.is_dir():
                missing.append(name)
            paths += [base / layer for layer in layers]
        return paths, missing

    def bitbake(self, report, name, build, *arguments):
        """One call of bitbake; an error or a warning is a fault."""
        words = " ".join(arguments)
        with report.case(f"upstream: {name}: bitbake {words}") as case:
            log = re.sub(r"\W+", "-", f"{name} {words}")
            code, said = self.call(build, log, "bitbake", *arguments)
            for _ in range(TRIES - 1):
                # The client waits a minute for its server, which on a busy machine may be too short.
                if TOO_BUSY not in said:
                    break
                code, said = self.call(build, log, "bitbake", *arguments)
            bad = [line for line in said.splitlines() if line.startswith(("ERROR", "WARNING", "Summary: There w"))]
            if code or bad:
                text = "\n".join(bad or said.splitlines()[-20:])
                step = f"read {self.scratch / f'{log}.log'}"
                if TOO_BUSY in said:
                    step = "this machine is too busy for BitBake: run this again when it is not"
                case.fault(self.layer.path, 0, f"bitbake ended with {code}:\n{text}", step)


def check(layer, report, directory):
    """Everything that the checkouts make possible."""
    upstream = Upstream(layer, directory)
    usable = False
    with report.case("upstream: the checkouts can be used") as case:
        usable = check_usable(upstream, case)
    if not usable:
        return
    check_revisions(upstream, report)
    check_standins(upstream, report)
    check_crates_task(upstream, report)
    check_builds(upstream, report)
    check_layer_test(upstream, report)


def check_usable(upstream, case):
    """What all the rest needs."""
    for name in ("bitbake/bin/bitbake", "openembedded-core/meta/conf/layer.conf", "meta-rauc/conf/layer.conf"):
        if not (upstream.directory / name).is_file():
            case.fault(upstream.directory / name, 0, "is not there", "check the layers out (recipes/README.md)")
    for path in (upstream.layer.path / "conf" / "layer.conf", upstream.directory / "bitbake"):
        code, _ = upstream.call(upstream.scratch, "may-read", "test", "-r", str(path))
        if code:
            case.fault(path, 0, "user nobody, who runs BitBake in root's place, may not read it",
                       "let everybody read the project and the checkouts, or do not run this as root")
    return not case.faults


def check_revisions(upstream, report):
    """What is tested is what the kas files name; other revisions are told, not refused."""
    for name, commit in kasfiles.locked(upstream.layer).items():
        path = upstream.directory / name
        if not path.is_dir():
            report.skip(f"upstream: {name} is the locked revision", f"{path} is not there")
            continue
        git = ["git", "-c", "safe.directory=*", "-C", str(path), "rev-parse", "HEAD"]
        head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
        if head == commit:
            with report.case(f"upstream: {name} is the locked revision"):
                pass
        else:
            report.skip(f"upstream: {name} is the locked revision", f"{path} is at {head[:12] or 'no commit'}, the lock says {commit[:12]}")


def check_standins(upstream, report):
    """What the packages-only form takes for granted is so."""
    with report.case("upstream: the stand-ins of recipes/checks stand for something") as case:
        core = upstream.directory / "openembedded-core" / "meta" / "conf"
        if SERIES not in (core / "layer.conf").read_text():
            case.fault(core / "layer.conf", 0, f"is not of the series {SERIES}", "correct SERIES in recipes/checks/layer.py")
        if f'"{RUST}%"' not in (core / "distro" / "include" / "tcmode-default.inc").read_text():
            case.fault(core / "distro" / "include" / "tcmode-default.inc", 0, f"its Rust is not {RUST}",
                       "correct RUST in recipes/checks/layer.py")
        for place, classes, recipes in standin.LAYERS.values():
            path = upstream.directory / place
            if not path.is_dir():
                continue
            known = {file.name for file in path.rglob("*.bb*")}
            for name in [*(f"{name}.bbclass" for name in classes), *(f"{name}.bb" for name in recipes)]:
                if name not in known:
                    case.fault(Path(standin.__file__), 0, f"{place} has no {name}", "correct the list of stand-ins")


def check_crates_task(upstream, report):
    """The list of crates is, to the letter, what `bitbake -c update_crates margo-agent` would write.

    The task needs no more of a build than the host's Python, so its text is run as it stands.
    """
    name = "upstream: update_crates writes the list of crates that is there"
    if sys.version_info < (3, 11):
        report.skip(name, "the task needs Python 3.11")
        return
    with report.case(name) as case:
        file = upstream.directory / "openembedded-core" / "meta" / "classes-recipe" / "cargo-update-recipe-crates.bbclass"
        task = re.search(r"^do_update_crates\(\) \{$.*?^\}$", file.read_text(), re.DOTALL | re.MULTILINE)[0]
        here = upstream.scratch / "update-crates"
        here.mkdir()
        shutil.copy(upstream.layer.project / "Cargo.lock", here)
        tools = f'nativepython3() {{ {sys.executable} "$@"; }}; bbnote() {{ :; }}; {task}; do_update_crates'
        subprocess.run(["bash", "-euc", tools], check=True,
                       env={**os.environ, "CARGO_LOCK_SRC_DIR": str(here), "THISDIR": str(here), "BPN": "margo-agent", "PN": "margo-agent"})
        listed = upstream.layer.path / "recipes-margo" / "margo-agent" / "margo-agent-crates.inc"
        if (here / listed.name).read_text() != listed.read_text():
            case.fault(listed, 0, f"is not what {file.name} writes", "meta-margo/scripts/crates-inc, or correct that script")


def check_builds(upstream, report):
    """The least number of layers; then every machine with all layers and the settings of a kas file."""
    core = [upstream.directory / "openembedded-core" / "meta", upstream.directory / "meta-rauc", upstream.layer.path]
    build = upstream.build_directory("minimal", core, 'MACHINE = "qemux86-64"\nDISTRO = "margo"\n' + only_needed(core[:1], core[1:], set()))
    upstream.bitbake(report, "minimal", build, "-p")
    machines, first, needed = set(), None, set()
    for name, machine, distro, local_conf, targets in kasfiles.builds(upstream.layer):
        # ci.yml holds all of qemux86-64.yml, and reading thousands of recipes takes its time.
        if machine in machines:
            continue
        machines.add(machine)
        name = name.removesuffix(".yml")
        config, _ = kasfiles.merged(upstream.layer.recipes / f"{name}.yml")
        layers, missing = upstream.layers_of(config)
        if missing:
            report.skip(f"upstream: {name}", f"{', '.join(missing)} not in {upstream.directory}")
            continue
        conf = f'MACHINE = "{machine}"\nDISTRO = "{distro}"\n{NOT_HERE.sub("", local_conf)}\n{keys(upstream, local_conf)}'
        said = name
        if needed:
            # The first machine has shown that each foreign recipe can be read beside the layer.
            foreign = [path for path in layers if any(name in path.parts for name in APPLICATIONS)]
            conf += only_needed(foreign, [path for path in layers if path not in foreign], needed)
            said = f"{name}, of {' and '.join(APPLICATIONS)} what {first} needs"
        build = upstream.build_directory(name, layers, conf)
        upstream.bitbake(report, said, build, "-p")
        upstream.bitbake(report, said, build, "-g", *targets)
        if not first:
            first, needed = name, recipes_in_graph(build)


def recipes_in_graph(build):
    """The files of the recipes that `bitbake -g` found to be needed; none if it failed."""
    graph = build / "task-depends.dot"
    return set(re.findall(r"(/[^\s\"\\:]+\.bb)\"", graph.read_text())) if graph.exists() else set()


def only_needed(masked, others, needed):
    """Settings that leave out the recipes of some layers, but for the files that are needed and what others append to.

    Three machines would read three thousand recipes each, nearly all of which have nothing to do with the layer.
    """
    def stem(file):
        return file.stem.split("_")[0]

    appended = {stem(file) for layer in others for file in layer.rglob("*.bbappend")}
    kept = {stem(file) for layer in others for file in layer.rglob("*.bb")}
    for layer in masked:
        kept |= {stem(file) for file in layer.rglob("*.bb") if str(file) in needed or stem(file) in appended}
    names = "|".join(re.escape(name) for name in sorted(kept))
    settings = ""
    for layer in masked:
        collection = re.search(r'BBFILE_COLLECTIONS\s*\+=\s*"(\S+?)\s*"', (layer / "conf" / "layer.conf").read_text())[1]
        settings += f'BBMASK += "{re.escape(str(layer))}/.*/(?!(?:{names})[_.%])[^/]*\\.bb(?:append)?$"\n'
        settings += f'BBFILE_PATTERN_IGNORE_EMPTY_{collection} = "1"\n'
    return settings


def keys(upstream, local_conf):
    """Own keys, where the kas file does not ask for development keys."""
    if "MARGO_DEVELOPMENT_KEYS" in local_conf:
        return ""
    file = upstream.scratch / "key.pem"
    file.write_text("stands in for a key\n")
    return "".join(f'{name} = "{file}"\n' for name in ("MARGO_KEYRING", "MARGO_BUNDLE_CERT", "MARGO_BUNDLE_KEY"))


def check_layer_test(upstream, report):
    """yocto-check-layer: what the Yocto Project asks of a layer that calls itself compatible."""
    with report.case("upstream: yocto-check-layer (some minutes)") as case:
        build = upstream.build_directory("layer-test", [upstream.directory / "openembedded-core" / "meta"], 'MACHINE = "qemux86-64"\n')
        code, said = upstream.call(build, "yocto-check-layer", "yocto-check-layer", "--no-auto-dependency",
                                   "--dependency", str(upstream.directory / "meta-rauc"), "--", str(upstream.layer.path))
        if code or not re.search(r"^INFO: meta-margo \.\.\. PASS|meta-margo \.\.\. PASS", said, re.MULTILINE):
            case.fault(upstream.layer.path, 0, f"yocto-check-layer ended with {code}:\n" + "\n".join(said.splitlines()[-40:]),
                       f"read {upstream.scratch / 'yocto-check-layer.log'}")
