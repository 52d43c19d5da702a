"""Rollups in Storewatch's own tables match the readings, no matter in which order readings are committed or changed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ask import history
from ask.buckets import HOUR_S, ROLLED_UP_S, Frame
from ask.readings import Reading
from ask.sensors import Sensor
from ask.site_mapping import subjects_of
from ask.subjects import Subjects
from db import tables
from live.rollups import Rollups
from record import rollups
from settings import Source
from tests.support.services.mariadb import MariaDB
from tests.support.sites import Site, site

START = datetime(2024, 3, 1, tzinfo=UTC)
END = START + timedelta(days=2)
NOW = END + timedelta(days=1)
SENSORS = [Sensor(sensor_id, 1, "", "temperature", "", 60, (sensor_id, None)) for sensor_id in (1, 2)]

Row = tuple[int, int, datetime, float | None]
"""A row of the table of readings: `reading_id`, `sensor_id`, time, value."""
Values = dict[tuple[int, int], tuple[float, ...]]
"""The lowest value, highest value, sum and count of the readings in each bucket (time interval).

The key is the sensor and the start of the bucket.
"""


@dataclass
class Table:
    """Storewatch's table of readings, and the object that updates the rollups."""

    site: Site
    updater: Rollups = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, holder: str = "one") -> None:
        self.updater = Rollups(self.site.database, holder)

    async def commit(self, *rows: Row, handed_out: bool = True) -> None:
        """Commit rows. If `handed_out` is true, pass the rows to the updater as the poller does."""
        with self.site.database.engine.begin() as connection:
            values = [dict(zip(("reading_id", "sensor_id", "time", "value"), row, strict=True)) for row in rows]
            connection.execute(sa.insert(tables.reading), values)
        if handed_out:
            await self.updater.consume([Reading(row[1], None, row[2], row[3], row[0]) for row in rows])

    async def update_twice(self) -> None:
        """Update the rollups twice.

        The second update also adds the rows that were handed out before the first update.
        """
        await self.updater.update()
        await self.updater.update()

    def rolled_up(self, bucket_s: int) -> Values:
        """Return the stored rollups for buckets (time intervals) of this width."""
        rollup = tables.rollup.c
        rows = self._rows(sa.select(tables.rollup).where(rollup.bucket_s == bucket_s))
        return {(row.sensor_id, row.start): _values(*row[3:]) for row in rows}

    def expected(self, bucket_s: int) -> Values:
        """Compute the expected rollups for buckets (time intervals) of this width from the readings."""
        values: dict[tuple[int, int], list[float]] = {}
        for row in self._rows(sa.select(tables.reading).where(tables.reading.c.value.is_not(None))):
            second = int(row.time.timestamp())
            values.setdefault((row.sensor_id, second - second % bucket_s), []).append(row.value)
        return {key: _values(min(all_), max(all_), sum(all_), len(all_)) for key, all_ in values.items()}

    def queried(self, bucket_s: int) -> Values:
        """Return the result of a query. The query combines rollups with readings that are not in the rollups yet."""
        span = Frame(int(START.timestamp()), int(END.timestamp()), bucket_s)
        with self.site.database.engine.connect() as connection:
            ours: Subjects = subjects_of(self.site.database.settings, Source(None), connection)
            buckets = history.buckets(connection, ours, SENSORS, span, NOW)
        return {
            (int(key[0]), second): _values(bucket.min, bucket.max, bucket.sum, bucket.count)
            for key, of_key in buckets.items()
            for second, bucket in of_key.items()
        }

    def is_correct(self) -> bool:
        return all(self.rolled_up(width) == self.expected(width) for width in ROLLED_UP_S)

    def _rows(self, statement: sa.Select[Any]) -> list[Any]:
        with self.site.database.engine.connect() as connection:
            return list(connection.execute(statement))


def _values(low: float, high: float, total: float, count: int) -> tuple[float, ...]:
    return low, high, round(total, 6), count  # the last digits depend on the order of the additions


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def built_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if request.param == "sqlite":
        where: dict[str, Any] = {"path": str(tmp_path_factory.mktemp("rollups") / "own.db")}
    else:
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        mariadb.create_database("rollups")
        where = mariadb.settings("rollups")
    with site(where) as built:
        yield built


@pytest.fixture
def table(built_site: Site, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr("live.rollups.PAUSE_S", 0)
    for name in ("reading", "rollup", "rollup_position", "lease"):
        built_site.execute(f"DELETE FROM {name}")
    return Table(built_site)


def row(reading_id: int, minute: float, value: float | None, sensor_id: int = 1) -> Row:
    return reading_id, sensor_id, START + timedelta(minutes=minute), value


async def test_every_width_matches_the_readings_without_faults(table: Table) -> None:
    await table.commit(*(row(i, i, i % 7 - 3.5, 1 + i % 2) for i in range(1, 400)))
    await table.commit(row(400, 3, None), row(401, 1000, None))
    await table.update_twice()
    assert table.is_correct()
    assert table.rolled_up(HOUR_S)[1, int(START.timestamp())][:2] == (-3.5, 2.5)


async def test_one_late_reading_does_not_make_sqlite_read_all_readings(tmp_path: Path) -> None:
    steps: list[None] = []
    with site({"path": str(tmp_path / "own.db")}) as built:
        table = Table(built)
        await table.commit(*(row(i, 5 * i, 1.0) for i in range(100, 2100)))
        await table.update_twice()
        with built.database.engine.begin() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(lambda: steps.append(None), 1000)
            rollups.recompute(connection, [(1, int(START.timestamp()) + 1000 * 300)])
            driver.set_progress_handler(None, 0)
    assert len(steps) < 10, "each entry is 1,000 steps of SQLite's virtual machine; reading everything takes 34,000"


async def test_queries_include_readings_not_rolled_up_yet(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 2, 7.0))
    assert table.queried(HOUR_S) == table.expected(HOUR_S)
    await table.update_twice()
    await table.commit(row(3, 3, 9.0), row(4, 700, 1.0, 2))
    assert table.rolled_up(HOUR_S) != table.expected(HOUR_S) == table.queried(HOUR_S)
    await table.update_twice()
    assert table.rolled_up(HOUR_S) == table.expected(HOUR_S) == table.queried(HOUR_S)


async def test_queries_are_correct_while_rollups_are_far_behind(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # During a large import, the rollups are behind by more than the limit.
    monkeypatch.setattr(history, "BEHIND", 2)
    await table.commit(*(row(i, i, float(i)) for i in range(1, 50)))
    assert table.queried(HOUR_S) == table.expected(HOUR_S)


async def test_a_new_row_with_an_old_time_updates_its_bucket(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 600, 6.0))
    await table.update_twice()
    await table.commit(row(3, 2, 99.0))
    await table.update_twice()
    assert table.is_correct()
    assert table.rolled_up(HOUR_S)[1, int(START.timestamp())] == (5.0, 99.0, 104.0, 2)


async def test_a_late_row_with_a_lower_id_counts_once(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(3, 2, 6.0))
    await table.update_twice()
    await table.commit(row(2, 1.5, -40.0))
    await table.update_twice()
    await table.update_twice()
    assert table.is_correct()


async def test_a_corrected_value_replaces_the_old_one(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 2, 500.0))
    await table.update_twice()
    table.site.execute("UPDATE reading SET value = 6.0 WHERE reading_id = 2")
    await table.updater.consume([Reading(1, None, START + timedelta(minutes=2), 6.0, 2)])
    await table.update_twice()
    assert table.is_correct()


async def test_rows_committed_without_a_running_updater_are_added_later(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MOST", 7)  # the rows then need several batches
    await table.commit(row(1, 1, 5.0), row(5, 2, 6.0))
    await table.update_twice()
    missed = [row(i, i * 30, float(i)) for i in (2, 3, *range(6, 60))]
    await table.commit(*missed, handed_out=False)
    table.restart()
    await table.updater.update()
    assert table.is_correct()


async def test_deleted_readings_stay_in_the_rollups(table: Table) -> None:
    await table.commit(*(row(i, i / 6, 20.0 if i == 10 else 4.0) for i in range(1, 30)))
    await table.update_twice()
    before = table.rolled_up(HOUR_S)
    table.site.execute("DELETE FROM reading WHERE reading_id % 29 <> 0 OR reading_id = 10")
    table.restart()
    await table.update_twice()
    assert table.rolled_up(HOUR_S) == table.queried(HOUR_S) == before
    await table.commit(row(10, 0.1, -20.0))
    await table.update_twice()
    low, high, _, count = table.rolled_up(HOUR_S)[1, int(START.timestamp())]
    assert (low, high, count) == (-20.0, 20.0, 29)


async def test_a_refilled_table_is_rolled_up_from_the_start(table: Table) -> None:
    await table.commit(*(row(i, i, 5.0) for i in range(1, 50)))
    await table.update_twice()
    table.site.execute("DELETE FROM reading")
    table.restart()
    await table.commit(*(row(i, 2 * i, 6.0) for i in range(1, 20)))
    await table.update_twice()
    assert table.is_correct()


async def test_the_next_lease_holder_adds_the_missed_rows(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(3, 2, 6.0))
    await table.update_twice()
    first = table.updater
    table.restart("two")
    await table.commit(row(4, 3, 7.0))
    await table.update_twice()
    assert len(table.expected(300)) == 1
    assert table.rolled_up(300) != table.expected(300)  # the other process holds the lease
    await table.commit(row(2, 1, 8.0), handed_out=False)
    await first._release()
    await table.update_twice()
    assert table.is_correct()
    await first.update()
    assert table.is_correct()


async def test_the_next_process_finishes_an_interrupted_catch_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    await table.commit(*(row(number, 5 * number, 2.0) for number in range(1, 10, 2)))
    await table.update_twice()
    # These rows are committed late, in many buckets, while no process updates the rollups. The last two rows are after
    # the position of the rollups.
    late = [row(number, 5 * number, 7.0) for number in range(2, 10, 2)]
    await table.commit(*late, row(20, 200, 3.0), row(21, 205, 3.0), handed_out=False)
    monkeypatch.setattr("live.rollups.MOST_LATE", 1)
    monkeypatch.setattr("record.rollups.RECENT_IDS", 8)
    monkeypatch.setattr("record.rollups.MOST", 100)
    steps = 0

    async def killed(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise KeyboardInterrupt

    table.restart()
    with monkeypatch.context() as patched:
        patched.setattr("live.rollups.asyncio.sleep", killed)
        with pytest.raises(KeyboardInterrupt):
            await table.update_twice()
    table.restart()
    await table.update_twice()
    assert table.is_correct()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_rollups_are_correct_for_any_commit_order(table: Table, seed: int) -> None:
    rng = random.Random(seed)
    waiting: list[Row] = []
    last = 0
    for _ in range(40):
        for _ in range(rng.randrange(8)):
            last += 1
            value = None if rng.random() < 0.1 else round(rng.uniform(-30, 30), 2)
            waiting.append(row(last, rng.randrange(2 * 1440 * 60) / 60, value, rng.choice((1, 2))))
        rng.shuffle(waiting)
        due, waiting = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
        if due:
            # Rows that are not handed out were committed while the updater was not running.
            away = rng.random() < 0.2
            await table.commit(*due, handed_out=not away)
            if away:
                table.restart()
        if rng.random() < 0.4:
            await table.updater.update()
    await table.update_twice()
    assert table.is_correct()
    for bucket_s in (300, 1800, HOUR_S, 12 * HOUR_S):
        assert table.queried(bucket_s) == table.expected(bucket_s)
