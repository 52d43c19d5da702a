"""Storehouses that move between two organisations, and clients of both organisations.

The clients check every message that they receive.

A stay is the time between two moves of a storehouse. Stays are numbered. The first organisation owns the storehouse in
stays with even numbers, the second in stays with odd numbers. All data contain the number of the stay in which they
were written. Names have the form `<id>/<stay>`. A value is the number of the stay plus a fraction. A value that
violates a limit is larger by OUT.

A client may receive the data of each stay in which its own organisation owns the storehouse. The client may receive the
data of a stay with the other organisation only after that stay has ended, because the storehouse then belongs to the
client's own organisation.
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
    """The storehouses of both organisations.

    A stay is the time between two moves of a storehouse. `stays` maps the id of a storehouse to the number of the
    current stay, or of the stay that is about to start.
    """

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
        """Move a random storehouse to the other organisation, and add readings in the same transaction."""
        store_house_id = self._random.choice(list(self.stays))
        self.stays[store_house_id] += 1  # before the commit, so that no client can receive data of this stay earlier
        with self._built.database.engine.begin() as connection:
            self._write(connection, store_house_id)

    def read(self) -> None:
        """Add readings to a random storehouse without moving it."""
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
    """A client whose user may see one organisation (0 or 1) or only the storehouse `home`.

    `leaks` contains the data that the client should not have received.
    """

    def __init__(self, town: Town, org: int | None, home: int | None = None) -> None:
        super().__init__()
        self.leaks: list[Any] = []
        self.looked: Counter[str] = Counter()
        """For each event, the number of received data items about storehouses."""
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
        # Keep only the last message, because all messages would take gigabytes.
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
        """Send random requests, one after another, until `ended` is set."""
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
    """For each data item in a message, yield the id of the storehouse and the number of the stay.

    A stay is the time between two moves of a storehouse.
    """
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
