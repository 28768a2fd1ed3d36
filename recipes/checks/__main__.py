"""recipes/check without its installation: the checks that need packages only."""

import argparse
import sys
from pathlib import Path

import bitbake
import crates
import kasfiles
import lint
import shared
import variables
from layer import Layer
from report import Report

CHECKS = {
    "lint": [lint.check],
    "kas": [kasfiles.check],
    "bitbake": [bitbake.check],
    "crates": [crates.check_list],
    "rust": [crates.check_rust],
    "variables": [variables.check],
    "shared": [shared.check],
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
