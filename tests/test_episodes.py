"""Each transition of an alarm is written to the database once, even if the judge reports the transition again."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import (
    CLEARED,
    DISMISSED,
    PENDING,
    RAISED,
    REFRESHED,
    REOPENED,
    WITHDRAWN,
    WORSENED,
    Change,
    Episode,
    Limit,
)
from ask.journal import ever_acknowledged
from db import tables
from errors import NotFound
from record import episode_actions, episode_rows, episodes
from record.episode_rows import JudgedChange
from record.episodes import WriteResult
from tests.support.judged import steps
from tests.support.sites import Site, site

START = 1_780_000_000.123
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = (Limit(5.0, "warning"), Limit(8.0, "critical"))
EPISODE = Episode(7, (3, None), "high", START, LIMITS, 0, 6.0, 6.0)
LIFE = [
    Change(PENDING, START, EPISODE),
    Change(RAISED, START + 60, msgspec.structs.replace(EPISODE, raised=START + 60, value=7.0, peak=7.0)),
    Change(WORSENED, START + 120, msgspec.structs.replace(EPISODE, raised=START + 60, level=1, value=9.0, peak=9.0)),
    Change(CLEARED, START + 180, msgspec.structs.replace(EPISODE, raised=START + 60, level=1, cleared=START + 180)),
    Change(REOPENED, START + 240, msgspec.structs.replace(EPISODE, raised=START + 60, level=1, value=8.5, peak=9.0)),
    Change(CLEARED, START + 300, msgspec.structs.replace(EPISODE, raised=START + 60, level=1, cleared=START + 300)),
]


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as built:
        yield built


def write(built: Site, *changes: Change, **more: Any) -> WriteResult:
    with built.database.engine.begin() as connection:
        return episodes.write(connection, [JudgedChange(change, "T", "temperature", **more) for change in changes], NOW)


def rows(built: Site) -> Sequence[Any]:
    with built.database.engine.connect() as connection:
        return connection.execute(sa.select(tables.episode).order_by(tables.episode.c.episode_id)).all()


def transition_names(changes: Sequence[Change]) -> list[str]:
    return [change.what for change in changes]


def test_each_transition_of_an_episode_is_written(built: Site) -> None:
    for change in LIFE:
        assert [alarm.transition for alarm in write(built, change).alarms] == [change.what]
    assert steps(built) == {"sw-1": transition_names(LIFE)}
    assert len(rows(built)) == 1
    (row,) = rows(built)
    assert (row.state, row.is_open, row.level, row.peak) == ("cleared", None, 1, 6.0)
    assert row.since == datetime.fromtimestamp(START, UTC)


def test_changes_repeated_after_a_crash_are_not_written_again(built: Site) -> None:
    write(built, *LIFE[:4])
    assert [alarm.transition for alarm in write(built, *LIFE[1:]).alarms] == transition_names(LIFE[4:])
    assert steps(built) == {"sw-1": transition_names(LIFE)}


@given(st.lists(st.tuples(st.integers(0, len(LIFE)), st.integers(0, len(LIFE))), max_size=6))
def test_each_transition_is_new_once_despite_repeated_crashes(crashes: list[tuple[int, int]]) -> None:
    """After each crash, the judge reports some changes again.

    In each pair of `crashes`, the first number is `start`: how many changes the judge's last snapshot includes. The
    second number is `end`: how many changes the judge has reported when it crashes.
    """
    row: episode_rows.Row | None = None
    told: list[str] = []
    for start, end in [*sorted(crashes, key=lambda crash: crash[1]), (0, len(LIFE))]:
        changes = [JudgedChange(change, "T", "temperature") for change in LIFE[min(start, len(told)) : end]]
        steps_after = episode_rows.new_steps(row, changes)
        told += [str(step["transition"]) for step in steps_after]
        row = steps_after[-1] if steps_after else row
    assert told == transition_names(LIFE)


def test_a_dismissed_pending_episode_leaves_no_row(built: Site) -> None:
    write(built, LIFE[0])
    write(built, Change(DISMISSED, START + 30, EPISODE))
    assert rows(built) == []
    assert steps(built) == {"sw-1": [PENDING, DISMISSED]}
    write(built, LIFE[0], Change(DISMISSED, START + 30, EPISODE))
    assert steps(built) == {"sw-1": [PENDING, DISMISSED]}


def test_a_withdrawn_alarm_keeps_its_row(built: Site) -> None:
    write(built, *LIFE[:2])
    write(built, Change(WITHDRAWN, START + 90, LIFE[1].episode))
    assert [(row.state, row.transition) for row in rows(built)] == [("cleared", WITHDRAWN)]
    write(built, *LIFE[:2], Change(WITHDRAWN, START + 90, LIFE[1].episode))
    assert steps(built) == {"sw-1": [PENDING, RAISED, WITHDRAWN]}


def test_a_correction_of_a_cleared_alarm_adds_no_transition(built: Site) -> None:
    write(built, *LIFE[:4])
    corrected = {"raised": START + 30, "cleared": START + 150, "peak": 9.5, "level": 0}
    write(built, Change(REFRESHED, START + 150, msgspec.structs.replace(LIFE[3].episode, **corrected)))
    (row,) = rows(built)
    corrected_row = row.raised.timestamp(), row.cleared.timestamp(), row.peak, row.level, row.is_open
    assert corrected_row == (pytest.approx(START + 30), pytest.approx(START + 150), 9.5, 0, None)
    assert steps(built) == {"sw-1": transition_names(LIFE[:4])}


def test_a_correction_repeated_after_a_crash_changes_nothing(built: Site) -> None:
    corrected = Change(REFRESHED, START + 150, msgspec.structs.replace(LIFE[3].episode, cleared=START + 150))
    write(built, *LIFE[:4], corrected)
    write(built, *LIFE[1:4], corrected)
    assert [row.cleared.timestamp() for row in rows(built)] == [pytest.approx(START + 150)]
    assert steps(built) == {"sw-1": transition_names(LIFE[:4])}


def test_a_refreshed_value_adds_no_transition(built: Site) -> None:
    write(built, *LIFE[:2])
    seen = msgspec.structs.replace(LIFE[1].episode, value=7.5, peak=7.9)
    assert write(built, Change(REFRESHED, START + 70, seen)).alarms == []
    assert [(row.value, row.peak, row.step) for row in rows(built)] == [(7.5, 7.9, 2)]


def test_a_late_alarm_is_reported_again_when_it_becomes_current(built: Site) -> None:
    write(built, *LIFE[:2], late=True)
    again = write(built, Change(REFRESHED, START + 70, LIFE[1].episode))
    assert [(alarm.late, alarm.transition) for alarm in again.current] == [(False, RAISED)]
    assert steps(built) == {"sw-1": [PENDING, RAISED]}


def test_a_refreshed_alarm_keeps_and_a_worsened_one_loses_acknowledgement(built: Site) -> None:
    write(built, *LIFE[:2])
    with built.database.engine.begin() as connection:
        assert episode_actions.acknowledge(connection, 1, "Li", "seen", NOW).is_changed
        assert not episode_actions.acknowledge(connection, 1, "Wu", None, NOW).is_changed
        with pytest.raises(NotFound):
            episode_actions.acknowledge(connection, 99, "Li", None, NOW)
    write(built, Change(REFRESHED, START + 70, LIFE[1].episode))
    assert rows(built)[0].acknowledged_by == "Li"
    write(built, LIFE[2])
    assert rows(built)[0].acknowledged_by is None


def test_a_reopened_alarm_loses_its_acknowledgement_once(built: Site) -> None:
    write(built, *LIFE[:3])
    acknowledge(built)
    write(built, LIFE[3])
    assert rows(built)[0].acknowledged_by == "Li"
    (reopened,) = write(built, LIFE[4]).alarms
    assert (reopened.transition, reopened.acknowledged, reopened.comment) == (REOPENED, False, msgspec.UNSET)
    (row,) = rows(built)
    assert (row.acknowledged_by, row.acknowledged_at, row.comment) == (None, None, None)
    with built.database.engine.connect() as connection:
        assert ever_acknowledged(connection, ["sw-1", "sw-2"]) == {"sw-1"}
    acknowledge(built)
    assert write(built, *LIFE[:5]).alarms == []  # after a crash, the judge reports the changes again
    assert rows(built)[0].acknowledged_by == "Li"


def acknowledge(built: Site) -> None:
    with built.database.engine.begin() as connection:
        assert episode_actions.acknowledge(connection, 1, "Li", "seen", NOW).is_changed


def test_the_judge_does_not_reopen_an_alarm_closed_by_hand(built: Site) -> None:
    write(built, *LIFE[:2])
    with built.database.engine.begin() as connection:
        assert episode_actions.close(connection, 1, "Li", "removed", NOW).is_changed
    written = write(built, *LIFE)
    assert written.alarms == []
    assert [closed.judged for closed in written.closed] == [START + 60]
    assert rows(built)[0].closed_by == "Li"


def test_a_sensor_has_one_open_alarm_of_each_kind(built: Site) -> None:
    write(built, *LIFE[:2])
    other = msgspec.structs.replace(EPISODE, since=START + 500, raised=START + 500)
    written = write(built, Change(RAISED, START + 500, other))
    assert written.alarms == []
    assert [episode.since for episode in written.already_open] == [START]
    for changed in ({"since": NOW}, {"is_open": None}):
        row = rows(built)[0]._asdict() | {"episode_id": 2} | changed
        with built.database.engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
            connection.execute(sa.insert(tables.episode).values(row))


def test_one_write_can_clear_an_alarm_and_raise_another(built: Site) -> None:
    write(built, *LIFE[:2])
    other = msgspec.structs.replace(EPISODE, since=START + 500, raised=START + 500)
    ended = msgspec.structs.replace(LIFE[1].episode, cleared=START + 400)
    write(built, Change(CLEARED, START + 400, ended), Change(RAISED, START + 500, other))
    assert [row.is_open for row in rows(built)] == [None, True]


def test_the_journal_orders_transitions_by_time(built: Site) -> None:
    door = Episode(7, (4, None), "switch", START + 10, (Limit(1.0, "critical"),), 0, 1.0, 1.0, START + 10)
    write(built, *LIFE[:2], Change(RAISED, START + 10, door))
    with built.database.engine.connect() as connection:
        journal = tables.alarm_journal.c
        keys = connection.scalars(sa.select(journal.alarm_key).order_by(journal.transition_id)).all()
    assert keys == ['"sw-1"', '"sw-2"', '"sw-1"']
