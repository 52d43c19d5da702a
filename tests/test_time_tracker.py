"""A table without increasing ids: rows are delivered once if they are committed within the late window.

The late window is the permitted delay between the time of a row and its commit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ask.readings import Reading, Row
from common.time_zones import from_local, wall_span
from live.time_tracker import OVERLAP, QUERIES_PER_SWEEP, Span, TimeTracker

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = timedelta(minutes=10)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
CHICAGO = ZoneInfo("America/Chicago")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # daylight saving time moves the clock by half an hour

Stored = tuple[datetime, float]


@dataclass
class Table:
    """A table with local times of the time zone `tz` (UTC if None).

    It contains the rows, the time tracker of the table, and the rows that were delivered so far.
    """

    now: datetime = START
    tz: ZoneInfo | None = None
    rows: list[Stored] = field(default_factory=list)
    delivered: Counter[Stored] = field(default_factory=Counter)
    prompt: Counter[Stored] = field(default_factory=Counter)
    """Counts each row that was committed at most `OVERLAP` after the time of the row."""

    def __post_init__(self) -> None:
        self.time_tracker = TimeTracker(LATE, self.now, partial(wall_span, tz=self.tz))

    def commit(self, age: timedelta, value: float = 0.0) -> Stored:
        time = self.now - age
        stored = time.astimezone(self.tz).replace(tzinfo=None) if self.tz else time, value
        self.rows.append(stored)
        if age <= OVERLAP:
            self.prompt[stored] += 1
        return stored

    def query(self) -> list[Row]:
        new = self.time_tracker.add_rows(self._select(self.time_tracker.next_query(self.now)), self.now)
        self.delivered.update(row.content for row in new)
        return new

    def fail_query(self) -> None:
        self.time_tracker.next_query(self.now)

    def query_for(self, seconds: int, every: int = 1) -> None:
        for _ in range(0, seconds, every):
            self.now += every * SECOND
            self.query()

    def _select(self, spans: Sequence[Span]) -> list[Row]:
        return [self._row(*row) for row in self.rows if any(start <= row[0] <= end for start, end in spans)]

    def _row(self, wall: datetime, value: float) -> Row:
        time = from_local(wall, self.tz, self.now) if self.tz else wall
        return Row(None, wall, time, (wall, value), (Reading(1, None, time, value),))


def started(*ages: timedelta, now: datetime = START, tz: ZoneInfo | None = None) -> Table:
    """Return an empty table whose time tracker has already delivered rows of these ages."""
    table = Table(now, tz)
    for age in ages:
        table.commit(age)
    table.query()
    for collection in (table.rows, table.delivered, table.prompt):
        collection.clear()
    return table


# Ages and values of rows. There are few times and values, so that equal rows are common. Ages go up to the late window.
# A negative age means that the sensor's clock is ahead.
COMMITS = st.tuples(st.integers(-90, int(LATE.total_seconds())), st.integers(0, 1))
TURNS = st.tuples(st.integers(0, 90) | st.integers(0, 1800), st.lists(COMMITS, max_size=4), st.booleans())
CHANGES = {
    "times in UTC": (None, START),
    "a zone without a clock change": (CHICAGO, START),
    "clocks set back": (CHICAGO, datetime(2021, 11, 7, 7, tzinfo=UTC)),
    "clocks set forward": (CHICAGO, datetime(2022, 3, 13, 8, tzinfo=UTC)),
    "clocks set back by half an hour": (LORD_HOWE, datetime(2021, 4, 3, 15, tzinfo=UTC)),
    "clocks set forward by half an hour": (LORD_HOWE, datetime(2021, 10, 2, 15, 30, tzinfo=UTC)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("tz", "change"), CHANGES.values(), ids=CHANGES)
@given(turns=st.lists(TURNS, max_size=40), every=st.integers(1, 60), before=st.integers(0, 300))
def test_each_row_within_the_window_is_delivered_once(
    tz: ZoneInfo | None, change: datetime, turns: list[tuple[int, list[tuple[int, int]], bool]], every: int, before: int
) -> None:
    """In addition, the next successful query must deliver each row that is not late."""
    table = started(now=change - timedelta(minutes=before), tz=tz)
    for seconds, commits, answered in turns:
        table.now += seconds * SECOND
        for age, value in commits:
            table.commit(age * SECOND, value)
        if answered:
            table.query()
            assert table.prompt <= table.delivered
        else:
            table.fail_query()
    table.query_for(3 * QUERIES_PER_SWEEP * every, every)
    assert table.delivered == Counter(table.rows)


@pytest.mark.parametrize("age", [SECOND, LATE - 60 * SECOND], ids=["clocks right", "clocks behind"])
@pytest.mark.parametrize(("tz", "change"), CHANGES.values(), ids=CHANGES)
def test_readings_around_a_clock_change_have_the_right_time(
    tz: ZoneInfo | None, change: datetime, age: timedelta
) -> None:
    table = started(now=change - 5 * HOUR, tz=tz)
    while table.now < change + 5 * HOUR:
        table.now += 60 * SECOND
        table.commit(age)
        assert [row.time for row in table.query()] == [table.now - age]


def test_equal_rows_of_a_repeated_hour_are_both_delivered() -> None:
    table = started(now=datetime(2021, 11, 7, 6, 30, tzinfo=UTC), tz=CHICAGO)
    first = table.commit(timedelta())
    table.query_for(3600, every=10)
    assert table.commit(timedelta()) == first
    (second,) = table.query()
    assert second.time == table.now
    table.query_for(2 * 3600, every=10)
    assert table.delivered == {first: 2}


def test_rows_with_times_in_the_skipped_hour_are_found() -> None:
    # A device writes these times if its clock is not set forward.
    table = started(now=datetime(2022, 3, 13, 8, tzinfo=UTC), tz=CHICAGO)
    for minute in range(60):
        table.now += 60 * SECOND
        table.rows.append((datetime.fromisoformat(f"2022-03-13 02:{minute:02}"), minute))
        assert len(table.query()) == 1


def test_rows_from_before_the_start_are_not_delivered() -> None:
    table = Table()
    for age in (timedelta(), LATE / 2, LATE):
        table.commit(age)
    table.query()
    table.delivered.clear()
    table.query_for(3 * QUERIES_PER_SWEEP)
    assert not table.delivered


def test_each_of_several_identical_rows_is_delivered() -> None:
    table = started()
    table.commit(timedelta(), 1.0)
    table.commit(timedelta(), 1.0)
    table.query()
    assert table.delivered.total() == 2
    table.rows.append(table.rows[0])
    table.query_for(3 * QUERIES_PER_SWEEP)
    assert table.delivered == {table.rows[0]: 3}


def test_rows_from_a_long_database_outage_are_delivered() -> None:
    table = started(SECOND)
    for _ in range(30):
        table.now += LATE / 10
        table.commit(timedelta())
        table.fail_query()
    table.query()
    assert table.delivered == Counter(table.rows)


def test_the_latest_allowed_row_is_found_by_rare_queries() -> None:
    table = started(SECOND)
    for _ in range(2 * QUERIES_PER_SWEEP):
        table.query_for(20, every=20)
        table.commit(timedelta())
        table.commit(LATE)
    table.query_for(2 * QUERIES_PER_SWEEP * 20, every=20)
    assert table.delivered == Counter(table.rows)


def test_setting_the_clock_back_delivers_nothing_twice() -> None:
    table = started(SECOND)
    for _ in range(100):
        table.commit(timedelta())
        table.query_for(20, every=10)
    table.now -= 2 * LATE
    table.query_for(3 * QUERIES_PER_SWEEP)
    assert table.delivered == Counter(table.rows)


@pytest.mark.slow
def test_rows_outside_the_window_are_forgotten() -> None:
    table = started(SECOND)
    for _ in range(2_000):
        table.commit(timedelta())
        table.rows = table.rows[-1_000:]
        table.query_for(1)
    assert len(table.time_tracker._seen) < 3 * LATE / SECOND
