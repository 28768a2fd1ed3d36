"""recipes/check without its installation: the checks that need packages only."""

import argparse
import os
import sys
from pathlib import Path

import bitbake
import crates
import guide
import kasfiles
import lint
import shared
import upstream
import variables
from layer import Layer
from report import Report

def with_checkouts(layer, report):
    """The full form, where it is possible."""
    directory = os.environ.get("MARGO_UPSTREAM_LAYERS", "")
    if directory:
        upstream.check(layer, report, directory)
        return
    report.skip("upstream", "MARGO_UPSTREAM_LAYERS does not name a directory with checkouts of the upstream layers. "
                "NOT CHECKED: bitbake -p, bitbake -g, yocto-check-layer (recipes/README.md tells how)")


CHECKS = {
    "lint": [lint.check],
    "kas": [kasfiles.check],
    "bitbake": [bitbake.check],
    "crates": [crates.check_list],
    "rust": [crates.check_rust],
    "variables": [variables.check],
    "shared": [shared.check],
    "guide": [guide.check],
    "upstream": [with_checkouts],
}


def main():
    options = argparse.ArgumentParser(prog="recipes/check")
    options.add_argument("--project", type=Path, default=Path(__file__).parents[2], help="the project's directory")
    options.add_argument("checks", nargs="*", metavar="CHECK", help=f"only these: {', '.join(CHECKS)}")
    chosen = options.parse_args()
    unknown = set(chosen.checks) - CHECKS.keys()
    if unknown:
        options.error(f"no such check: {', '.join(unknown)} (there are: {', '.join(CHECKS)})")
    layer = Layer(chosen.project)
    report = Report(layer.project)
    for name in chosen.checks or CHECKS:
        for check in CHECKS[name]:
            check(layer, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
