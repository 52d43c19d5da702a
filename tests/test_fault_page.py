"""docs/faults.md and docs/zh/faults.md contain the results of the last complete run of `make faults`, and no others."""

import string
from pathlib import Path

import pytest

from tests.faults import Report, complete, run_tests
from tests.support import fault_page
from tests.support.fault_results import Figures, Language, Text, read_results, read_words
from tests.support.faults import FILE, MARIADB, PROCESSES, REDIS

LANGUAGES: tuple[Language, ...] = ("en", "zh")
FAILOVERS = ["MariaDB failed over", "Redis failed over"]
TWO_TESTS = """
import pytest
from tests.support.fault_results import recorder

@pytest.mark.faults
def test_something(request):
    recorder(request.node.user_properties, print)("judge killed", kills=100, alarms=8, expected=8)

@pytest.mark.faults
def test_something_else():
    OUTCOME
"""


def figures() -> dict[str, Figures]:
    """Return figures for each row of the page."""
    return {name: {"kills": 1} for name in read_words().names}


def fields(text: str) -> set[str | None]:
    return {field for _, field, _, _ in string.Formatter().parse(text)} - {None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_exactly_the_stored_results(language: Language) -> None:
    page = fault_page.PAGES[language].read_text(encoding="utf-8")
    assert fault_page.render(page, language, read_results()) == page


@pytest.mark.parametrize("language", LANGUAGES)
def test_another_result_changes_the_page(language: Language) -> None:
    page, results = fault_page.PAGES[language].read_text(encoding="utf-8"), read_results()
    results.figures |= {"judge killed": {"kills": 12_345, "alarms": 1, "expected": 1}}
    results.soak.figures["connections"] = 67_890
    for name in ("MariaDB killed", "SQLite's file locked"):
        results.figures[name]["current_s"] = 98.7
    rendered = fault_page.render(page, language, results)
    assert [rendered.count(figure) for figure in ("12345", "67,890", "98.7")] == [1, 1, 3]  # once in the summary


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_names_a_test_without_results(language: Language) -> None:
    page, results = fault_page.PAGES[language].read_text(encoding="utf-8"), read_results()
    results.figures.clear()
    words = read_words()
    assert fault_page.render(page, language, results).count(words.missing[language]) == len(words.names)


def test_both_languages_show_the_same_figures() -> None:
    words = read_words()
    texts: list[Text] = [words.machine, words.summary]
    texts += [row.result for row in (*words.tests.values(), *words.soak)]
    assert [fields(text["zh"]) for text in texts] == [fields(text["en"]) for text in texts]


def test_each_fault_has_a_row() -> None:
    tested = [fault.name for fault in (*MARIADB, *REDIS, *PROCESSES, *FILE)]
    assert sorted(read_words().faults) == sorted([*tested, *FAILOVERS])


@pytest.mark.slow
@pytest.mark.parametrize(("outcome", "passed"), [("pass", True), ("assert False", False), ("pytest.skip()", False)])
def test_only_a_run_without_failed_or_skipped_tests_passes(outcome: str, passed: bool, tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TWO_TESTS.replace("OUTCOME", outcome))
    report = run_tests("faults", str(tmp_path / "test_two.py"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider")
    assert report == Report(passed, [("judge killed", {"kills": 100, "alarms": 8, "expected": 8})])


def test_a_complete_run_has_figures_for_each_row() -> None:
    recorded = [*figures().items()]
    assert complete([Report(True, recorded[:3]), Report(True, recorded[3:])]) == figures()


@pytest.mark.parametrize(
    ("reports", "reason"),
    [
        ([Report(True, [*figures().items()]), Report(False, [])], "not every test passed"),
        ([Report(True, [*figures().items()][1:])], "MariaDB stopped"),
        ([Report(True, [*figures().items()][:-1])], "charts of a year"),
        ([Report(True, [*figures().items()] * 2)], "same name"),
    ],
    ids=["failed", "without a fault", "without a test", "twice"],
)
def test_an_incomplete_run_gives_no_results(reports: list[Report], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        complete(reports)
