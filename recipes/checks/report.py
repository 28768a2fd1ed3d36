"""What the checks say: one line for each thing looked at, each fault with file, line and next step, and the counts."""

import contextlib
import sys
import time
from pathlib import Path


class Case:
    """One thing that is looked at. It passes when it ends without a fault."""

    def __init__(self, project):
        self.project = project
        self.faults = []

    def fault(self, file, line, message, next_step):
        """Something is wrong in a line of a file (0: in the file as a whole)."""
        name = str(file)
        with contextlib.suppress(ValueError):
            name = str(Path(file).relative_to(self.project))
        fault = f"{name}{f':{line}' if line else ''}: {message}\n    next step: {next_step}"
        if fault not in self.faults:
            self.faults.append(fault)


class Report:
    """Counts, and prints as it goes, so that a reader sees what takes long."""

    def __init__(self, project, out=sys.stdout):
        self.project = Path(project)
        self.out = out
        self.passed = self.failed = self.ignored = 0
        self.told = set()

    def say(self, text):
        print(text, file=self.out, flush=True)

    @contextlib.contextmanager
    def case(self, name):
        """Looks at one thing. A surprise is a fault of the case and does not stop the others."""
        case, began = Case(self.project), time.monotonic()
        print(f"{name} ... ", end="", file=self.out, flush=True)
        try:
            yield case
        except Exception as problem:  # noqa: BLE001  whatever it is, the reader must hear of it
            where = problem.__traceback__
            while where.tb_next:
                where = where.tb_next
            case.fault(where.tb_frame.f_code.co_filename, where.tb_lineno, f"{type(problem).__name__}: {problem}",
                       "the check itself stumbled: correct what it read, or the check")
        took = time.monotonic() - began
        self.say(f"{'FAILED' if case.faults else 'ok'}{f' ({took:.0f} s)' if took >= 2 else ''}")
        fresh = [fault for fault in case.faults if fault not in self.told]
        for fault in fresh:
            self.say(f"  error: {fault}")
        if len(fresh) < len(case.faults):
            self.say(f"  error: {len(case.faults) - len(fresh)} more that were told above")
        self.told.update(fresh)
        if case.faults:
            self.failed += 1
        else:
            self.passed += 1

    def skip(self, name, why):
        """Something that cannot be looked at here."""
        self.ignored += 1
        self.say(f"{name} ... skipped")
        self.say(f"skipped: {name}: {why}")

    def end(self):
        """The totals, in the words that tests/tools/common.sh adds up. Returns the exit code."""
        # Where nothing was looked at, nothing is well.
        bad = self.failed or not self.passed
        verdict = "FAILED" if bad else "ok"
        self.say(f"\ntest result: {verdict}. {self.passed} passed; {self.failed} failed; {self.ignored} ignored")
        return 1 if bad else 0
