"""Writes moments to the database. A moment contains the readings of all sensors at one time.

`load_all` writes all moments as fast as possible. `replay` writes each moment at its time, like live readings.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from db import tables
from ingest.import_stats import ImportStats
from ingest.series import Moment
from ingest.site import Site
from record import readings

TRANSACTION_SIZE = 5000
"""Approximate number of readings that are written in one transaction."""
MAX_SLEEP_S = 60.0
"""Maximum duration of one sleep, in seconds. The wait for a moment may last months; it consists of several sleeps."""


class ReplaySpeed(NamedTuple):
    """The speed of a replay, which is `factor` times faster than real time.

    `clock` returns the current time in seconds. `sleep` waits for a number of seconds.
    """

    factor: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def load_all(engine: sa.Engine, site: Site, moments: Iterable[Moment], stats: ImportStats) -> None:
    """Write all readings that are not stored yet, thousands of them in each transaction."""
    for chunk in _chunks(site, moments):
        _add(engine, site, [row for moment in chunk for row in _rows(site, moment)], stats)


def replay(
    engine: sa.Engine, site: Site, moments: Iterable[Moment], stats: ImportStats, replay_speed: ReplaySpeed
) -> None:
    """Write each moment (the readings of all sensors at one time) when its time comes, in its own transaction.

    The replay does not wait for a moment that is already stored. It computes when the following moments are due from
    that moment. A second run therefore continues where the first run was interrupted.
    """
    start = None
    for moment, rows in _missing(engine, site, moments):
        if start is None or not rows:
            start, started = moment.time, replay_speed.clock()
        if rows:
            _wait_until(started + (moment.time - start).total_seconds() / replay_speed.factor, replay_speed)
            _add(engine, site, rows, stats)


def _chunks(site: Site, moments: Iterable[Moment]) -> Iterator[list[Moment]]:
    moments = iter(moments)
    size = max(1, TRANSACTION_SIZE // len(site.sensor_ids))
    while chunk := list(islice(moments, size)):
        yield chunk


def _missing(engine: sa.Engine, site: Site, moments: Iterable[Moment]) -> Iterator[tuple[Moment, list[readings.Row]]]:
    """Yield pairs of a moment and the list of its readings that are not stored yet.

    A moment contains the readings of all sensors at one time.
    """
    for chunk in _chunks(site, moments):
        with engine.begin() as connection:
            missing = set(readings.missing(connection, [row for moment in chunk for row in _rows(site, moment)]))
        for moment in chunk:
            if rows := list(_rows(site, moment)):
                yield moment, [row for row in rows if row in missing]


def _rows(site: Site, moment: Moment) -> Iterator[readings.Row]:
    for sensor_id, value in zip(site.sensor_ids, moment.values, strict=True):
        if value is not None:
            yield sensor_id, moment.time, value


def _add(engine: sa.Engine, site: Site, rows: list[readings.Row], stats: ImportStats) -> None:
    with engine.begin() as connection:
        _lock_storehouse(connection, site)
        added = readings.add_missing(connection, rows)
    stats.added += added


def _lock_storehouse(connection: sa.Connection, site: Site) -> None:
    # Without the lock, two concurrent imports into a storehouse would both find the same readings missing.
    storehouse = tables.storehouse.c.store_house_id
    connection.execute(sa.select(storehouse).where(storehouse == site.store_house_id).with_for_update())


def _wait_until(due: float, replay_speed: ReplaySpeed) -> None:
    while (left := due - replay_speed.clock()) > 0:
        replay_speed.sleep(min(left, MAX_SLEEP_S))
