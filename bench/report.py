"""What came out: rows with what was promised, printed as they come and written to the page at the end."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

NOT_MEASURED = "not measured"
DID_NOT_KEEP_UP = "did not keep up"


@dataclass(frozen=True)
class Row:
    """One figure; `promised` in words, `holds` None where nothing was promised or nothing could be measured."""

    subject: str
    what: str
    figure: str
    promised: str = ""
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """Whether it holds, in a word."""
        return {True: "yes", False: "NO", None: ""}[self.holds]


@dataclass
class Report:
    """All rows so far, by subjects; `bars` are for the plot: CPU per message by clients and by peer."""

    rows: list[Row] = field(default_factory=list)
    bars: dict[str, dict[str, float]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    subject: str = ""

    def start(self, subject: str, title: str) -> None:
        """Start a subject; `title` says what is measured there."""
        self.subject = subject
        self.titles[subject] = title
        print(f"\n{subject}: {title}", flush=True)

    def tell(self, what: str, figure: str) -> None:
        """Add a figure for which nothing was promised."""
        self._add(Row(self.subject, what, figure))

    def at_most(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a figure that was promised to be at most `limit`."""
        self._promise(what, value, f"at most {number(limit, unit)}", unit, operator.le, limit)

    def below(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a figure that was promised to be below `limit`."""
        self._promise(what, value, f"below {number(limit, unit)}", unit, operator.lt, limit)

    def above(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a figure that was promised to be above `limit`."""
        self._promise(what, value, f"above {number(limit, unit)}", unit, operator.gt, limit)

    def _promise(
        self,
        what: str,
        value: float | None,
        promised: str,
        unit: str,
        compare: Callable[[float, float], bool],
        limit: float,
    ) -> None:
        holds = None if value is None else compare(value, limit)
        self._add(Row(self.subject, what, number(value, unit), promised, holds))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        promise = f"   {row.promised}: {row.verdict}" if row.promised else ""
        print(f"  {row.what:<72} {row.figure:>14}{promise}", flush=True)


def number(value: float | None, unit: str = "") -> str:
    """Return three significant digits, and all of a larger number; of None, that it was not measured."""
    if value is None:
        return NOT_MEASURED
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".strip()


def quotient(value: float | None, base: float | None) -> float | None:
    """Return the ratio of two figures, None where either was not measured or the base is zero."""
    return None if value is None or not base else value / base
