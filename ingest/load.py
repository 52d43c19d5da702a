"""Moments into the database: at once, or each in its turn as if it were live."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from db import tables
from ingest.import_stats import Tally
from ingest.series import Moment
from ingest.site import Site
from record import readings

TRANSACTION = 5000
"""Readings that go in together, about."""
NAP = 60.0
"""Seconds of one sleep at most; what is slept for may lie months ahead."""


class RateLimit(NamedTuple):
    """`speed` times faster than life; `clock` and `sleep` count in seconds."""

    speed: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def at_once(engine: sa.Engine, site: Site, moments: Iterable[Moment], tally: Tally) -> None:
    """Write all readings that are not there yet, thousands to a transaction."""
    for chunk in _chunks(site, moments):
        _add(engine, site, [row for moment in chunk for row in _rows(site, moment)], tally)


def paced(engine: sa.Engine, site: Site, moments: Iterable[Moment], tally: Tally, rate_limit: RateLimit) -> None:
    """Write each moment as its turn comes, a transaction each.

    A moment that is already there takes no time, and those after it count from it: so a second run goes on where the
    first was ended.
    """
    start = None
    for moment, rows in _missing(engine, site, moments):
        if start is None or not rows:
            start, started = moment.time, rate_limit.clock()
        if rows:
            _wait_until(started + (moment.time - start).total_seconds() / rate_limit.speed, rate_limit)
            _add(engine, site, rows, tally)


def _chunks(site: Site, moments: Iterable[Moment]) -> Iterator[list[Moment]]:
    moments = iter(moments)
    size = max(1, TRANSACTION // len(site.sensor_ids))
    while chunk := list(islice(moments, size)):
        yield chunk


def _missing(engine: sa.Engine, site: Site, moments: Iterable[Moment]) -> Iterator[tuple[Moment, list[readings.Row]]]:
    """Give each moment those of its readings that are not there yet."""
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


def _add(engine: sa.Engine, site: Site, rows: list[readings.Row], tally: Tally) -> None:
    with engine.begin() as connection:
        _take_turn(connection, site)
        added = readings.add_missing(connection, rows)
    tally.added += added


def _take_turn(connection: sa.Connection, site: Site) -> None:
    # Two imports into one storehouse at the same time would each find the same readings missing.
    storehouse = tables.storehouse.c.store_house_id
    connection.execute(sa.select(storehouse).where(storehouse == site.store_house_id).with_for_update())


def _wait_until(due: float, rate_limit: RateLimit) -> None:
    while (left := due - rate_limit.clock()) > 0:
        rate_limit.sleep(min(left, NAP))
