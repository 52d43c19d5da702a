"""Tests of the id tracker, which reads a table with increasing ids.

It delivers each committed row once, no matter in which order the rows are committed.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ask import Ask
from ask.readings import Row, Spans
from live import id_tracker
from live.id_tracker import EAGER_S, IdTracker, Restarted
from live.source import MAX_ROWS, IdSource
from tests.support.rows import row

PATIENCE = 100.0  # seconds
SLOWEST = 3  # seconds for an answer
TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Table:
    """A table in memory. Contains the rows by id, and for each open transaction the time at which it got its id."""

    rows: dict[int, Row] = field(default_factory=dict)
    open: dict[int, float] = field(default_factory=dict)
    last: int = 0

    def hand_out(self, now: float) -> int:
        self.last += 1
        self.open[self.last] = now
        return self.last

    def commit(self, reading_id: int) -> None:
        self.open.pop(reading_id, None)
        self.rows[reading_id] = row(reading_id, TIME + timedelta(seconds=reading_id), float(reading_id))

    def add(self, *reading_ids: int) -> None:
        for reading_id in reading_ids:
            self.commit(reading_id)
            self.last = max(self.last, reading_id)

    def after(self, first_id: int, holes: Spans, most: int) -> list[Row]:
        """Return the same rows that `ask.readings.after` would return."""
        ids = sorted(self.rows)
        late = [reading_id for reading_id in ids if any(low <= reading_id <= high for low, high in holes)][:most]
        ahead = [reading_id for reading_id in ids if reading_id >= first_id][:most]
        return [self.rows[reading_id] for reading_id in late + ahead]


@dataclass
class Reader:
    """Queries the table with an id tracker and counts how often each row is delivered."""

    table: Table
    id_tracker: IdTracker
    now: float = 0.0
    delivered: Counter[int] = field(default_factory=Counter)

    def pass_time(self, seconds: float) -> None:
        """Advance the clock.

        Commit each open transaction shortly before the id tracker stops waiting for the id of the transaction.
        """
        self.now += seconds
        for reading_id, since in list(self.table.open.items()):
            if self.now - since > PATIENCE - SLOWEST:
                self.table.commit(reading_id)

    def ask(self, most: int = 1_000, takes_s: float = 0.0) -> None:
        asked_at = self.now
        query = self.id_tracker.next_query(asked_at)
        self.pass_time(takes_s)
        new = self.id_tracker.add_rows(query, self.table.after(*query, most), most, asked_at)
        self.delivered.update(row.reading_id for row in new if row.reading_id is not None)

    def ask_on(self, most: int = 1_000) -> None:
        """Query the table until all rows have been read and the id tracker waits for no missing id."""
        for _ in range(10_000):
            self.pass_time(2.0)
            self.ask(most)
            if not self.id_tracker.hole_spans() and self.id_tracker.last_id == max(self.table.rows, default=0):
                return
        raise AssertionError("some holes are never given up")


def reader(*reading_ids: int) -> Reader:
    """Return a reader that has just started. Its table contains these rows."""
    table = Table()
    table.add(*reading_ids)
    highest = max(reading_ids, default=0)
    return Reader(table, IdTracker.start_at(highest, 1, reading_ids, PATIENCE, 0.0))


HAND_OUT, COMMIT, ROLL_BACK, PASS, ASK = range(5)
STEPS = st.lists(
    st.tuples(st.sampled_from([HAND_OUT, HAND_OUT, COMMIT, COMMIT, ROLL_BACK, PASS, ASK, ASK]), st.integers(0, 40)),
    max_size=120,
)


@given(STEPS, st.integers(2, 6), st.integers(1, 4))
def test_each_committed_row_is_delivered_once_in_any_interleaving(
    steps: list[tuple[int, int]], most: int, most_holes: int
) -> None:
    asking = reader()
    with patch.object(id_tracker, "MAX_HOLES_PER_QUERY", most_holes):
        for step, number in steps:
            transactions = list(asking.table.open)
            chosen = transactions[number % len(transactions)] if transactions else None
            if step == HAND_OUT:
                asking.table.hand_out(asking.now)
            elif step == COMMIT and chosen:
                asking.table.commit(chosen)
            elif step == ROLL_BACK and chosen:
                del asking.table.open[chosen]
            elif step == PASS:
                asking.pass_time(number)
            elif step == ASK:
                asking.ask(most, takes_s=number % (SLOWEST + 1))
        asking.table.open.clear()
        asking.ask_on(most)
    assert asking.delivered == Counter(asking.table.rows.keys())


def test_initial_rows_are_skipped_but_late_gap_rows_are_delivered() -> None:
    asking = reader(1, 2, 5, 9)
    asking.ask()
    assert not asking.delivered
    asking.table.add(4, 8, 10)
    asking.ask()
    assert sorted(asking.delivered) == [4, 8, 10]


def test_missing_highest_ids_at_the_start_are_a_gap() -> None:
    table = Table()
    table.add(7)  # the highest id was 9, but the row with this id no longer exists
    asking = Reader(table, IdTracker.start_at(9, 5, [7], PATIENCE, 0.0))
    table.add(8, 10)
    asking.ask()
    assert sorted(asking.delivered) == [8, 10]


def test_rows_below_the_lowest_id_count_as_delivered() -> None:
    table = Table()
    table.add(1, 2, 50)
    asking = Reader(table, IdTracker.start_at(50, 40, [50], PATIENCE, 0.0))
    table.add(3, 45)
    asking.ask_on()
    assert sorted(asking.delivered) == [45]


def test_a_hole_is_dropped_only_after_the_patience_time() -> None:
    asking = reader(1, 3)
    for _ in range(int(PATIENCE) - 1):
        asking.now += 1
        asking.ask()
    assert asking.id_tracker.hole_spans() == [(2, 2)]
    asking.now += PATIENCE / 5  # old holes are queried less often
    asking.ask()
    assert asking.id_tracker.hole_spans() == []
    asking.table.add(2)
    asking.ask()
    assert not asking.delivered


def test_rows_below_a_far_too_high_id_are_delivered_for_ever() -> None:
    asking = reader(1, 1_000_000)
    for number in range(2, 12):
        asking.now += PATIENCE / 2
        asking.table.add(number)
        asking.ask()
    assert sorted(asking.delivered) == list(range(2, 12))


def test_a_hole_is_queried_before_it_is_dropped() -> None:
    asking = reader(1, 3)
    asking.now = 1_000 * PATIENCE  # as after a long outage of the database
    asking.table.add(2)
    asking.ask()
    assert sorted(asking.delivered) == [2]


def test_a_truncated_answer_drops_no_hole() -> None:
    asking = reader(*range(1, 20, 2))
    asking.now = 2 * PATIENCE
    asking.table.add(*range(2, 19, 2))
    for _ in range(5):
        asking.ask(most=2)
    assert sorted(asking.delivered) == list(range(2, 19, 2))


def test_young_holes_are_queried_more_often_than_old_ones() -> None:
    asking = reader(1, 3)
    asked: list[float] = []
    for second in range(int(PATIENCE)):
        asking.now = float(second)
        if asking.id_tracker.next_query(asking.now).holes:
            asked.append(asking.now)
        asking.ask()
    young = [now for now in asked if now < EAGER_S]
    old = [now for now in asked if now >= EAGER_S]
    assert len(young) == int(EAGER_S)
    assert 5 < len(old) < (PATIENCE - EAGER_S) / 3


def test_holes_beyond_the_budget_are_queried_in_turn() -> None:
    asking = reader(*range(1, 3 * id_tracker.MAX_HOLES_PER_QUERY, 2))
    asking.ask()
    first = asking.id_tracker.next_query(asking.now).holes
    asking.now += 1
    asking.ask()
    second = asking.id_tracker.next_query(asking.now).holes
    assert len(first) == len(second) == id_tracker.MAX_HOLES_PER_QUERY
    assert first != second
    asking.table.add(*range(2, 3 * id_tracker.MAX_HOLES_PER_QUERY, 2))
    asking.ask_on()
    assert set(asking.delivered.values()) == {1}
    assert len(asking.delivered) == len(range(2, 3 * id_tracker.MAX_HOLES_PER_QUERY, 2))


def test_a_missing_or_replaced_last_row_is_detected_at_once() -> None:
    asking = reader(1, 2)
    asking.ask()
    for change in (asking.table.rows.clear, lambda: asking.table.rows.update({2: row(2, TIME, 99.0)})):
        change()
        with pytest.raises(Restarted):
            asking.ask()


class FakeAsk:
    """A stand-in for `Ask` that queries a table in memory."""

    def __init__(self, table: Table) -> None:
        self.subjects = SimpleNamespace(reading=SimpleNamespace(late_window=timedelta(seconds=PATIENCE)))
        self.table = table

    async def highest_row(self) -> int:
        return max(self.table.rows, default=-1)

    async def row_ids(self, low: int, high: int) -> list[int]:
        return [reading_id for reading_id in self.table.rows if low <= reading_id <= high]

    async def rows_after(self, first_id: int, holes: Spans, most: int) -> list[Row]:
        return self.table.after(first_id, holes, most)


class Site:
    """A table and the source that reads it. Both use the clock `now`."""

    def __init__(self, before: int) -> None:
        self.now = TIME
        self.table = Table()
        self.write(*range(1, before + 1))
        self.source = IdSource(cast(Ask, FakeAsk(self.table)), lambda: self.now)
        asyncio.run(self.source.start_at_end())

    def write(self, *reading_ids: int) -> None:
        """Commit readings with these ids. Each reading is one second newer than the previous reading."""
        for reading_id in reading_ids:
            self.now += timedelta(seconds=1)
            self.table.rows[reading_id] = row(reading_id, self.now, float(reading_id), sensor_id=reading_id % 3)

    def empty(self) -> None:
        self.table.rows.clear()

    def restore(self, rows: dict[int, Row]) -> None:
        self.table.rows.update(rows)

    def read(self) -> list[float | None]:
        return asyncio.run(self._read())

    async def _read(self) -> list[float | None]:
        values: list[float | None] = []
        more = True
        while more:
            readings, more = await self.source.read_new()
            values += [reading.value for reading in readings]
        return values


def test_new_rows_are_delivered_after_the_table_was_emptied() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    site.empty()
    assert site.read() == []
    site.write(13)
    assert site.read() == [13]


def test_new_rows_are_delivered_after_ids_restart_at_one() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    site.empty()
    site.write(1, 2)
    assert site.read() == [1, 2]
    site.write(3, 4)
    assert site.read() == [3, 4]


def test_a_restored_table_delivers_only_new_rows() -> None:
    site = Site(before=10)
    site.write(11, 12, 13, 14)
    backup = {reading_id: row for reading_id, row in site.table.rows.items() if reading_id <= 12}
    assert site.read() == [11, 12, 13, 14]
    site.empty()
    site.restore(backup)
    assert site.read() == []
    site.write(13, 14, 15)
    assert site.read() == [13, 14, 15]


@pytest.mark.parametrize("portion", [1, 4, 11])
def test_a_table_restored_in_portions_delivers_nothing_twice(portion: int) -> None:
    site = Site(before=10)
    site.write(11, 12)
    backup = sorted(site.table.rows.items())
    assert site.read() == [11, 12]
    site.empty()
    delivered: list[float | None] = site.read()
    for first in range(0, len(backup), portion):
        site.restore(dict(backup[first : first + portion]))
        delivered += site.read()
    assert delivered == []
    site.write(13)
    assert site.read() == [13]


def test_a_deleted_or_replaced_last_row_causes_no_reread() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    del site.table.rows[12]
    site.write(13)
    assert site.read() == [13]
    site.table.rows[13] = row(13, site.now, 99.0, sensor_id=2)
    site.write(14)
    assert site.read() == [99, 14]
    assert site.read() == []


def test_a_corrected_last_row_is_delivered_without_a_reread() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    site.table.rows[12] = row(12, site.now, 99.0, sensor_id=12 % 3)
    assert site.read() == [99]
    assert site.read() == []
    site.write(13)
    assert site.read() == [13]


def test_more_rows_than_one_answer_holds_are_all_delivered() -> None:
    site = Site(before=1)
    site.write(*range(2, 2 * MAX_ROWS + 10))
    assert site.read() == [float(number) for number in range(2, 2 * MAX_ROWS + 10)]
