"""Renders the parts of docs/faults.md and docs/zh/faults.md that contain results of tests.

Each part stands between `<!-- results: NAME -->` and `<!-- end of results -->`. The rest of the pages is written by
hand. `python -m tests.support.fault_page` writes the stored results into the pages, for example after a change of
`fault_words.yaml`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.support.fault_results import STORED, Figures, Language, Results, Soak, Words, read_results, read_words, store
from tests.support.serving import ROOT

PAGES: dict[Language, Path] = {"en": ROOT / "docs" / "faults.md", "zh": ROOT / "docs" / "zh" / "faults.md"}

_PART = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->\n)", re.DOTALL)


class FaultRow(msgspec.Struct, frozen=True):
    """The result of one fault, as a row of the table of faults."""

    readings: int
    """Number of readings committed from the end of the previous fault to the end of this fault."""
    lost: int
    """Number of committed readings that the poller did not hand out."""
    doubled: int
    """Number of times that the poller handed out a reading that it had already handed out."""
    transitions: int
    """Number of alarm transitions from the end of the previous fault to the end of this fault."""
    told_lost: int
    """Number of alarm transitions that a client did not receive, summed over all clients."""
    told_doubled: int
    """Number of alarm transitions that a client received twice, summed over all clients."""
    told_s: float | None
    """Time until the last client noticed the fault, in seconds. None if no client should notice it."""
    current_s: float
    """Time from the end of the fault until every client showed current data, in seconds."""
    needless: int
    """Number of clients that saw stale data or lost the connection during a fault that should affect no client."""

    def cells(self) -> list[str]:
        """Return the cells of the row, without the name of the fault."""
        told = (
            f"{self.told_s:.1f}"
            if self.told_s is not None
            else f"needlessly: {self.needless}"
            if self.needless
            else "-"
        )
        counts = [self.readings, self.readings - self.lost, self.lost, self.doubled]
        counts += [self.transitions, self.told_lost, self.told_doubled]
        return [*map(str, counts), told, f"{self.current_s:.1f}"]

    @property
    def is_whole(self) -> bool:
        """Whether every reading and every alarm transition arrived exactly once."""
        return self.lost == self.doubled == self.told_lost == self.told_doubled == 0


def render(page: str, language: Language, results: Results) -> str:
    """Return the page with the given results."""
    parts = _parts(read_words(), language, results)
    return _PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]}\n\n{part[3]}", page)


def write(results: Results) -> None:
    """Write the results to docs/faults.json and into both pages."""
    store(results)
    for language, path in PAGES.items():
        path.write_text(render(path.read_text(encoding="utf-8"), language, results), encoding="utf-8")
    print(f"wrote {', '.join(str(path.relative_to(ROOT)) for path in (STORED, *PAGES.values()))}")


def fault_table(rows: dict[str, FaultRow]) -> str:
    """Return the results of faults as a table in English."""
    head = read_words().faults_head["en"]
    return _table(head, [[name, *row.cells()] for name, row in rows.items()], numbers_from=1)


def plain(figures: dict[str, Figures]) -> str:
    """Return the figures that tests recorded as a text in English."""
    words = read_words()
    tests = {name: texts.result["en"] for name, texts in words.tests.items() if name in figures}
    lines = [f"{name}: {result.format_map(figures[name])}" for name, result in tests.items()]
    return "\n".join([fault_table(_fault_rows(words, figures)), *lines])


def soak_tables(soak: Soak, language: Language = "en") -> str:
    """Return the results of the long run as two tables: the samples, and the figures of the whole run."""
    words = read_words()
    samples = [[f"{value:.0f}" for value in sample] for sample in soak.samples]
    figures = [[texts.test[language], texts.result[language].format_map(soak.figures)] for texts in words.soak]
    return "\n\n".join(
        [
            _table(words.soak_samples_head[language], samples, numbers_from=0),
            _table(words.soak_head[language], figures, numbers_from=1),
        ]
    )


def _parts(words: Words, language: Language, results: Results) -> dict[str, str]:
    return {
        "machine": words.machine[language].format_map(results.machine.figures()),
        "summary": words.summary[language].format_map(_summary(words, results.figures)),
        "faults": _table(words.faults_head[language], _faults(words, language, results.figures), numbers_from=1),
        "tests": _table(words.tests_head[language], _tests(words, language, results.figures)),
        "soak_machine": words.machine[language].format_map(results.soak.machine.figures()),
        "soak": soak_tables(results.soak, language),
    }


def _fault_rows(words: Words, figures: dict[str, Figures]) -> dict[str, FaultRow]:
    return {name: msgspec.convert(figures[name], FaultRow) for name in words.faults if name in figures}


def _summary(words: Words, figures: dict[str, Figures]) -> Figures:
    rows = _fault_rows(words, figures).values()
    return {
        "faults": len(rows),
        "told_s": max((row.told_s or 0.0 for row in rows), default=0.0),
        "current_s": max((row.current_s for row in rows), default=0.0),
    }


def _faults(words: Words, language: Language, figures: dict[str, Figures]) -> list[list[str]]:
    rows = _fault_rows(words, figures)
    return [
        [
            english if language == "en" else chinese,
            *(rows[english].cells() if english in rows else [words.missing[language]]),
        ]
        for english, chinese in words.faults.items()
    ]


def _tests(words: Words, language: Language, figures: dict[str, Figures]) -> list[list[str]]:
    missing = words.missing[language]
    return [
        [texts.test[language], texts.result[language].format_map(figures[name]) if name in figures else missing]
        for name, texts in words.tests.items()
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> str:
    """Return a Markdown table. Align the columns from the number `numbers_from` to the right."""
    left = len(head) if numbers_from is None else numbers_from
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


if __name__ == "__main__":
    write(read_results())
