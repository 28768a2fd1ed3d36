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
    read, parsed, skipped, failed_before = set(), set(), {}, report.failed
    builds = []
    with report.case("bitbake: the kas files describe builds") as case:
        builds = kasfiles.builds(layer)
        if not builds:
            case.fault(layer.recipes, 0, "no kas file names a machine", "there is nothing to parse for")
    for name, machine, distro, local_conf, targets in builds:
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
                parsed.update(result["parsed"])
                skipped.update(result["skipped"])
                for recipe, why in result["skipped"].items():
                    if extra == "extra" and Path(recipe).stem.split("_")[0] in targets:
                        case.fault(recipe, 0, f"{name} is to build it, and it skipped itself: {why}",
                                   "give the kas file what the recipe asks for")
                for fault in result["faults"]:
                    case.fault(*fault)
    name = "bitbake: every file of the layer was read"
    if report.failed > failed_before:
        report.skip(name, "what is broken above may be the reason that a file is not read")
        return
    with report.case(name) as case:
        for file in layer.metadata():
            if str(file) in skipped and str(file) not in parsed:
                case.fault(file, 0, f"skipped itself in every configuration: {skipped[str(file)]}",
                           "give one of the kas files what the recipe asks for")
            elif str(file) not in read:
                case.fault(file, 0, "no configuration of recipes/ reads this file",
                           "name it in conf/layer.conf or in a recipe, or remove it")
