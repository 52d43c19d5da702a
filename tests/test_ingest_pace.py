"""The import can replay recorded readings at the pace of live readings. The clock is simulated."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

import settings
from db import database, tables
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from ingest import load
from ingest.import_stats import ImportStats
from ingest.series import Moment
from ingest.site import Destination, Site, find_or_create_site

START = datetime(2024, 1, 31, 10, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


class Player:
    """Replays recorded readings into a database.

    `seen` contains pairs: a simulated time, and the number of readings that the database contained at this time.
    """

    def __init__(self, path: Path) -> None:
        target_settings = settings.Database(path=str(path))
        migrate(target_settings)
        self.database = database.Database(target_settings, BATCH_LIMITS, 1, writes=True)
        with self.database.engine.begin() as connection:
            self.site: Site = find_or_create_site(connection, Destination("Frost Ltd", "Cold store"), ["a", "b"], 900)
        self.now = 0.0
        self.seen: list[tuple[float, int]] = []

    def sleep(self, seconds: float) -> None:
        self.note()
        self.now += seconds

    def note(self) -> None:
        with self.database.engine.connect() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(tables.reading)) or 0
        self.seen.append((self.now, count))

    def play(self, moments: list[Moment], speed: float = 900) -> ImportStats:
        stats = ImportStats(ZoneInfo("UTC"), QUARTER, print)
        replay_speed = load.ReplaySpeed(speed, lambda: self.now, self.sleep)
        load.replay(self.database.engine, self.site, iter(moments), stats, replay_speed)
        self.note()
        return stats

    def write(self, moments: list[Moment]) -> None:
        load.load_all(self.database.engine, self.site, moments, ImportStats(ZoneInfo("UTC"), QUARTER, print))


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    player = Player(tmp_path / "storewatch.db")
    yield player
    player.database.close()


def quarters(count: int) -> list[Moment]:
    return [Moment(START + QUARTER * n, [float(n), -float(n)]) for n in range(count)]


def test_each_moment_is_committed_at_its_time(player: Player) -> None:
    stats = player.play(quarters(4))  # 15 min per second
    assert player.seen == [(0, 2), (1, 4), (2, 6), (3, 8)]
    assert stats.added == 8


def test_delays_do_not_accumulate(player: Player) -> None:
    slow = player.sleep

    def sleep_too_long(seconds: float) -> None:
        slow(seconds + 0.25)

    player.sleep = sleep_too_long  # type: ignore[method-assign]
    player.play(quarters(4))
    assert [now for now, _ in player.seen] == [0, 1.25, 2.25, 3.25]


def test_a_long_wait_is_split_into_short_sleeps(player: Player) -> None:
    player.play(quarters(2), speed=5)  # 180 s
    assert player.seen == [(0, 2), (60, 2), (120, 2), (180, 4)]


def test_existing_readings_take_no_time(player: Player) -> None:
    player.write(quarters(1000))
    stats = player.play(quarters(1002))
    assert player.seen == [(0, 2000), (1, 2002), (2, 2004)]
    assert stats.added == 4


def test_missing_readings_of_a_moment_are_added(player: Player) -> None:
    player.write([Moment(START + QUARTER, [1.0, None])])
    assert player.play(quarters(2)).added == 3
    assert player.seen == [(0, 3), (1, 4)]


def test_a_moment_without_readings_still_takes_its_time(player: Player) -> None:
    first, _, third = quarters(3)
    player.play([first, Moment(START + QUARTER, [None, None]), third])
    assert player.seen == [(0, 2), (2, 4)]


def test_a_time_that_goes_back_causes_no_wait(player: Player) -> None:
    first, second, third = quarters(3)
    player.play([first, third, second])
    assert player.seen == [(0, 2), (2, 6)]
