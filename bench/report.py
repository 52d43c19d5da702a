"""The results of the benchmark, as rows with targets.

The benchmark prints each row at once, and later writes all rows to docs/performance.md.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

NOT_MEASURED = "not measured"
DID_NOT_KEEP_UP = "did not keep up"


@dataclass(frozen=True)
class Row:
    """A measured result. `promised` is the target of the result, as text.

    `holds` is whether the result meets the target. It is None if there is no target or no measurement.
    """

    subject: str
    what: str
    figure: str
    promised: str = ""
    holds: bool | None = None

    @property
    def verdict(self) -> str:
        """A word that says whether the result meets its target."""
        return {True: "yes", False: "NO", None: ""}[self.holds]


@dataclass
class Report:
    """All rows so far. `bars` contains the data of the plot: CPU time per message, by number of clients and server."""

    rows: list[Row] = field(default_factory=list)
    bars: dict[str, dict[str, float]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    subject: str = ""

    def start(self, subject: str, title: str) -> None:
        """Start a subject. `title` describes what is measured."""
        self.subject = subject
        self.titles[subject] = title
        print(f"\n{subject}: {title}", flush=True)

    def tell(self, what: str, figure: str) -> None:
        """Add a result without a target."""
        self._add(Row(self.subject, what, figure))

    def at_most(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a result whose target is at most `limit`."""
        self._promise(what, value, f"at most {number(limit, unit)}", unit, operator.le, limit)

    def below(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a result whose target is below `limit`."""
        self._promise(what, value, f"below {number(limit, unit)}", unit, operator.lt, limit)

    def above(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        """Add a result whose target is above `limit`."""
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
    """Format a number. None becomes `not measured`.

    Whole numbers have no decimals. Other numbers from 1 to 100 have three significant digits, smaller ones have three
    decimals, and larger ones have none.
    """
    if value is None:
        return NOT_MEASURED
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".strip()


def quotient(value: float | None, base: float | None) -> float | None:
    """Return `value` divided by `base`. Return None if one of them was not measured, or if `base` is zero."""
    return None if value is None or not base else value / base
