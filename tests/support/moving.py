"""Storehouses that move between two organisations, and clients of both that look at every message they get.

Whatever is written of a storehouse says during which of its stays that was: names hold `<id>/<stay>`, and values are
the stay plus a fraction, those out of limits by OUT more. It stays with the first organisation in even stays, with the
second in odd ones. A message may reach a client if its organisation owned the storehouse at the time of what it tells,
or at any time since: so it must not, if the storehouse has not begun to move since then.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

import record.readings
import record.sites
from db import tables
from tests.support.clients import PythonClient
from tests.support.sites import Site

OUT = 10_000
RULES: list[dict[str, Any]] = [{"scope": {"metric": "humidity"}, "high": OUT}]
FIELDS = ("value", "peak")


class Town:
    """The storehouses, by id: the stay that each is in, or about to begin, and its two sensors."""

    def __init__(self, built: Site, count: int) -> None:
        self._built = built
        self._random = random.Random(7)
        self.orgs: list[int] = []
        self.stays: dict[int, int] = {}
        self._sensors: dict[int, tuple[int, int]] = {}
        with built.database.engine.begin() as connection:
            self.orgs += (record.sites.ensure_organisation(connection, name) for name in ("One", "Two"))
            for number in range(count):
                self._make(connection, number % 2)

    def _make(self, connection: sa.Connection, stay: int) -> None:
        made = record.sites.ensure_storehouse(connection, self.orgs[stay], f"new {len(self.stays)}", "UTC")
        quiet, loud = (
            record.sites.ensure_sensor(connection, made, "new", metric, interval_s=60)
            for metric in ("temperature", "humidity")
        )
        self.stays[made], self._sensors[made] = stay, (quiet, loud)
        self._write(connection, made)

    def move(self) -> None:
        """Have one of them begin its next stay, with readings of it in the same transaction."""
        store_house_id = self._random.choice(list(self.stays))
        self.stays[store_house_id] += 1  # before anybody can be told of it
        with self._built.database.engine.begin() as connection:
            self._write(connection, store_house_id)

    def read(self) -> None:
        """Have one of them get readings where it stays."""
        store_house_id = self._random.choice(list(self.stays))
        with self._built.database.engine.begin() as connection:
            self._add(connection, store_house_id)

    def _write(self, connection: sa.Connection, store_house_id: int) -> None:
        stay = self.stays[store_house_id]
        storehouse, sensor = tables.storehouse, tables.sensor
        name = f"{store_house_id}/{stay}"
        here = storehouse.c.store_house_id == store_house_id
        connection.execute(sa.update(storehouse).where(here).values(org_id=self.orgs[stay % 2], store_house_name=name))
        of_here = sensor.c.store_house_id == store_house_id
        connection.execute(sa.update(sensor).where(of_here).values(sensor_name=name))
        self._add(connection, store_house_id)

    def _add(self, connection: sa.Connection, store_house_id: int) -> None:
        quiet, loud = self._sensors[store_house_id]
        value = self.stays[store_house_id] + self._random.random() * 0.9
        now = datetime.now(UTC)
        out = OUT * self._random.randrange(2)
        record.readings.add(connection, [(quiet, now, value), (loud, now, value + out)])


class Resident(PythonClient):
    """A client of an organisation (0, 1), or of the one storehouse `home`; what it must not have got is in `leaks`."""

    def __init__(self, town: Town, org: int | None, home: int | None = None) -> None:
        super().__init__()
        self.leaks: list[Any] = []
        self.looked: Counter[str] = Counter()
        """What it was told of any storehouse, by event."""
        self.refused: Counter[str] = Counter()
        self._town = town
        self._org = org
        self._home = home

    def may_see(self, store_house_id: int, stay: int) -> bool:
        if self._org is None:
            return store_house_id == self._home
        return stay % 2 == self._org or self._town.stays[store_house_id] > stay

    def _arrived(self, event: str, *args: Any) -> None:
        self._check(event, args[0] if args else None)
        # What has been looked at is not kept: it would be gigabytes.
        self._received[event] = [args]

    async def asks(self, event: str, question: Any = None) -> None:
        answer = await self.call(event, question)
        if answer["ok"]:
            self._check(event, answer["data"])
        else:
            self.refused[answer["error"]["code"]] += 1

    def _check(self, event: str, data: Any) -> None:
        for store_house_id, stay in stays(data):
            self.looked[event] += 1
            if not self.may_see(store_house_id, stay):
                self.leaks.append((event, store_house_id, stay, dict(self._town.stays)[store_house_id]))

    async def live(self, seed: int, ended: asyncio.Event) -> None:
        """Watch and ask, one after the other, until it ends."""
        chance = random.Random(seed)
        while not ended.is_set():
            await self.asks(*self._question(chance))
            await asyncio.sleep(chance.random() * 0.2)

    def _question(self, chance: random.Random) -> tuple[str, Any]:
        storehouse = {"store_house_id": chance.choice(list(self._town.stays))}
        now = datetime.now(UTC)
        span = {"start": (now - timedelta(minutes=10)).isoformat(), "end": (now + timedelta(minutes=1)).isoformat()}
        return chance.choice(
            [
                ("register", storehouse),
                ("register", storehouse | {"cursor": 0}),
                ("register", storehouse),
                ("queryEnvs", storehouse | span | {"points": 10}),
                ("queryAlarms", storehouse | {"data_minute": 10}),
                ("querySensors", storehouse),
                ("overview", None),
                ("leaveOverview", None),
                ("storehouses", {"org_id": chance.choice(self._town.orgs)}),
            ]
        )


def stays(data: Any, store_house_id: int | None = None) -> Iterator[tuple[int, int]]:
    """All that a message tells of storehouses: which, and of which of its stays."""
    if isinstance(data, dict):
        here = data.get("store_house_id", store_house_id)
        for key, value in data.items():
            if key in FIELDS and value is not None and here is not None:
                yield here, int(value % OUT)
            elif key == "points":
                yield from (
                    (here, int(value % OUT)) for _, *values in value for value in values[:2] if here is not None
                )
            elif key in ("store_house_name", "sensor_name"):
                match = re.fullmatch(r"(\d+)/(\d+)", value)
                if match:
                    yield int(match[1]), int(match[2])
            elif key not in ("spark", "limits"):
                yield from stays(value, here)
    elif isinstance(data, list):
        for item in data:
            yield from stays(item, store_house_id)
