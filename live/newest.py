"""Keeps the newest reading and the quality of each sensor. The module uses no clock, no socket and no database."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from ask.answers import Env, Id, Quality, Storehouse
from ask.readings import Key, Reading
from ask.sensors import Sensor
from common.clock import AHEAD

INTERVALS = 3
"""A reading becomes stale when it is older than this number of reporting intervals of its sensor."""


GOOD: Quality = "good"


class Newest:
    """The current state of every storehouse: its sensors and their newest readings.

    Methods that change the state return the ids of the changed storehouses.
    """

    def __init__(self) -> None:
        self._storehouses: dict[Id, Storehouse] = {}
        self._sensors: dict[Id, list[Sensor]] = {}  # by storehouse
        self._of_key: dict[Key, list[Sensor]] = {}
        self._readings: dict[Key, Reading] = {}
        self._stale_at: list[tuple[datetime, int, Key]] = []  # a heap of (stale at, serial number, key)
        self._pushes = 0
        self._versions: Counter[Id] = Counter()
        self._shown: dict[Id, list[_Shown]] = {}  # by storehouse

    def storehouse(self, store_house_id: Id) -> Storehouse | None:
        """Return the storehouse with this id, or None if no storehouse has it.

        An integer id may be given as a string of digits.
        """
        storehouse = self._storehouses.get(store_house_id)
        if (
            storehouse is None
            and isinstance(store_house_id, str)
            and store_house_id.isascii()
            and store_house_id.isdigit()
        ):
            storehouse = self._storehouses.get(int(store_house_id))
        return storehouse

    def storehouses(self) -> list[Storehouse]:
        """Return all storehouses, sorted by id."""
        return list(self._storehouses.values())

    def sensors(self, store_house_id: Id) -> Sequence[Sensor]:
        """Return the storehouse's sensors, sorted by id."""
        return self._sensors.get(store_house_id, ())

    def version(self, store_house_id: Id) -> int:
        """Return a number that increases with every change of the storehouse's displayed state."""
        return self._versions[store_house_id]

    def reading(self, key: Key) -> Reading | None:
        """Return the newest reading with this key, or None if there is none."""
        return self._readings.get(key)

    def knows(self, key: Key) -> bool:
        """Return whether this is the key of a known sensor. Each reading contains the key of its sensor."""
        return key in self._of_key

    def keys(self) -> set[Key]:
        """Return the keys of all known sensors. Each reading contains the key of its sensor."""
        return set(self._of_key)

    def set_directory(self, storehouses: Iterable[Storehouse], sensors: Iterable[Sensor], now: datetime) -> set[Id]:
        """Replace the storehouses and sensors. Return the ids of the changed storehouses."""
        before = self._storehouses, self._sensors
        self._storehouses = {storehouse.store_house_id: storehouse for storehouse in storehouses}
        self._sensors = {store_house_id: [] for store_house_id in self._storehouses}
        self._of_key = {}
        for sensor in sensors:
            self._sensors.setdefault(sensor.store_house_id, []).append(sensor)
            self._of_key.setdefault(sensor.key, []).append(sensor)
        self._shown = {
            store_house_id: [_Shown(sensor) for sensor in here] for store_house_id, here in self._sensors.items()
        }
        changed = {
            store_house_id
            for store_house_id in self._sensors
            if before[1].get(store_house_id) != self._sensors[store_house_id]
        }
        for key in {sensor.key for store_house_id in changed for sensor in self._sensors[store_house_id]}:
            self._watch_age(key, now)
        owners = {store_house_id: storehouse.org_id for store_house_id, storehouse in self._storehouses.items()}
        changed |= {
            store_house_id
            for store_house_id, storehouse in before[0].items()
            if owners.get(store_house_id) != storehouse.org_id
        }
        self._versions.update(changed)
        return changed

    def set_owners(self, owners: Mapping[Id, Id]) -> set[Id]:
        """Replace the organisation of each storehouse.

        Return the ids of the storehouses that have moved to another organisation or were deleted.
        """
        moved = {
            store_house_id
            for store_house_id, storehouse in self._storehouses.items()
            if owners.get(store_house_id) != storehouse.org_id
        }
        if moved:
            self._storehouses = {
                store_house_id: msgspec.structs.replace(storehouse, org_id=owners[store_house_id])
                for store_house_id, storehouse in self._storehouses.items()
                if store_house_id in owners
            }
        return moved

    def add_readings(self, readings: Iterable[Reading], now: datetime) -> set[Id]:
        """Add readings, keep the newest reading of each sensor, and return the ids of the changed storehouses.

        If two readings have the same time, the reading with the higher `rank` is kept (see `ask.readings.Reading`). If
        they also have the same rank, the reading that comes later in `readings` is kept.
        """
        changed: set[Id] = set()
        for reading in readings:
            # Skip a reading from the future, such as from a clock that runs ahead: it would hide the next readings.
            if reading.time > now + AHEAD:
                continue
            before = self._readings.get(reading.key)
            # The stored reading lies in the future if it was added before this machine's clock was set back.
            if before is not None and before.time > now + AHEAD:
                before = None
            if before is not None and (_order(reading) < _order(before) or reading == before):
                continue
            self._readings[reading.key] = reading
            self._watch_age(reading.key, now)
            changed.update(sensor.store_house_id for sensor in self._of_key.get(reading.key, ()))
        self._versions.update(changed)
        return changed

    def gone_stale(self, now: datetime) -> set[Id]:
        """Return the ids of the storehouses in which a reading has become stale since the last call."""
        changed: set[Id] = set()
        while self._stale_at and self._stale_at[0][0] < now:
            end, _, key = heapq.heappop(self._stale_at)
            for sensor in self._of_key.get(key, ()):
                if _goes_stale(self._readings[key], sensor) == end:
                    changed.add(sensor.store_house_id)
        self._versions.update(changed)
        return changed

    def envs(self, store_house_id: Id, now: datetime) -> list[Env]:
        """Return an `Env` (sensor with its newest reading) for each sensor of the storehouse."""
        readings = self._readings
        return [shown.env(readings.get(shown.sensor.key), now) for shown in self._shown.get(store_house_id, ())]

    def encoded(self, store_house_id: Id, now: datetime) -> list[msgspec.Raw]:
        """Return the same items as `envs`, each encoded as JSON."""
        readings = self._readings
        return [shown.encoded(readings.get(shown.sensor.key), now) for shown in self._shown.get(store_house_id, ())]

    def _watch_age(self, key: Key, now: datetime) -> None:
        reading = self._readings.get(key)
        if reading is None:
            return
        for sensor in self._of_key.get(key, ()):
            end = _goes_stale(reading, sensor)
            # A reading that is already stale is pushed as a change, so no later push is needed.
            if end is not None and end >= now:
                self._pushes += 1  # a tie-breaker: the heap must not compare keys, whose types may differ
                heapq.heappush(self._stale_at, (end, self._pushes, key))


class _Shown:
    """A sensor with its latest `Env` (the message item about the sensor), cached as an object and as JSON.

    Usually only one sensor of a storehouse has changed since the last push. Without the cache, half of the CPU time of
    a push was spent on encoding the unchanged sensors again.
    """

    __slots__ = ("_encoded", "_env", "_reading", "_until", "sensor")

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self._reading: Reading | None = None
        self._env: Env | None = None
        self._encoded: msgspec.Raw | None = None
        self._until: datetime | None = None

    def env(self, reading: Reading | None, now: datetime) -> Env:
        """Return the `Env` (message item) of the sensor for its newest reading `reading`."""
        if self._env is None or reading is not self._reading or (self._until is not None and now > self._until):
            self._env, self._encoded = self._make(reading, now), None
            self._reading = reading
            self._until = _goes_stale(reading, self.sensor) if reading and self._env.quality == GOOD else None
        return self._env

    def encoded(self, reading: Reading | None, now: datetime) -> msgspec.Raw:
        """Return the `Env` (message item) of the sensor for its newest reading `reading`, as JSON."""
        env = self.env(reading, now)
        if self._encoded is None:
            self._encoded = msgspec.Raw(msgspec.json.encode(env))
        return self._encoded

    def _make(self, reading: Reading | None, now: datetime) -> Env:
        sensor = self.sensor
        value, time = (reading.value, reading.time) if reading else (None, None)
        quality = _quality(reading, sensor, now)
        return Env(sensor.sensor_id, sensor.sensor_name, sensor.metric, sensor.unit, value, time, quality)


def _order(reading: Reading) -> tuple[datetime, int]:
    return reading.time, reading.rank


def _goes_stale(reading: Reading, sensor: Sensor) -> datetime | None:
    if not sensor.interval_s or reading.value is None:
        return None
    return reading.time + INTERVALS * timedelta(seconds=sensor.interval_s)


def _quality(reading: Reading | None, sensor: Sensor, now: datetime) -> Quality:
    if reading is None or reading.value is None:
        return "bad"
    end = _goes_stale(reading, sensor)
    return "stale" if end is not None and now > end else GOOD
