"""What an import met, counted as it goes; `ingest.report` puts it into words."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ingest.clock_changes import Change, change_between
from ingest.table import Fault, Row

NAMED = 20
"""Faults that are named, each as it is met; those after it are only counted."""


@dataclass
class Gap:
    """The longest stretch without a row, and how many there are; one is more than half a step too long."""

    count: int = 0
    longest: timedelta = timedelta(0)
    until: datetime | None = None


@dataclass
class Tally:
    """`say` tells the operator one line at once."""

    zone: ZoneInfo
    step: timedelta | None
    say: Callable[[str], None]
    rows: int = 0
    bad_rows: int = 0
    bad_cells: int = 0
    readings: int = 0
    added: int = 0
    first: datetime | None = None
    last: datetime | None = None
    naive: bool = False
    repeated_rows: list[int] = field(default_factory=lambda: [0, 0])
    repeated_readings: int = 0
    changes: dict[datetime, Change] = field(default_factory=dict)
    stuck: int = 0  # rows whose time does not lie beyond the one before
    stuck_at: datetime | None = None
    gap: Gap = field(default_factory=Gap)
    _before: datetime | None = None
    _faults: int = 0

    @property
    def is_complete(self) -> bool:
        """Nothing had to be left out."""
        return not self.bad_rows and not self.bad_cells

    def count_row(self, row: Row) -> None:
        """Count a row of the file, and name what is wrong with it."""
        self.rows += 1
        for fault in row.faults:
            self._name(fault)
        if row.time is None:
            self.bad_rows += 1
        else:
            self.bad_cells += len(row.faults)

    def leave_out_row(self, line: int, why: str) -> None:
        """Count and name a row whose time means no instant."""
        self._name(Fault(line, None, why))
        self.bad_rows += 1

    def count_moment(self, instant: datetime, turn: int, *, naive: bool, values: list[float | None]) -> None:
        """Count a row that can go in; `turn` as in `clock_changes.Resolved`."""
        readings = sum(value is not None for value in values)
        self.readings += readings
        self.naive |= naive
        if turn:
            self.repeated_rows[turn - 1] += 1
            self.repeated_readings += readings
        if self._before is not None:
            self._count_stretch(self._before, instant)
        self.first = min(self.first or instant, instant)
        self.last = max(self.last or instant, instant)
        self._before = instant

    def _count_stretch(self, start: datetime, end: datetime) -> None:
        change = change_between(self.zone, start, end)
        if change:
            self.changes[change.local] = change
        stretch = abs(end - start)
        if self.step and (end - start) / self.step <= 0:
            self.stuck += 1
            self.stuck_at = self.stuck_at or end
        elif self.step and stretch > abs(self.step) * 1.5:
            self.gap.count += 1
            if stretch > self.gap.longest:
                self.gap.longest, self.gap.until = stretch, max(start, end)

    def _name(self, fault: Fault) -> None:
        self._faults += 1
        if self._faults <= NAMED:
            self.say(str(fault))
        elif self._faults == NAMED + 1:
            self.say(f"more than {NAMED} are bad: the others are only counted")
