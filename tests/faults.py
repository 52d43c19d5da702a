"""The command of `make faults`: runs all tests marked `faults` and prints the results.

If every test passes, the command writes the results to docs/faults.json, docs/faults.md and docs/zh/faults.md.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.support import fault_page
from tests.support.fault_results import Figures, Machine, Results, read_results, read_words
from tests.support.serving import ROOT

TOGETHER = ("faults and not serial", "-n", "4", "--dist", "worksteal")
"""Tests that run in parallel. They mostly wait, so four processes keep two cores busy."""
ALONE = ("faults and serial",)
"""Tests that check times, and therefore need the machine for themselves."""
OPTIONS = ("--durations=0", "--durations-min=10", "-o", "faulthandler_timeout=1800")


class Report(NamedTuple):
    """The outcome of one run of pytest."""

    passed: bool
    """Whether at least one test ran, and every test passed. A skipped test has not passed."""
    figures: list[tuple[str, Figures]]
    """The figures that the tests recorded, with the name of their row."""


def run_tests(marks: str, *options: str) -> Report:
    """Run the tests with these marks in a new process. Return the outcome."""
    # These options of the caller could leave out tests.
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", marks, *options, *OPTIONS, f"--junit-xml={report}"]
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        xml = report.read_text(encoding="utf-8") if report.exists() else "<testsuites/>"
    return read_report(status, xml)


def read_report(status: int, xml: str) -> Report:
    """Return the outcome from pytest's exit status and its report in the format of JUnit."""
    suites = ElementTree.fromstring(xml)  # noqa: S314 - pytest wrote this report
    skipped = [case.get("name") for case in suites.iter("testcase") if case.find("skipped") is not None]
    if skipped:
        print(f"skipped: {', '.join(map(str, skipped))}")
    figures = [(str(entry.get("name")), json.loads(str(entry.get("value")))) for entry in suites.iter("property")]
    return Report(status == 0 and not skipped, figures)


def complete(reports: Sequence[Report]) -> dict[str, Figures]:
    """Return the figures of all rows. Raise ValueError with the reason if the reports do not make a complete run."""
    if not all(report.passed for report in reports):
        raise ValueError("not every test passed")
    recorded = [entry for report in reports for entry in report.figures]
    figures = dict(recorded)
    names = read_words().names
    if missing := [name for name in names if name not in figures]:
        raise ValueError(f"no test recorded figures for: {', '.join(missing)}")
    if len(recorded) > len(figures):
        raise ValueError("two tests recorded figures with the same name")
    return {name: figures[name] for name in names}


def main() -> int:
    """Run the command. Return its exit status."""
    with suppress(KeyboardInterrupt):
        reports = [run_tests(*TOGETHER), run_tests(*ALONE)]
        print(fault_page.plain(dict(entry for report in reports for entry in report.figures)))
        try:
            figures = complete(reports)
        except ValueError as reason:
            print(f"The pages stay as they are: {reason}.")
            return 1
        fault_page.write(Results(Machine.this(), figures, read_results().soak))
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
