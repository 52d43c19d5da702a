"""Tests of clock changes at a site that stores local times and has no increasing ids.

At a clock change, Storewatch loses no reading, delays no reading and delivers no reading twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

import live.source
import settings
from ask import Ask
from ask.readings import Reading
from ask.site_mapping import subjects_of
from db.database import Database
from live.source import TimeSource
from tests.support.services.mariadb import MariaDB
from tests.support.site_tables import SiteTables
from tests.test_site_tables import NAMED

MINUTE = timedelta(minutes=1)
CHANGES = {
    "back": ("America/Chicago", datetime(2021, 11, 7, 7, tzinfo=UTC)),
    "forward": ("America/Chicago", datetime(2022, 3, 13, 8, tzinfo=UTC)),
    "back by half an hour": ("Australia/Lord_Howe", datetime(2021, 4, 3, 15, tzinfo=UTC)),
    "forward by half an hour": ("Australia/Lord_Howe", datetime(2021, 10, 2, 15, 30, tzinfo=UTC)),
}
TABLE = "CREATE TABLE log (sensor_id VARCHAR(9), time DATETIME, value DOUBLE, KEY (time))"


@dataclass
class ClockSite:
    """A table of readings with local times, and a source that reads this table with the clock of the test."""

    site: SiteTables
    database: Database
    tz: str
    now: datetime
    values: int = 0
    committed: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = self.database.settings
        with self.database.engine.connect() as connection:
            site_subjects = subjects_of(where, settings.Source(None), connection)
        self.source = TimeSource(
            Ask(self.database, self.database, site_subjects, lambda: self.now, self.database), lambda: self.now
        )

    def commit(self, age: timedelta = timedelta(), rows: int = 1) -> list[Reading]:
        """Commit rows whose time is `age` before now. Each row has a unique value. Return the readings."""
        time = self.now - age
        new = [Reading("S:1", None, time, float(self.values + each)) for each in range(rows)]
        self.values += rows
        wall = time.astimezone(ZoneInfo(self.tz)).replace(tzinfo=None)
        values = ", ".join(f"('S:1', '{wall}', {reading.value})" for reading in new)
        self.site.execute(f"INSERT INTO log VALUES {values}")
        return new

    async def read(self) -> list[Reading]:
        readings, more = await self.source.read_new()
        assert not more
        return sorted(readings)


@pytest.fixture(params=list(CHANGES.values()), ids=list(CHANGES))
def watched(request: pytest.FixtureRequest, mariadb: MariaDB) -> Iterator[tuple[ClockSite, datetime]]:
    """A site two hours before the site's clocks change, and the time of the clock change."""
    tz, change = request.param
    site = SiteTables(mariadb)
    site.execute(*NAMED, TABLE)
    reading: dict[str, Any] = {"table": "log", "time_zone": tz}
    database = Database(msgspec.convert(site.settings(reading=reading), settings.Database))
    try:
        yield ClockSite(site, database, tz, change - 120 * MINUTE), change
    finally:
        database.close()


async def test_each_reading_arrives_once_in_the_next_query(watched: tuple[ClockSite, datetime]) -> None:
    clock_site, change = watched
    clock_site.commit()
    await clock_site.source.start_at_end()
    while clock_site.now < change + 80 * MINUTE:
        clock_site.now += 2 * MINUTE
        new = clock_site.commit()
        assert await clock_site.read() == new


async def test_readings_of_an_outage_during_the_change_arrive_once(
    watched: tuple[ClockSite, datetime],
) -> None:
    clock_site, change = watched
    await clock_site.source.start_at_end()
    clock_site.now = change - 40 * MINUTE
    assert await clock_site.read() == []
    new: list[Reading] = []
    while clock_site.now < change + 10 * MINUTE:
        clock_site.now += 2 * MINUTE
        new += clock_site.commit()
    # Compare only the values, because the table does not say to which pass of a repeated hour a late reading belongs.
    assert [reading.value for reading in sorted(await clock_site.read(), key=value)] == [
        reading.value for reading in new
    ]
    assert await clock_site.read() == []


def value(reading: Reading) -> float:
    return reading.value or 0.0


async def test_late_readings_beyond_the_row_limit_arrive_once(
    watched: tuple[ClockSite, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.source, "MAX_ROWS", 10)
    clock_site, change = watched
    await clock_site.source.start_at_end()
    clock_site.now = change - 60 * MINUTE
    committed: list[float] = []
    delivered: list[float] = []
    while clock_site.now < change + 120 * MINUTE:
        clock_site.now += 10 * MINUTE
        committed += map(
            value, clock_site.commit(rows=12) + clock_site.commit(MINUTE, rows=3) + clock_site.commit(50 * MINUTE)
        )
        for _ in range(3):
            delivered += map(value, await clock_site.read())
    for _ in range(120):
        delivered += map(value, await clock_site.read())
    assert sorted(delivered) == committed
