"""A table with growing ids: each row that is committed is delivered once, in whatever order that happens."""

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
from live.source import MOST, ByIds
from tests.rows import row

PATIENCE = 100.0  # seconds
SLOWEST = 3  # seconds for an answer
TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Table:
    """Rows by id; a transaction is an id that was handed out, and when."""

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

    def after(self, known: int, holes: Spans, most: int) -> list[Row]:
        """As `ask.readings.after`."""
        ids = sorted(self.rows)
        late = [one for one in ids if any(low <= one <= high for low, high in holes)][:most]
        ahead = [one for one in ids if one >= known][:most]
        return [self.rows[one] for one in late + ahead]


@dataclass
class Reader:
    """Asks the table by way of a frontier."""

    table: Table
    id_tracker: IdTracker
    now: float = 0.0
    delivered: Counter[int] = field(default_factory=Counter)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; no transaction outlasts patience."""
        self.now += seconds
        for reading_id, since in list(self.table.open.items()):
            if self.now - since > PATIENCE - SLOWEST:
                self.table.commit(reading_id)

    def ask(self, most: int = 1_000, takes_s: float = 0.0) -> None:
        asked_at = self.now
        question = self.id_tracker.question(asked_at)
        self.pass_time(takes_s)
        new = self.id_tracker.take(question, self.table.after(*question, most), most, asked_at)
        self.delivered.update(one.reading_id for one in new if one.reading_id is not None)

    def ask_on(self, most: int = 1_000) -> None:
        """Until nothing is waited for any more."""
        for _ in range(10_000):
            self.pass_time(2.0)
            self.ask(most)
            if not self.id_tracker.holes and self.id_tracker.known == max(self.table.rows, default=0):
                return
        raise AssertionError("some holes are never given up")


def reader(*reading_ids: int) -> Reader:
    """A reader that began when these rows were there."""
    table = Table()
    table.add(*reading_ids)
    highest = max(reading_ids, default=0)
    return Reader(table, IdTracker.begin(highest, 1, reading_ids, PATIENCE, 0.0))


HAND_OUT, COMMIT, ROLL_BACK, PASS, ASK = range(5)
STEPS = st.lists(
    st.tuples(st.sampled_from([HAND_OUT, HAND_OUT, COMMIT, COMMIT, ROLL_BACK, PASS, ASK, ASK]), st.integers(0, 40)),
    max_size=120,
)


@given(STEPS, st.integers(2, 6), st.integers(1, 4))
def test_each_committed_row_is_delivered_once_in_any_interleaving(
    steps: list[tuple[int, int]], most: int, most_holes: int
) -> None:
    one = reader()
    with patch.object(id_tracker, "MOST_HOLES", most_holes):
        for step, number in steps:
            transactions = list(one.table.open)
            chosen = transactions[number % len(transactions)] if transactions else None
            if step == HAND_OUT:
                one.table.hand_out(one.now)
            elif step == COMMIT and chosen:
                one.table.commit(chosen)
            elif step == ROLL_BACK and chosen:
                del one.table.open[chosen]
            elif step == PASS:
                one.pass_time(number)
            elif step == ASK:
                one.ask(most, takes_s=number % (SLOWEST + 1))
        one.table.open.clear()
        one.ask_on(most)
    assert one.delivered == Counter(one.table.rows.keys())


def test_rows_there_at_the_beginning_are_not_delivered_but_what_fills_their_gaps_is() -> None:
    one = reader(1, 2, 5, 9)
    one.ask()
    assert not one.delivered
    one.table.add(4, 8, 10)
    one.ask()
    assert sorted(one.delivered) == [4, 8, 10]


def test_ids_missing_at_the_end_at_the_beginning_are_a_gap_too() -> None:
    table = Table()
    table.add(7)  # the highest row was told as 9, and is gone again
    one = Reader(table, IdTracker.begin(9, 5, [7], PATIENCE, 0.0))
    table.add(8, 10)
    one.ask()
    assert sorted(one.delivered) == [8, 10]


def test_what_lies_below_the_lowest_id_counts_as_seen() -> None:
    table = Table()
    table.add(1, 2, 50)
    one = Reader(table, IdTracker.begin(50, 40, [50], PATIENCE, 0.0))
    table.add(3, 45)
    one.ask_on()
    assert sorted(one.delivered) == [45]


def test_a_hole_is_given_up_after_patience_and_not_before() -> None:
    one = reader(1, 3)
    for _ in range(int(PATIENCE) - 1):
        one.now += 1
        one.ask()
    assert one.id_tracker.holes == 1
    one.now += PATIENCE / 5  # old holes are asked for less often
    one.ask()
    assert one.id_tracker.holes == 0
    one.table.add(2)
    one.ask()
    assert not one.delivered


def test_a_hole_is_never_given_up_unasked() -> None:
    one = reader(1, 3)
    one.now = 1_000 * PATIENCE  # the database was away
    one.table.add(2)
    one.ask()
    assert sorted(one.delivered) == [2]


def test_no_hole_is_given_up_on_an_answer_that_was_cut_off() -> None:
    one = reader(*range(1, 20, 2))
    one.now = 2 * PATIENCE
    one.table.add(*range(2, 19, 2))
    for _ in range(5):
        one.ask(most=2)
    assert sorted(one.delivered) == list(range(2, 19, 2))


def test_a_young_hole_is_asked_for_each_time_and_an_old_one_less_often() -> None:
    one = reader(1, 3)
    asked: list[float] = []
    for second in range(int(PATIENCE)):
        one.now = float(second)
        if one.id_tracker.question(one.now).holes:
            asked.append(one.now)
        one.ask()
    young = [now for now in asked if now < EAGER_S]
    old = [now for now in asked if now >= EAGER_S]
    assert len(young) == int(EAGER_S)
    assert 5 < len(old) < (PATIENCE - EAGER_S) / 3


def test_more_holes_than_the_budget_are_asked_for_in_turn() -> None:
    one = reader(*range(1, 3 * id_tracker.MOST_HOLES, 2))
    one.ask()
    first = one.id_tracker.question(one.now).holes
    one.now += 1
    one.ask()
    second = one.id_tracker.question(one.now).holes
    assert len(first) == len(second) == id_tracker.MOST_HOLES
    assert first != second
    one.table.add(*range(2, 3 * id_tracker.MOST_HOLES, 2))
    one.ask_on()
    assert set(one.delivered.values()) == {1}
    assert len(one.delivered) == len(range(2, 3 * id_tracker.MOST_HOLES, 2))


def test_a_last_row_that_is_gone_or_another_shows_at_once() -> None:
    one = reader(1, 2)
    one.ask()
    for change in (one.table.rows.clear, lambda: one.table.rows.update({2: row(2, TIME, 99.0)})):
        change()
        with pytest.raises(Restarted):
            one.ask()


class FakeAsk:
    """The questions a source asks, put to a table in memory."""

    def __init__(self, table: Table) -> None:
        self.subjects = SimpleNamespace(reading=SimpleNamespace(late_window=timedelta(seconds=PATIENCE)))
        self.table = table

    async def highest_row(self) -> int:
        return max(self.table.rows, default=-1)

    async def row_ids(self, low: int, high: int) -> list[int]:
        return [one for one in self.table.rows if low <= one <= high]

    async def rows_after(self, known: int, holes: Spans, most: int) -> list[Row]:
        return self.table.after(known, holes, most)


class Site:
    """A table and the source that reads it; `now` is the clock of both."""

    def __init__(self, before: int) -> None:
        self.now = TIME
        self.table = Table()
        self.write(*range(1, before + 1))
        self.source = ByIds(cast(Ask, FakeAsk(self.table)), lambda: self.now)
        asyncio.run(self.source.begin())

    def write(self, *reading_ids: int) -> None:
        """Commit readings with these ids, each a second newer than the last."""
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
        found: list[float | None] = []
        more = True
        while more:
            readings, more = await self.source.read()
            found += [reading.value for reading in readings]
        return found


def test_after_the_table_was_emptied_new_rows_are_delivered() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    site.empty()
    assert site.read() == []
    site.write(13)
    assert site.read() == [13]


def test_after_the_table_was_emptied_and_its_ids_began_anew_new_rows_are_delivered() -> None:
    site = Site(before=10)
    site.write(11, 12)
    assert site.read() == [11, 12]
    site.empty()
    site.write(1, 2)
    assert site.read() == [1, 2]
    site.write(3, 4)
    assert site.read() == [3, 4]


def test_of_a_restored_table_nothing_is_delivered_twice_and_what_is_new_is() -> None:
    site = Site(before=10)
    site.write(11, 12, 13, 14)
    backup = {reading_id: one for reading_id, one in site.table.rows.items() if reading_id <= 12}
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
    found: list[float | None] = site.read()
    for first in range(0, len(backup), portion):
        site.restore(dict(backup[first : first + portion]))
        found += site.read()
    assert found == []
    site.write(13)
    assert site.read() == [13]


def test_where_only_the_last_row_was_deleted_or_another_took_its_id_nothing_is_read_anew() -> None:
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


def test_a_value_corrected_in_the_last_row_is_delivered_and_nothing_is_read_anew() -> None:
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
    site.write(*range(2, 2 * MOST + 10))
    assert site.read() == [float(one) for one in range(2, 2 * MOST + 10)]
