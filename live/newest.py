"""The newest reading of each sensor, and how good it is. Pure: no clock, no socket, no database."""

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
"""A reading older than so many of its sensor's intervals is stale."""


GOOD: Quality = "good"


class Newest:
    """The current state of every storehouse. Methods that change it return the storehouses that look different."""

    def __init__(self) -> None:
        self._storehouses: dict[Id, Storehouse] = {}
        self._sensors: dict[Id, list[Sensor]] = {}  # by storehouse
        self._of_key: dict[Key, list[Sensor]] = {}
        self._readings: dict[Key, Reading] = {}
        self._stale_at: list[tuple[datetime, int, Key]] = []  # a heap: when which reading goes stale
        self._pushes = 0
        self._versions: Counter[Id] = Counter()
        self._shown: dict[Id, list[_Shown]] = {}  # by storehouse

    def storehouse(self, store_house_id: Id) -> Storehouse | None:
        """Return the storehouse of this id, also where an integer came as a string of digits."""
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
        """Return all storehouses, by id."""
        return list(self._storehouses.values())

    def sensors(self, store_house_id: Id) -> Sequence[Sensor]:
        """Return the storehouse's sensors, by id."""
        return self._sensors.get(store_house_id, ())

    def version(self, store_house_id: Id) -> int:
        """Return a number that is another each time the storehouse looks different."""
        return self._versions[store_house_id]

    def knows(self, key: Key) -> bool:
        """Return whether readings of this key belong to a known sensor."""
        return key in self._of_key

    def keys(self) -> set[Key]:
        """Return the keys of the known sensors' readings."""
        return set(self._of_key)

    def set_directory(self, storehouses: Iterable[Storehouse], sensors: Iterable[Sensor], now: datetime) -> set[Id]:
        """Replace the storehouses and sensors."""
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
        """Replace the organisation of each storehouse; return the storehouses that have moved, or are gone."""
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
        """Add readings; of each sensor the newest by time counts, of equally new ones that of the highest rank.

        Where they have the same rank too, it is the last.
        """
        changed: set[Id] = set()
        for reading in readings:
            # A clock that runs ahead must not hide the readings to come behind one from the future.
            if reading.time > now + AHEAD:
                continue
            before = self._readings.get(reading.key)
            # A reading from the future was added before the clock was set back.
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
        """Return the storehouses where a reading has gone stale since the last call."""
        changed: set[Id] = set()
        while self._stale_at and self._stale_at[0][0] < now:
            end, _, key = heapq.heappop(self._stale_at)
            for sensor in self._of_key.get(key, ()):
                if _goes_stale(self._readings[key], sensor) == end:
                    changed.add(sensor.store_house_id)
        self._versions.update(changed)
        return changed

    def envs(self, store_house_id: Id, now: datetime) -> list[Env]:
        """Return the storehouse's sensors with their newest readings."""
        readings = self._readings
        return [shown.env(readings.get(shown.sensor.key), now) for shown in self._shown.get(store_house_id, ())]

    def encoded(self, store_house_id: Id, now: datetime) -> list[msgspec.Raw]:
        """Return the same, each as JSON."""
        readings = self._readings
        return [shown.encoded(readings.get(shown.sensor.key), now) for shown in self._shown.get(store_house_id, ())]

    def _watch_age(self, key: Key, now: datetime) -> None:
        reading = self._readings.get(key)
        if reading is None:
            return
        for sensor in self._of_key.get(key, ()):
            end = _goes_stale(reading, sensor)
            # What is stale already is pushed as such, because it has changed just now.
            if end is not None and end >= now:
                self._pushes += 1  # so that the heap never compares two keys, which may be of two types
                heapq.heappush(self._stale_at, (end, self._pushes, key))


class _Shown:
    """A sensor with its last `Env`, as an object and encoded.

    Mostly one sensor of a storehouse has changed; encoding the others again took half of the CPU of a push.
    """

    __slots__ = ("_encoded", "_env", "_reading", "_until", "sensor")

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self._reading: Reading | None = None
        self._env: Env | None = None
        self._encoded: msgspec.Raw | None = None
        self._until: datetime | None = None

    def env(self, reading: Reading | None, now: datetime) -> Env:
        """Return the sensor with this reading."""
        if self._env is None or reading is not self._reading or (self._until is not None and now > self._until):
            self._env, self._encoded = self._make(reading, now), None
            self._reading = reading
            self._until = _goes_stale(reading, self.sensor) if reading and self._env.quality == GOOD else None
        return self._env

    def encoded(self, reading: Reading | None, now: datetime) -> msgspec.Raw:
        """Return the sensor with this reading, as JSON."""
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
