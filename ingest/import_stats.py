"""Statistics of an import. `ingest.report` formats these statistics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ingest.clock_changes import Change, change_between
from ingest.table import Fault, Row

MAX_REPORTED = 20
"""Maximum number of faults that are reported, one line for each fault. Further faults are only counted."""


@dataclass
class Gap:
    """The gaps in the times of the rows. A gap is a time without rows that is longer than 1.5 times the usual step.

    `count` is the number of gaps, `longest` is the length of the longest gap, and `until` is the end of that gap.
    """

    count: int = 0
    longest: timedelta = timedelta(0)
    until: datetime | None = None


@dataclass
class ImportStats:
    """Counts the rows and readings of an import.

    `report` is a function that shows a line of text to the operator immediately.
    """

    zone: ZoneInfo
    step: timedelta | None
    report: Callable[[str], None]
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
    stuck: int = 0  # rows whose time is not after that of the previous row
    stuck_at: datetime | None = None
    gap: Gap = field(default_factory=Gap)
    _before: datetime | None = None
    _faults: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all rows and cells were imported."""
        return not self.bad_rows and not self.bad_cells

    def count_row(self, row: Row) -> None:
        """Count a row of the file, and report its faults."""
        self.rows += 1
        for fault in row.faults:
            self._report_fault(fault)
        if row.time is None:
            self.bad_rows += 1
        else:
            self.bad_cells += len(row.faults)

    def skip_row(self, line: int, why: str) -> None:
        """Count and report a row whose time cannot be converted to an instant."""
        self._report_fault(Fault(line, None, why))
        self.bad_rows += 1

    def count_moment(self, instant: datetime, pass_number: int, *, naive: bool, values: list[float | None]) -> None:
        """Count a row that can be imported. `clock_changes.Resolved` explains `pass_number`."""
        readings = sum(value is not None for value in values)
        self.readings += readings
        self.naive |= naive
        if pass_number:
            self.repeated_rows[pass_number - 1] += 1
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

    def _report_fault(self, fault: Fault) -> None:
        self._faults += 1
        if self._faults <= MAX_REPORTED:
            self.report(str(fault))
        elif self._faults == MAX_REPORTED + 1:
            self.report(f"more than {MAX_REPORTED} faults: further faults are only counted")
