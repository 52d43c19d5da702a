"""Rollups of our own readings: whatever has happened to the rows, they say what the rows say."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
"""`reading_id`, `sensor_id`, time, value."""
Values = dict[tuple[int, int], tuple[float, ...]]
"""By sensor and start: lowest, highest, sum and number."""


@dataclass
class Table:
    """Our readings, and the process that keeps their rollups."""

    site: Site
    keeper: Rollups = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, holder: str = "one") -> None:
        self.keeper = Rollups(self.site.database, holder)

    async def commit(self, *rows: Row, handed_out: bool = True) -> None:
        """Commit rows; the poller hands them out."""
        with self.site.database.engine.begin() as connection:
            values = [dict(zip(("reading_id", "sensor_id", "time", "value"), row, strict=True)) for row in rows]
            connection.execute(sa.insert(tables.reading), values)
        if handed_out:
            await self.keeper.consume([Reading(row[1], None, row[2], row[3], row[0]) for row in rows])

    async def keep(self) -> None:
        """Update twice: what was handed out before the first update is due at the second."""
        await self.keeper.update()
        await self.keeper.update()

    def rolled_up(self, bucket_s: int) -> Values:
        """The rollups of this width."""
        rollup = tables.rollup.c
        rows = self._rows(sa.select(tables.rollup).where(rollup.bucket_s == bucket_s))
        return {(row.sensor_id, row.start): _values(*row[3:]) for row in rows}

    def counted(self, bucket_s: int) -> Values:
        """The expected rollups of this width."""
        values: dict[tuple[int, int], list[float]] = {}
        for row in self._rows(sa.select(tables.reading).where(tables.reading.c.value.is_not(None))):
            second = int(row.time.timestamp())
            values.setdefault((row.sensor_id, second - second % bucket_s), []).append(row.value)
        return {key: _values(min(all_), max(all_), sum(all_), len(all_)) for key, all_ in values.items()}

    def told(self, bucket_s: int) -> Values:
        """What a question is told, of the rollups and of what is not in them."""
        span = Frame(int(START.timestamp()), int(END.timestamp()), bucket_s)
        with self.site.database.engine.connect() as connection:
            ours: Subjects = subjects_of(self.site.database.settings, Source(None), connection)
            buckets = history.buckets(connection, ours, SENSORS, span, NOW)
        return {
            (int(key[0]), second): _values(bucket.min, bucket.max, bucket.sum, bucket.count)
            for key, of_key in buckets.items()
            for second, bucket in of_key.items()
        }

    def is_right(self) -> bool:
        return all(self.rolled_up(width) == self.counted(width) for width in ROLLED_UP_S)

    def _rows(self, statement: sa.Select[Any]) -> list[Any]:
        with self.site.database.engine.connect() as connection:
            return list(connection.execute(statement))


def _values(low: float, high: float, total: float, count: int) -> tuple[float, ...]:
    return low, high, round(total, 6), count  # the order of adding shows in the last digits


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


async def test_every_width_says_what_the_readings_say_and_faults_do_not_count(table: Table) -> None:
    await table.commit(*(row(i, i, i % 7 - 3.5, 1 + i % 2) for i in range(1, 400)))
    await table.commit(row(400, 3, None), row(401, 1000, None))
    await table.keep()
    assert table.is_right()
    assert table.rolled_up(HOUR_S)[1, int(START.timestamp())][:2] == (-3.5, 2.5)


async def test_what_is_not_rolled_up_yet_is_told_all_the_same(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 2, 7.0))
    assert table.told(HOUR_S) == table.counted(HOUR_S)
    await table.keep()
    await table.commit(row(3, 3, 9.0), row(4, 700, 1.0, 2))
    assert table.rolled_up(HOUR_S) != table.counted(HOUR_S) == table.told(HOUR_S)
    await table.keep()
    assert table.rolled_up(HOUR_S) == table.counted(HOUR_S) == table.told(HOUR_S)


async def test_rows_without_number_are_read_themselves(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    # As while a large import is rolled up.
    monkeypatch.setattr(history, "BEHIND", 2)
    await table.commit(*(row(i, i, float(i)) for i in range(1, 50)))
    assert table.told(HOUR_S) == table.counted(HOUR_S)


async def test_a_row_of_long_ago_that_comes_now_goes_where_it_belongs(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 600, 6.0))
    await table.keep()
    await table.commit(row(3, 2, 99.0))
    await table.keep()
    assert table.is_right()
    assert table.rolled_up(HOUR_S)[1, int(START.timestamp())] == (5.0, 99.0, 104.0, 2)


async def test_a_row_committed_late_with_an_earlier_id_is_in_them_once(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(3, 2, 6.0))
    await table.keep()
    await table.commit(row(2, 1.5, -40.0))
    await table.keep()
    await table.keep()
    assert table.is_right()


async def test_a_value_that_was_corrected_counts_as_it_is_now(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(2, 2, 500.0))
    await table.keep()
    table.site.execute("UPDATE reading SET value = 6.0 WHERE reading_id = 2")
    await table.keeper.consume([Reading(1, None, START + timedelta(minutes=2), 6.0, 2)])
    await table.keep()
    assert table.is_right()


async def test_what_was_committed_while_nobody_kept_them_is_caught_up(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MOST", 7)  # so that it takes several portions
    await table.commit(row(1, 1, 5.0), row(5, 2, 6.0))
    await table.keep()
    missed = [row(i, i * 30, float(i)) for i in (2, 3, *range(6, 60))]
    await table.commit(*missed, handed_out=False)
    table.restart()
    await table.keeper.update()
    assert table.is_right()


async def test_thinned_out_readings_stay_in_them_also_when_one_comes_late(table: Table) -> None:
    await table.commit(*(row(i, i / 6, 20.0 if i == 10 else 4.0) for i in range(1, 30)))
    await table.keep()
    before = table.rolled_up(HOUR_S)
    table.site.execute("DELETE FROM reading WHERE reading_id % 29 <> 0 OR reading_id = 10")
    table.restart()
    await table.keep()
    assert table.rolled_up(HOUR_S) == table.told(HOUR_S) == before
    await table.commit(row(10, 0.1, -20.0))
    await table.keep()
    low, high, _, count = table.rolled_up(HOUR_S)[1, int(START.timestamp())]
    assert (low, high, count) == (-20.0, 20.0, 29)


async def test_a_table_that_began_anew_is_rolled_up_anew(table: Table) -> None:
    await table.commit(*(row(i, i, 5.0) for i in range(1, 50)))
    await table.keep()
    table.site.execute("DELETE FROM reading")
    table.restart()
    await table.commit(*(row(i, 2 * i, 6.0) for i in range(1, 20)))
    await table.keep()
    assert table.is_right()


async def test_one_process_keeps_them_and_the_next_makes_good_what_it_missed(table: Table) -> None:
    await table.commit(row(1, 1, 5.0), row(3, 2, 6.0))
    await table.keep()
    first = table.keeper
    table.restart("two")
    await table.commit(row(4, 3, 7.0))
    await table.keep()
    assert len(table.counted(300)) == 1
    assert table.rolled_up(300) != table.counted(300)  # the lease is the other's
    await table.commit(row(2, 1, 8.0), handed_out=False)
    await first._release()
    await table.keep()
    assert table.is_right()
    await first.update()
    assert table.is_right()


async def test_one_that_stops_before_all_is_made_good_leaves_the_rest_to_the_next(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.commit(*(row(number, 5 * number, 2.0) for number in range(1, 10, 2)))
    await table.keep()
    # Committed late while nobody kept them, in many buckets, and more after the position.
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
            await table.keep()
    table.restart()
    await table.keep()
    assert table.is_right()


@pytest.mark.parametrize("seed", range(4))
async def test_in_whatever_order_rows_are_committed(table: Table, seed: int) -> None:
    dice = random.Random(seed)
    waiting: list[Row] = []
    last = 0
    for _ in range(40):
        for _ in range(dice.randrange(8)):
            last += 1
            value = None if dice.random() < 0.1 else round(dice.uniform(-30, 30), 2)
            waiting.append(row(last, dice.randrange(2 * 1440 * 60) / 60, value, dice.choice((1, 2))))
        dice.shuffle(waiting)
        due, waiting = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
        if due:
            # Those that nobody hands out came while we were away.
            away = dice.random() < 0.2
            await table.commit(*due, handed_out=not away)
            if away:
                table.restart()
        if dice.random() < 0.4:
            await table.keeper.update()
    await table.keep()
    assert table.is_right()
    for bucket_s in (300, 1800, HOUR_S, 12 * HOUR_S):
        assert table.told(bucket_s) == table.counted(bucket_s)
