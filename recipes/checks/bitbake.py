"""Runs parse.py for every configuration that the kas files describe, and sees that no file of the layer was left out."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import kasfiles

# With every layer that ours knows how to use, and with only those it needs.
LAYERS = {"extra": "with all optional layers", "minimal": "with core and rauc alone"}


def check(layer, report):
    """One case for each machine and set of layers, one for what was read."""
    read, failed_before = set(), report.failed
    builds = []
    with report.case("bitbake: the kas files describe builds") as case:
        builds = kasfiles.builds(layer)
        if not builds:
            case.fault(layer.recipes, 0, "no kas file names a machine", "there is nothing to parse for")
    for name, machine, distro, local_conf in builds:
        for extra, words in LAYERS.items():
            with report.case(f"bitbake: {name} {words}") as case, tempfile.TemporaryDirectory() as scratch:
                answer = subprocess.run(
                    [sys.executable, Path(__file__).parent / "parse.py", layer.project, Path(scratch) / "build", machine,
                     distro, extra], input=local_conf, capture_output=True, text=True, check=False)
                try:
                    result = json.loads(answer.stdout.splitlines()[-1])
                except (IndexError, ValueError):
                    case.fault(layer.path, 0, f"BitBake's library gave up: {answer.stderr[-2000:]}", "see its message")
                    continue
                read.update(result["read"])
                for fault in result["faults"]:
                    case.fault(*fault)
    name = "bitbake: every file of the layer was read"
    if report.failed > failed_before:
        report.skip(name, "what is broken above may be the reason that a file is not read")
        return
    with report.case(name) as case:
        for file in layer.metadata():
            if str(file) not in read:
                case.fault(file, 0, "no configuration of recipes/ reads this file",
                           "name it in conf/layer.conf or in a recipe, or remove it")
