"""If many sensors have no data at the same time, one alarm is raised for the common cause."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa

from alarms.model import Change, Episode, Limit
from alarms.outages import DATABASE_OUTAGE_AFTER_S, database_outage, storehouse_outage
from ask.answers import EVERYWHERE
from db import tables
from record import episodes
from record.episode_rows import JudgedChange
from tests.support.sites import site

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = 60.0
LIMITS = (Limit(3 * MINUTE, "warning"),)


def sensor_alarm(sensor_id: int, since: float = 0.0, store_house_id: int = 7) -> Episode:
    """Return the alarm of a sensor that has had no data since minute `since`."""
    raised = since * MINUTE + 3 * MINUTE
    return Episode(store_house_id, (sensor_id, None), "no_data", since * MINUTE, LIMITS, 0, None, None, raised)


def sensor_alarms(count: int) -> list[Episode]:
    return [sensor_alarm(number, number) for number in range(count)]


def steps(changes: Sequence[Change]) -> list[tuple[str, float]]:
    return [(change.what, change.time / MINUTE) for change in changes]


def outage(count: int = 6) -> Episode:
    (change,) = storehouse_outage(7, 10, sensor_alarms(count), None, 60 * MINUTE)
    return change.episode


@pytest.mark.parametrize(("monitored", "count"), [(10, 5), (4, 2), (2, 2), (1, 1), (0, 0)])
def test_half_of_the_sensors_or_only_two_raise_no_outage(monitored: int, count: int) -> None:
    assert storehouse_outage(7, monitored, sensor_alarms(count), None, 60 * MINUTE) == []


@pytest.mark.parametrize(("monitored", "count"), [(10, 6), (4, 3), (3, 3), (150, 150)])
def test_most_sensors_without_data_raise_one_storehouse_alarm(monitored: int, count: int) -> None:
    (change,) = storehouse_outage(7, monitored, sensor_alarms(count), None, 900 * MINUTE)
    episode = change.episode
    assert (change.what, episode.store_house_id, episode.key, episode.kind) == ("raised", 7, None, "no_data")
    assert (episode.severity, episode.value) == ("critical", count)


def test_the_outage_starts_with_the_sensor_that_exceeds_half() -> None:
    alarms = sensor_alarms(8)
    for order in (alarms, alarms[::-1]):
        assert [change.episode.since for change in storehouse_outage(7, 10, order, None, 60 * MINUTE)] == [5 * MINUTE]
    assert steps(storehouse_outage(7, 10, alarms, None, 60 * MINUTE)) == [("raised", 8)]


def test_an_outage_is_raised_once_and_counts_its_sensors() -> None:
    assert storehouse_outage(7, 10, sensor_alarms(6), outage(), 61 * MINUTE) == []
    (change,) = storehouse_outage(7, 10, sensor_alarms(9), outage(), 61 * MINUTE)
    assert (change.what, change.episode.value, change.episode.peak, change.episode.since) == (
        "refreshed",
        9,
        9,
        5 * MINUTE,
    )


def test_an_outage_clears_when_most_sensors_deliver_data_again() -> None:
    assert steps(storehouse_outage(7, 10, sensor_alarms(5), outage(), 70 * MINUTE)) == [("cleared", 70)]
    assert storehouse_outage(7, 10, [], msgspec.structs.replace(outage(), cleared=70 * MINUTE), 80 * MINUTE) == []


def test_an_outage_that_returns_soon_is_reopened() -> None:
    over = msgspec.structs.replace(outage(), cleared=70 * MINUTE)
    soon = [sensor_alarm(number, 72) for number in range(6)]
    (change,) = storehouse_outage(7, 10, soon, over, 76 * MINUTE)
    assert (change.what, change.episode.since, change.episode.state) == ("reopened", 5 * MINUTE, "active")
    later = [sensor_alarm(number, 90) for number in range(6)]
    assert steps(storehouse_outage(7, 10, later, over, 99 * MINUTE)) == [("raised", 93)]


def causes(tmp_path: Path, *changes: Change) -> dict[str, str | None]:
    """Write the changes. Return a dictionary from the subject of each alarm to the subject of the alarm that caused it.

    The second subject is None if no alarm is the cause. A subject is a sensor or a storehouse, in the format of
    `subject_key`.
    """
    with site({"path": str(tmp_path / f"{uuid4()}.db")}) as built, built.database.engine.begin() as connection:
        episodes.write(connection, [JudgedChange(change, None, None) for change in changes], NOW)
        episodes.assign_causes(connection)
        rows = connection.execute(sa.select(tables.episode)).all()
    subjects = {row.episode_id: row.subject_key for row in rows}
    return {row.subject_key: row.cause and subjects[row.cause] for row in rows}


def raised(episode: Episode) -> Change:
    return Change("raised", episode.raised or 0.0, episode)


def cleared(episode: Episode) -> Change:
    return Change("cleared", 70 * MINUTE, msgspec.structs.replace(episode, cleared=70 * MINUTE))


def test_open_sensor_alarms_have_an_open_storehouse_alarm_as_cause(tmp_path: Path) -> None:
    single, whole = sensor_alarm(1), outage()
    assert causes(tmp_path, raised(whole), raised(single)) == {"7": None, "[1,null]": "7"}
    elsewhere = sensor_alarm(1, store_house_id=8)
    assert causes(tmp_path, raised(whole), raised(elsewhere)) == {"7": None, "[1,null]": None}
    assert causes(tmp_path, raised(whole), cleared(whole), raised(single)) == {"7": None, "[1,null]": None}
    assert causes(tmp_path, raised(whole), raised(single), cleared(single)) == {"7": None, "[1,null]": None}
    too_high = msgspec.structs.replace(single, kind="high")
    assert causes(tmp_path, raised(whole), raised(too_high)) == {"7": None, "[1,null]": None}


def test_a_database_outage_is_one_alarm_for_all_storehouses(tmp_path: Path) -> None:
    assert database_outage(None, 0.0, DATABASE_OUTAGE_AFTER_S - 1) == []
    (change,) = database_outage(None, 0.0, DATABASE_OUTAGE_AFTER_S + 60)
    assert (change.what, change.time, change.episode.since) == ("raised", DATABASE_OUTAGE_AFTER_S, 0.0)
    assert change.episode.store_house_id == EVERYWHERE
    assert database_outage(change.episode, 0.0, DATABASE_OUTAGE_AFTER_S + 90) == []
    singles = raised(sensor_alarm(1)), raised(sensor_alarm(2, store_house_id=8))
    assert causes(tmp_path, change, *singles) == {'"*"': None, "[1,null]": '"*"', "[2,null]": '"*"'}


def test_a_database_outage_clears_when_the_database_answers() -> None:
    (change,) = database_outage(None, 0.0, DATABASE_OUTAGE_AFTER_S)
    assert steps(database_outage(change.episode, None, 9 * MINUTE)) == [("cleared", 9)]
    assert database_outage(None, None, 9 * MINUTE) == []
