"""The newest reading of each sensor, and how good it is. Pure: no clock, no socket, no database."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from ask.answers import EVERYWHERE, Env, Id, Storehouse
from ask.readings import Key, Reading
from ask.sensors import Sensor
from ask.visibility import Visibility
from common.clock import AHEAD

INTERVALS = 3
"""A reading older than so many of its sensor's intervals is stale."""


GOOD = "good"


class Newest:
    """What every storehouse looks like now. Methods that change it return the storehouses that look different."""

    def __init__(self) -> None:
        self._storehouses: dict[Id, Storehouse] = {}
        self._sensors: dict[Id, list[Sensor]] = {}  # by storehouse
        self._of_key: dict[Key, list[Sensor]] = {}
        self._readings: dict[Key, Reading] = {}
        self._ageing: list[tuple[datetime, int, Key]] = []  # a heap: when which reading goes stale
        self._turns = 0
        self._looks: Counter[Id] = Counter()
        self._shown: dict[Id, list[_Shown]] = {}  # by storehouse

    def storehouse(self, store_house_id: Id) -> Storehouse | None:
        """Return the storehouse of this id, also where an integer came as a string of digits."""
        found = self._storehouses.get(store_house_id)
        if found is None and isinstance(store_house_id, str) and store_house_id.isascii() and store_house_id.isdigit():
            found = self._storehouses.get(int(store_house_id))
        return found

    def storehouses(self) -> list[Storehouse]:
        """Return all storehouses, by id."""
        return list(self._storehouses.values())

    def sees(self, visibility: Visibility, store_house_id: Id) -> bool:
        """Return whether `sight` has this storehouse; what is about all of them, everybody may see."""
        found = self.storehouse(store_house_id)
        return (
            visibility.everything
            or store_house_id == EVERYWHERE
            or (found is not None and visibility.storehouse(found))
        )

    def sensors(self, store_house_id: Id) -> Sequence[Sensor]:
        """Return the storehouse's sensors, by id."""
        return self._sensors.get(store_house_id, ())

    def looks(self, store_house_id: Id) -> int:
        """Return a number that is another each time the storehouse looks different."""
        return self._looks[store_house_id]

    def knows(self, key: Key) -> bool:
        """Return whether readings of this key belong to a known sensor."""
        return key in self._of_key

    def keys(self) -> set[Key]:
        """Return what the known sensors' readings are found by."""
        return set(self._of_key)

    def learn(self, storehouses: Iterable[Storehouse], sensors: Iterable[Sensor], now: datetime) -> set[Id]:
        """Take over which storehouses and sensors there are."""
        before = self._storehouses, self._sensors
        self._storehouses = {one.store_house_id: one for one in storehouses}
        self._sensors = {one: [] for one in self._storehouses}
        self._of_key = {}
        for sensor in sensors:
            self._sensors.setdefault(sensor.store_house_id, []).append(sensor)
            self._of_key.setdefault(sensor.key, []).append(sensor)
        self._shown = {one: [_Shown(sensor) for sensor in here] for one, here in self._sensors.items()}
        changed = {one for one in self._sensors if before[1].get(one) != self._sensors[one]}
        for key in {sensor.key for one in changed for sensor in self._sensors[one]}:
            self._watch_age(key, now)
        of_now = {one: known.org_id for one, known in self._storehouses.items()}
        changed |= {one for one, known in before[0].items() if of_now.get(one) != known.org_id}
        self._looks.update(changed)
        return changed

    def own(self, owners: Mapping[Id, Id]) -> set[Id]:
        """Take over the organisation of each storehouse there is; return those that have moved, or are gone."""
        moved = {one for one, known in self._storehouses.items() if owners.get(one) != known.org_id}
        if moved:
            self._storehouses = {
                one: msgspec.structs.replace(known, org_id=owners[one])
                for one, known in self._storehouses.items()
                if one in owners
            }
        return moved

    def take(self, readings: Iterable[Reading], now: datetime) -> set[Id]:
        """Take over readings; of each sensor the newest by time counts, of equally new ones that of the highest rank.

        Where they have the same rank too, it is the last.
        """
        changed: set[Id] = set()
        for reading in readings:
            # A clock that runs ahead must not hide the readings to come behind one from the future.
            if reading.time > now + AHEAD:
                continue
            before = self._readings.get(reading.key)
            # One from the future was taken over before the clock was set back.
            if before is not None and before.time > now + AHEAD:
                before = None
            if before is not None and (_order(reading) < _order(before) or reading == before):
                continue
            self._readings[reading.key] = reading
            self._watch_age(reading.key, now)
            changed.update(sensor.store_house_id for sensor in self._of_key.get(reading.key, ()))
        self._looks.update(changed)
        return changed

    def age(self, now: datetime) -> set[Id]:
        """Return the storehouses where a reading has gone stale since the last call."""
        changed: set[Id] = set()
        while self._ageing and self._ageing[0][0] < now:
            end, _, key = heapq.heappop(self._ageing)
            for sensor in self._of_key.get(key, ()):
                if _goes_stale(self._readings[key], sensor) == end:
                    changed.add(sensor.store_house_id)
        self._looks.update(changed)
        return changed

    def envs(self, store_house_id: Id, now: datetime) -> list[Env]:
        """Return the storehouse's sensors with their newest readings."""
        readings = self._readings
        return [one.env(readings.get(one.sensor.key), now) for one in self._shown.get(store_house_id, ())]

    def encoded(self, store_house_id: Id, now: datetime) -> list[msgspec.Raw]:
        """Return the same, each as JSON."""
        readings = self._readings
        return [one.encoded(readings.get(one.sensor.key), now) for one in self._shown.get(store_house_id, ())]

    def _watch_age(self, key: Key, now: datetime) -> None:
        reading = self._readings.get(key)
        if reading is None:
            return
        for sensor in self._of_key.get(key, ()):
            end = _goes_stale(reading, sensor)
            # What is stale already is told as such, now that it has changed.
            if end is not None and end >= now:
                self._turns += 1  # so that the heap never compares two keys, which may be of two types
                heapq.heappush(self._ageing, (end, self._turns, key))


class _Shown:
    """A sensor, and what was told of it last.

    Where one sensor of a storehouse has changed, to make anew what is told of the others was half of a push.
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


def _quality(reading: Reading | None, sensor: Sensor, now: datetime) -> str:
    if reading is None or reading.value is None:
        return "bad"
    end = _goes_stale(reading, sensor)
    return "stale" if end is not None and now > end else GOOD
