"""oelint-adv over the layer, and what Python its scripts need. A finding of oelint is removed, or explained in
`oelint-explained`; an explanation nobody needs is a fault."""

import ast
import fnmatch
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from layer import PYTHON, SERIES
from variables import documented

# Asks the internet whether a page is there: the answer is no property of the layer.
LEFT_OUT = "oelint.vars.homepageping"
# Modules of Python's own that came after the oldest Python of a build host.
NEWER_MODULES = {"tomllib": (3, 11), "wsgiref.types": (3, 11), "compression": (3, 14), "annotationlib": (3, 14)}
FINDING = re.compile(r"^(.+?)\|(-?\d+)\|(\w+)\|([\w.-]+)\|(.*)$")


def explanations(layer, case):
    """Lines of `RULE FILES REASON`: the rule, files of the layer as a shell pattern, and why."""
    known, explained = [], layer.explained
    for number, line in enumerate(explained.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        words = line.split(None, 2)
        if len(words) < 3:
            case.fault(explained, number, "an explanation has a rule, files and a reason", "complete the line")
        else:
            known.append((number, words[0], words[1]))
    return known


def oelint(*arguments):
    """Runs the tool."""
    return subprocess.run([sys.executable, "-m", "oelint_adv", "--release", SERIES, *arguments],
                          capture_output=True, text=True, check=False)


def findings(layer, files, case, scratch):
    """(file, line, rule, message) of all files at once, because rules look across files."""
    rules = json.loads(oelint("--print-rulefile").stdout)
    rules.pop(LEFT_OUT)
    (scratch / "rules.json").write_text(json.dumps(rules))
    readme = layer.path / "README.md"
    ours = sorted(documented(readme.read_text())) if readme.exists() else []
    (scratch / "ours.json").write_text(json.dumps({"variables": {"known": ours}}))
    answer = oelint("--quiet", "--exit-zero", "--jobs", "2", "--rulefile", str(scratch / "rules.json"),
                    "--constantmods", f"+{scratch / 'ours.json'}", "--extra-layer", "core", "rauc", "virtualization-layer",
                    "--messageformat", "{path}|{line}|{severity}|{id}|{msg}", "--", *map(str, files))
    if answer.returncode:
        case.fault(layer.path, 0, f"oelint-adv ended with {answer.returncode}: {answer.stderr[-2000:]}", "see its message")
    for line in (answer.stdout + answer.stderr).splitlines():
        found = FINDING.match(line)
        if found:
            yield found[1], int(found[2]), found[4], found[5].replace("[branch:true]", "").strip()


def check(layer, report):
    """Each finding needs an explanation, each explanation a finding."""
    with report.case("lint: oelint-adv") as case, tempfile.TemporaryDirectory() as scratch:
        files = layer.metadata()
        known, needed = explanations(layer, case), set()
        for file, number, rule, message in findings(layer, files, case, Path(scratch)):
            inside = str(Path(file).relative_to(layer.path))
            why = [k for k in known if fnmatch.fnmatch(rule, k[1]) and fnmatch.fnmatch(inside, k[2])]
            needed.update(why)
            if not why:
                case.fault(file, number, f"{rule}: {message}",
                           "do what the rule says, or give the reason in recipes/checks/oelint-explained")
        for number, rule, pattern in known:
            if (number, rule, pattern) not in needed:
                case.fault(layer.explained, number, f"nothing is found any more for {rule} in {pattern}", "take the line out")
    with report.case("lint: no silent exceptions in the files") as case:
        for file in files:
            for number, line in enumerate(file.read_text().splitlines(), 1):
                if "nooelint" in line:
                    case.fault(file, number, "a finding is silenced in the file",
                               "take it out and give the reason in recipes/checks/oelint-explained")
    check_python(layer, report)


def python_files(layer):
    """What people run on their build hosts: the layer's scripts and these checks."""
    for file in sorted([*(layer.path / "scripts").iterdir(), *(layer.recipes / "checks").glob("*.py")]):
        if file.suffix == ".py" or file.is_file() and file.read_text().partition("\n")[0].endswith("python3"):
            yield file


def check_python(layer, report):
    """The scripts run with the Python of every build host that the guide names."""
    oldest = ".".join(map(str, PYTHON))
    with report.case(f"lint: scripts are content with Python {oldest}") as case:
        for file in python_files(layer):
            try:
                tree = ast.parse(file.read_text(), feature_version=PYTHON)
            except SyntaxError as problem:
                case.fault(file, problem.lineno or 0, f"Python {oldest} cannot read this: {problem.msg}", "write it in an older way")
                continue
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    since = NEWER_MODULES.get(name, NEWER_MODULES.get(name.split(".")[0], PYTHON))
                    if since > PYTHON:
                        case.fault(file, node.lineno, f"{name} is not in Python {oldest}", "do without it")
