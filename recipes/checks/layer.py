"""Where things lie in the project, and how its files are read."""

import re
from pathlib import Path

# What the layer is written for. The full form compares this with the checkouts.
SERIES = "wrynose"
BITBAKE = "2.18"
RUST = "1.94.1"
# The oldest Python of the build hosts that recipes/README.md names: Ubuntu 22.04's.
PYTHON = (3, 10)

METADATA = (".bb", ".bbappend", ".bbclass", ".conf", ".inc")


class Layer:
    """The layer and what belongs to it, below the project's directory."""

    def __init__(self, project):
        self.project = Path(project).resolve()
        self.path = self.project / "meta-margo"
        self.recipes = self.project / "recipes"
        self.explained = self.recipes / "checks" / "oelint-explained"

    def metadata(self, *kinds):
        """BitBake's files of the layer, in a fixed order; `os/` holds the device's own files, not BitBake's."""
        found = (file for file in self.path.rglob("*") if file.suffix in (kinds or METADATA) and file.is_file())
        return sorted(file for file in found if self.is_metadata(file))

    def is_metadata(self, file):
        """A *.conf among what a recipe installs is none of BitBake's."""
        inside = file.relative_to(self.path)
        return inside.parts[0] != "os" and (file.suffix != ".conf" or inside.parts[0] == "conf")

    def kas_files(self):
        """The kas files, without the lock files."""
        return [file for file in sorted(self.recipes.glob("*.yml")) if not file.name.endswith(".lock.yml")]


def line_of(text, pattern):
    """The number of the first line that matches, or 0."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(pattern, line):
            return number
    return 0
