"""The figures of docs/faults.md: the fixture `record_result` records them, and docs/faults.json keeps them.

A test records its figures with one line: `record_result("judge killed", kills=100, alarms=840)`. The name must have an
entry in `fault_words.yaml`. This entry contains the row's texts in both languages, in which `{kills}` stands for a
figure. `python -m tests.faults` runs the tests and collects what they recorded.
"""

import os
import platform
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, Self

import msgspec

from tests.support.services.private import require
from tests.support.serving import ROOT

STORED = ROOT / "docs" / "faults.json"
"""The results of the last complete run of `make faults`, and of the last `make soak`."""

Language = Literal["en", "zh"]
Text = dict[Language, str]
Figure = float | int | str | None
Figures = dict[str, Figure]


class Machine(msgspec.Struct):
    """When and on which machine tests ran."""

    date: str
    cores: int
    versions: str

    @classmethod
    def this(cls) -> Self:
        """Return the description of this machine today."""
        commands = {"MariaDB": "mariadbd --version", "Redis": "redis-server --version", "nginx": "nginx -v"}
        versions = [f"{name} {_version(*command.split())}" for name, command in commands.items()]
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        return cls(today, os.cpu_count() or 1, ", ".join([f"Python {platform.python_version()}", *versions]))

    def figures(self) -> Figures:
        """Return the fields as figures for a text."""
        return dict(msgspec.to_builtins(self))


def _version(program: str, option: str) -> str:
    command = [require(program, program), option]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
    number = re.search(r"\d+(\.\d+)+", told)
    return number[0] if number else "?"


class Soak(msgspec.Struct):
    """The results of the long run."""

    machine: Machine
    samples: list[list[float]]
    """Samples of the server's resources, in the order of their times: the columns of the table on the page."""
    figures: Figures


class Results(msgspec.Struct):
    """The figures of docs/faults.md."""

    machine: Machine
    figures: dict[str, Figures]
    """The figures of each row of the tables, by the name of the row."""
    soak: Soak


class TestTexts(msgspec.Struct, forbid_unknown_fields=True):
    """The texts of a row of the table *Other fault tests*: what the test does, and its result."""

    __test__ = False
    test: Text
    result: Text


class Words(msgspec.Struct, forbid_unknown_fields=True):
    """All texts of docs/faults.md that contain figures."""

    machine: Text
    summary: Text
    missing: Text
    faults_head: dict[Language, list[str]]
    faults: dict[str, str]
    """The faults in the order of the table: the English name, which is also the name of the row, and the Chinese."""
    tests_head: dict[Language, list[str]]
    tests: dict[str, TestTexts]
    soak_samples_head: dict[Language, list[str]]
    soak_head: dict[Language, list[str]]
    soak: list[TestTexts]

    @property
    def names(self) -> list[str]:
        """The names of all rows for which `make faults` must record figures."""
        return [*self.faults, *self.tests]


def read_words() -> Words:
    """Return the texts in `fault_words.yaml`."""
    return msgspec.yaml.decode(Path(__file__).with_name("fault_words.yaml").read_bytes(), type=Words)


def read_results() -> Results:
    """Return the stored results."""
    return msgspec.json.decode(STORED.read_bytes(), type=Results)


def store(results: Results) -> None:
    """Write the results to docs/faults.json."""
    STORED.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")


class RecordResult(Protocol):
    """Type of the fixture `record_result`."""

    def __call__(self, name: str, /, **figures: Figure) -> None: ...


def recorder(properties: list[tuple[str, object]], say: Callable[[str], None]) -> RecordResult:
    """Return a function that adds the figures of the row `name` to a test's `properties`, and prints the row.

    pytest writes the properties into its JUnit report.

    The function fails if `fault_words.yaml` has no such row, or if a text of the row needs another figure.
    """

    def record_result(name: str, /, **figures: Figure) -> None:
        words = read_words()
        if name not in words.faults:  # the tests of these faults print their rows as a table
            texts = words.tests[name].result
            _, line = (texts[language].format_map(figures) for language in ("zh", "en"))
            say(f"{name}: {line}")
        properties.append((name, msgspec.json.encode(figures).decode()))

    return record_result
