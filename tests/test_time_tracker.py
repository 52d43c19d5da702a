"""A table that can be queried by time only: each row committed within the late window is delivered once."""

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
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of daylight saving

Stored = tuple[datetime, float]


@dataclass
class Table:
    """What is committed, with the times of `tz`, and what of it has been delivered so far."""

    now: datetime = START
    tz: ZoneInfo | None = None
    rows: list[Stored] = field(default_factory=list)
    delivered: Counter[Stored] = field(default_factory=Counter)
    prompt: Counter[Stored] = field(default_factory=Counter)
    """Those that were committed soon after their time."""

    def __post_init__(self) -> None:
        self.time_tracker = TimeTracker(LATE, self.now, partial(wall_span, tz=self.tz))

    def commit(self, age: timedelta, value: float = 0.0) -> Stored:
        time = self.now - age
        stored = time.astimezone(self.tz).replace(tzinfo=None) if self.tz else time, value
        self.rows.append(stored)
        if age <= OVERLAP:
            self.prompt[stored] += 1
        return stored

    def ask(self) -> list[Row]:
        new = self.time_tracker.add_rows(self._select(self.time_tracker.next_query(self.now)), self.now)
        self.delivered.update(row.content for row in new)
        return new

    def ask_in_vain(self) -> None:
        self.time_tracker.next_query(self.now)

    def ask_for(self, seconds: int, every: int = 1) -> None:
        for _ in range(0, seconds, every):
            self.now += every * SECOND
            self.ask()

    def _select(self, spans: Sequence[Span]) -> list[Row]:
        return [self._row(*row) for row in self.rows if any(start <= row[0] <= end for start, end in spans)]

    def _row(self, wall: datetime, value: float) -> Row:
        time = from_local(wall, self.tz, self.now) if self.tz else wall
        return Row(None, wall, time, (wall, value), (Reading(1, None, time, value),))


def started(*ages: timedelta, now: datetime = START, tz: ZoneInfo | None = None) -> Table:
    """A table whose first rows count as seen."""
    table = Table(now, tz)
    for age in ages:
        table.commit(age)
    table.ask()
    for collection in (table.rows, table.delivered, table.prompt):
        collection.clear()
    return table


# Few times and fewer values, so that equal ones are common; ages up to the whole window, and clocks ahead.
COMMITS = st.tuples(st.integers(-90, int(LATE.total_seconds())), st.integers(0, 1))
TURNS = st.tuples(st.integers(0, 90) | st.integers(0, 1800), st.lists(COMMITS, max_size=4), st.booleans())
CHANGES = {
    "times in UTC": (None, START),
    "a zone at rest": (CHICAGO, START),
    "the clocks are set back": (CHICAGO, datetime(2021, 11, 7, 7, tzinfo=UTC)),
    "the clocks are set forward": (CHICAGO, datetime(2022, 3, 13, 8, tzinfo=UTC)),
    "the clocks are set back by half an hour": (LORD_HOWE, datetime(2021, 4, 3, 15, tzinfo=UTC)),
    "the clocks are set forward by half an hour": (LORD_HOWE, datetime(2021, 10, 2, 15, 30, tzinfo=UTC)),
}


@pytest.mark.parametrize(("tz", "change"), CHANGES.values(), ids=CHANGES)
@given(turns=st.lists(TURNS, max_size=40), every=st.integers(1, 60), before=st.integers(0, 300))
def test_each_row_committed_within_the_window_is_delivered_once_and_at_once_if_it_is_not_late(
    tz: ZoneInfo | None, change: datetime, turns: list[tuple[int, list[tuple[int, int]], bool]], every: int, before: int
) -> None:
    table = started(now=change - timedelta(minutes=before), tz=tz)
    for seconds, commits, answered in turns:
        table.now += seconds * SECOND
        for age, value in commits:
            table.commit(age * SECOND, value)
        if answered:
            table.ask()
            assert table.prompt <= table.delivered
        else:
            table.ask_in_vain()
    table.ask_for(3 * QUERIES_PER_SWEEP * every, every)
    assert table.delivered == Counter(table.rows)


@pytest.mark.parametrize("age", [SECOND, LATE - 60 * SECOND], ids=["", "all clocks behind"])
@pytest.mark.parametrize(("tz", "change"), CHANGES.values(), ids=CHANGES)
def test_a_reading_each_minute_around_a_change_of_the_clocks_comes_at_once_with_its_time(
    tz: ZoneInfo | None, change: datetime, age: timedelta
) -> None:
    table = started(now=change - 5 * HOUR, tz=tz)
    while table.now < change + 5 * HOUR:
        table.now += 60 * SECOND
        table.commit(age)
        assert [row.time for row in table.ask()] == [table.now - age]


def test_the_second_of_two_equal_rows_one_of_each_pass_through_the_repeated_hour_is_delivered_too() -> None:
    table = started(now=datetime(2021, 11, 7, 6, 30, tzinfo=UTC), tz=CHICAGO)
    first = table.commit(timedelta())
    table.ask_for(3600, every=10)
    assert table.commit(timedelta()) == first
    (second,) = table.ask()
    assert second.time == table.now
    table.ask_for(2 * 3600, every=10)
    assert table.delivered == {first: 2}


def test_times_that_the_clocks_leave_out_are_found_too() -> None:
    # of a device that nobody sets forward
    table = started(now=datetime(2022, 3, 13, 8, tzinfo=UTC), tz=CHICAGO)
    for minute in range(60):
        table.now += 60 * SECOND
        table.rows.append((datetime.fromisoformat(f"2022-03-13 02:{minute:02}"), minute))
        assert len(table.ask()) == 1


def test_rows_that_were_there_at_the_beginning_are_not_delivered() -> None:
    table = Table()
    for age in (timedelta(), LATE / 2, LATE):
        table.commit(age)
    table.ask()
    table.delivered.clear()
    table.ask_for(3 * QUERIES_PER_SWEEP)
    assert not table.delivered


def test_identical_rows_are_each_delivered_also_when_one_of_them_comes_late() -> None:
    table = started()
    table.commit(timedelta(), 1.0)
    table.commit(timedelta(), 1.0)
    table.ask()
    assert table.delivered.total() == 2
    table.rows.append(table.rows[0])
    table.ask_for(3 * QUERIES_PER_SWEEP)
    assert table.delivered == {table.rows[0]: 3}


def test_rows_of_the_time_in_which_the_database_was_away_for_longer_than_the_window_are_delivered() -> None:
    table = started(SECOND)
    for _ in range(30):
        table.now += LATE / 10
        table.commit(timedelta())
        table.ask_in_vain()
    table.ask()
    assert table.delivered == Counter(table.rows)


def test_a_row_as_late_as_the_window_allows_is_found_however_seldom_it_is_asked() -> None:
    table = started(SECOND)
    for _ in range(2 * QUERIES_PER_SWEEP):
        table.ask_for(20, every=20)
        table.commit(timedelta())
        table.commit(LATE)
    table.ask_for(2 * QUERIES_PER_SWEEP * 20, every=20)
    assert table.delivered == Counter(table.rows)


def test_a_clock_that_is_set_back_brings_nothing_twice() -> None:
    table = started(SECOND)
    for _ in range(100):
        table.commit(timedelta())
        table.ask_for(20, every=10)
    table.now -= 2 * LATE
    table.ask_for(3 * QUERIES_PER_SWEEP)
    assert table.delivered == Counter(table.rows)


def test_what_can_not_come_again_is_forgotten() -> None:
    table = started(SECOND)
    for _ in range(2_000):
        table.commit(timedelta())
        table.rows = table.rows[-1_000:]
        table.ask_for(1)
    assert len(table.time_tracker._seen) < 3 * LATE / SECOND
