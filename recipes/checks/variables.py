"""Every MARGO_ variable is documented, and every documented one is used."""

import re

NAME = re.compile(r"\bMARGO_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
ROW = re.compile(r"^\|\s*`(MARGO_[A-Z0-9_]+)`\s*\|")
# What BitBake reads, besides its own files: templates, and Python of the layer.
ALSO_READ = (".wks", ".in", ".py", ".inc", ".sh")


def documented(text):
    """Variables with a row in a table, and the line of it."""
    rows = {}
    for number, line in enumerate(text.splitlines(), 1):
        for name in ROW.findall(line):
            rows.setdefault(name, []).append(number)
    return rows


def used(layer):
    """Variables in the layer's own code, and where each is met first. Comments do not count."""
    places = {}
    files = set(layer.metadata())
    for file in layer.path.rglob("*"):
        inside = file.relative_to(layer.path).parts
        if file.is_file() and file.suffix in ALSO_READ and inside[0] not in ("os", "tests"):
            files.add(file)
    for file in sorted(files):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.lstrip().startswith("#"):
                continue
            for name in NAME.findall(line):
                places.setdefault(name, (file, number))
    return places


def check(layer, report):
    """Both directions, against the table of the layer's README; and the names that recipes/ uses."""
    readme = layer.path / "README.md"
    with report.case("variables: the table of meta-margo/README.md and the layer") as case:
        if not readme.exists():
            case.fault(readme, 0, "is not there", "write it, with a table of the layer's variables")
            return
        rows, places = documented(readme.read_text()), used(layer)
        for name in sorted(places.keys() - rows.keys()):
            case.fault(*places[name], f"{name} is used and not documented",
                       "add a row to the table of variables in meta-margo/README.md, or correct the name")
        for name in sorted(rows.keys() - places.keys()):
            case.fault(readme, rows[name][0], f"{name} is documented and used nowhere", "take the row out, or use it")
        for name, numbers in sorted(rows.items()):
            if len(numbers) > 1:
                case.fault(readme, numbers[1], f"{name} is documented twice", "leave one row")
    with report.case("variables: those of recipes/ exist") as case:
        known = documented(readme.read_text())
        for file in [*layer.kas_files(), *sorted(layer.recipes.glob("*.md"))]:
            for number, line in enumerate(file.read_text().splitlines(), 1):
                for name in NAME.findall(line):
                    if name not in known and not name.startswith(("MARGO_QEMU_", "MARGO_UPSTREAM_", "MARGO_TOOLS_")):
                        case.fault(file, number, f"{name} is no variable of the layer",
                                   "correct the name; the variables are in meta-margo/README.md")
