"""A site without growing ids whose times are local: when its clocks change, no reading is lost, late or told twice."""

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
from ask.subjects import subjects
from db.database import Database
from live.source import ByTime
from tests.services.mariadb import MariaDB
from tests.site_tables import SiteTables
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
class Watched:
    """A table of local times, and the source that reads it by a clock of ours."""

    site: SiteTables
    database: Database
    tz: str
    now: datetime
    values: int = 0
    committed: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = self.database.settings
        with self.database.engine.connect() as connection:
            found = subjects(where, settings.Source(None), connection)
        self.source = ByTime(
            Ask(self.database, self.database, found, lambda: self.now, self.database), lambda: self.now
        )

    def commit(self, age: timedelta = timedelta(), rows: int = 1) -> list[Reading]:
        """Commit rows of that age, each of another value."""
        time = self.now - age
        new = [Reading("S:1", None, time, float(self.values + each)) for each in range(rows)]
        self.values += rows
        wall = time.astimezone(ZoneInfo(self.tz)).replace(tzinfo=None)
        values = ", ".join(f"('S:1', '{wall}', {one.value})" for one in new)
        self.site.execute(f"INSERT INTO log VALUES {values}")
        return new

    async def read(self) -> list[Reading]:
        readings, more = await self.source.read()
        assert not more
        return sorted(readings)


@pytest.fixture(params=list(CHANGES.values()), ids=list(CHANGES))
def watched(request: pytest.FixtureRequest, mariadb: MariaDB) -> Iterator[tuple[Watched, datetime]]:
    """The site, two hours before its clocks change, and when they do."""
    tz, change = request.param
    site = SiteTables(mariadb)
    site.execute(*NAMED, TABLE)
    reading: dict[str, Any] = {"table": "log", "time_zone": tz}
    database = Database(msgspec.convert(site.settings(reading=reading), settings.Database))
    try:
        yield Watched(site, database, tz, change - 120 * MINUTE), change
    finally:
        database.close()


async def test_each_reading_comes_once_at_once_and_with_its_time(watched: tuple[Watched, datetime]) -> None:
    one, change = watched
    one.commit()
    await one.source.begin()
    while one.now < change + 80 * MINUTE:
        one.now += 2 * MINUTE
        new = one.commit()
        assert await one.read() == new


async def test_what_was_written_while_the_database_was_away_at_the_change_comes_once(
    watched: tuple[Watched, datetime],
) -> None:
    one, change = watched
    await one.source.begin()
    one.now = change - 40 * MINUTE
    assert await one.read() == []
    new: list[Reading] = []
    while one.now < change + 10 * MINUTE:
        one.now += 2 * MINUTE
        new += one.commit()
    # Which pass a reading belongs to that comes so late, nothing in the table tells.
    assert [reading.value for reading in sorted(await one.read(), key=value)] == [reading.value for reading in new]
    assert await one.read() == []


def value(reading: Reading) -> float:
    return reading.value or 0.0


async def test_a_late_reading_comes_once_also_when_more_come_than_one_answer_holds(
    watched: tuple[Watched, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.source, "MOST", 10)
    one, change = watched
    await one.source.begin()
    one.now = change - 60 * MINUTE
    committed: list[float] = []
    delivered: list[float] = []
    while one.now < change + 120 * MINUTE:
        one.now += 10 * MINUTE
        committed += map(value, one.commit(rows=12) + one.commit(MINUTE, rows=3) + one.commit(50 * MINUTE))
        for _ in range(3):
            delivered += map(value, await one.read())
    for _ in range(120):
        delivered += map(value, await one.read())
    assert sorted(delivered) == committed
