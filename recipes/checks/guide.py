"""The guide can be copied: its commands parse, its kas and TOML examples are valid, and what it names is there."""

import re
import subprocess

import jsonschema
import yaml
from kas import configschema

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path of the project in a command or between backticks; names with dots or patterns in them stand for others.
PATH = re.compile(r"(?<![\w/.$<-])((?:recipes|qemu|meta-margo|agent|tests|checks)/[\w./@-]*[\w-])(?![\w*])")
OPTION = re.compile(r"\b(qemu/\w+|recipes/check)((?: +--?[a-z][-\w]*(?: +[\w./:$]+)?)*)")


def check(layer, report):
    """Every Markdown file of recipes/."""
    for file in sorted(layer.recipes.glob("*.md")):
        text = file.read_text()
        with report.case(f"guide: the examples of {file.name}") as case:
            for block in FENCE.finditer(text):
                line = text.count("\n", 0, block.start()) + 1
                check_block(case, file, line, block[1], block[2])
        with report.case(f"guide: what {file.name} names is there") as case:
            check_names(layer, case, file, text)


def check_block(case, file, line, language, content):
    """One fenced block, in its own language."""
    if language == "sh":
        answer = subprocess.run(["bash", "-n"], input=content, capture_output=True, text=True, check=False)
        if answer.returncode:
            inside = re.search(r"line (\d+)", answer.stderr)
            case.fault(file, line + int(inside[1] if inside else 0), answer.stderr.strip(), "correct the command")
    elif language == "yaml":
        try:
            data = yaml.safe_load(content)
        except yaml.YAMLError as problem:
            case.fault(file, line, f"no YAML: {problem}", "correct the example")
            return
        if isinstance(data, dict) and "header" in data:
            for error in jsonschema.Draft7Validator(configschema.CONFIGSCHEMA).iter_errors(data):
                case.fault(file, line, f"no kas file: {error.message}", "correct the example")
    elif language not in ("toml", "bitbake", ""):
        case.fault(file, line, f"a block in {language!r}", "use sh, yaml, toml or bitbake")


def check_names(layer, case, file, text):
    """Links, headings, paths of the project, and options of its scripts."""
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for number, line in enumerate(text.splitlines(), 1):
        for target in LINK.findall(line):
            if target.startswith("#"):
                if target[1:] not in headings:
                    case.fault(file, number, f"there is no heading for {target}", "correct the link")
            elif "://" not in target and not (file.parent / target.split("#")[0]).exists():
                case.fault(file, number, f"there is no {target}", "correct the link")
        for path in PATH.findall(line):
            places = (layer.project / path, layer.recipes / path)
            if not any(place.exists() for place in places):
                case.fault(file, number, f"there is no {path}", "correct the path")
        for script, words in OPTION.findall(line):
            source = layer.project / script
            for option in re.findall(r"--[a-z][a-z-]+", words):
                if source.is_file() and option not in source.read_text() and not is_of_harness(layer, script, option):
                    case.fault(file, number, f"{script} has no option {option}", "see its --help")


def is_of_harness(layer, script, option):
    """qemu/test, run and demo hand their options to the harness."""
    if script not in ("qemu/test", "qemu/run", "qemu/demo"):
        return False
    name = option[2:].replace("-", "_")
    sources = (layer.project / "qemu" / "harness" / "src").rglob("*.rs")
    return any(re.search(rf"\b{name}\b", source.read_text()) for source in sources)
