"""A table that can be asked by time only: each row that is committed within the window is delivered once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ask.readings import Row
from live.window import ROUNDS, Span, Window
from tests.rows import row

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


@dataclass
class Table:
    """What is committed, and what of it the window has delivered so far."""

    window: Window = field(default_factory=lambda: Window(LATE, START))
    now: datetime = START
    rows: list[Row] = field(default_factory=list)
    delivered: Counter[Row] = field(default_factory=Counter)

    def commit(self, age: timedelta, value: float = 0.0) -> None:
        self.rows.append(row(None, self.now - age, value))

    def ask(self) -> None:
        found = self._select(self.window.question(self.now))
        self.delivered.update(self.window.take(found, self.now))

    def ask_in_vain(self) -> None:
        self.window.question(self.now)

    def ask_for(self, seconds: int, every: int = 1) -> None:
        for _ in range(0, seconds, every):
            self.now += every * SECOND
            self.ask()

    def _select(self, spans: Sequence[Span]) -> list[Row]:
        return [one for start, end in spans for one in self.rows if one.time and start <= one.time <= end]


def begun(*ages: timedelta) -> Table:
    """A table whose first rows count as seen."""
    table = Table()
    for age in ages:
        table.commit(age)
    table.ask()
    table.rows.clear()
    table.delivered.clear()
    return table


# Few times and fewer values, so that equal ones are common; ages up to the whole window, and clocks ahead.
COMMITS = st.tuples(st.integers(-90, int(LATE.total_seconds())), st.integers(0, 1))
TURNS = st.tuples(st.integers(0, 90), st.lists(COMMITS, max_size=4), st.booleans())


@given(st.lists(TURNS, max_size=40), st.integers(1, 60))
def test_each_row_committed_within_the_window_is_delivered_once(
    turns: list[tuple[int, list[tuple[int, int]], bool]], every: int
) -> None:
    table = begun()
    for seconds, commits, answered in turns:
        table.now += seconds * SECOND
        for age, value in commits:
            table.commit(age * SECOND, value)
        (table.ask if answered else table.ask_in_vain)()
    table.ask_for(3 * ROUNDS * every, every)
    assert table.delivered == Counter(table.rows)


def test_rows_that_were_there_at_the_beginning_are_not_delivered() -> None:
    table = Table()
    for age in (timedelta(), LATE / 2, LATE):
        table.commit(age)
    table.ask()
    table.delivered.clear()
    table.ask_for(3 * ROUNDS)
    assert not table.delivered


def test_identical_rows_are_each_delivered_also_when_one_of_them_comes_late() -> None:
    table = begun()
    table.commit(timedelta(), 1.0)
    table.commit(timedelta(), 1.0)
    table.ask()
    assert table.delivered.total() == 2
    table.rows.append(table.rows[0])
    table.ask_for(3 * ROUNDS)
    assert table.delivered == {table.rows[0]: 3}


def test_rows_of_the_time_in_which_the_database_was_away_for_longer_than_the_window_are_delivered() -> None:
    table = begun(SECOND)
    for _ in range(30):
        table.now += LATE / 10
        table.commit(timedelta())
        table.ask_in_vain()
    table.ask()
    assert table.delivered == Counter(table.rows)


def test_a_row_as_late_as_the_window_allows_is_found_however_seldom_it_is_asked() -> None:
    table = begun(SECOND)
    for _ in range(2 * ROUNDS):
        table.ask_for(20, every=20)
        table.commit(timedelta())
        table.commit(LATE)
    table.ask_for(2 * ROUNDS * 20, every=20)
    assert table.delivered == Counter(table.rows)


def test_a_clock_that_is_set_back_brings_nothing_twice() -> None:
    table = begun(SECOND)
    for _ in range(100):
        table.commit(timedelta())
        table.ask_for(20, every=10)
    table.now -= 2 * LATE
    table.ask_for(3 * ROUNDS)
    assert table.delivered == Counter(table.rows)


def test_what_can_not_come_again_is_forgotten() -> None:
    table = begun(SECOND)
    for _ in range(2_000):
        table.commit(timedelta())
        table.rows = table.rows[-1_000:]
        table.ask_for(1)
    assert len(table.window._seen) < 3 * LATE / SECOND
