"""The judge's states of all sensors. Readings and the passing of time update these states.

The judge is the component that evaluates alarm rules. This module uses no clock and no database.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from alarms import judge
from alarms.judge import State
from alarms.model import KINDS, NO_DATA, Change, Episode
from alarms.model import Reading as Measured
from alarms.rules import Rule, Terms
from alarms.rules import terms as terms_for
from ask.answers import Id
from ask.readings import Key, Reading
from ask.sensors import Sensor
from common.clock import AHEAD
from record.episode_rows import Identity, identity
from record.episodes import ClosedByHand

AHEAD_S = AHEAD.total_seconds()
LEAP_S = 2 * AHEAD_S
"""If the state of a sensor is more than this number of seconds ahead of the server's clock, that clock was set back.

A wrong clock of a sensor cannot be the reason: readings more than `AHEAD_S` seconds in the future are dropped.
"""
SAME_S = 0.001
"""Difference in seconds below which two times count as equal."""
MOST_UNKNOWN = 10_000
"""Maximum number of stored readings of unknown sensors.

The number is limited because a sensor that is never listed in the database may keep sending readings.
"""


class SensorStates:
    """The judge's state of each sensor that has a reading and a limit.

    If `defaults` is true, a limit that no rule sets gets its default value, if there is one. If the evaluation of a
    sensor fails, `set_aside` is called with the sensor's key and the error, and all other sensors are evaluated.
    """

    def __init__(
        self, rules: Sequence[Rule], *, defaults: bool, set_aside: Callable[[Key, Exception], None] | None = None
    ) -> None:
        self._rules = rules
        self._set_aside = set_aside
        self._defaults = defaults
        self._listed: list[Sensor] = []
        """All sensors that were passed to the last `set_sensors`.

        If several sensors have the same key, `_sensors` contains only the first of them.
        """
        self._sensors: Mapping[Key, Sensor] = {}
        self._keys: Mapping[Id, Sequence[Key]] = {}
        """The keys in `_sensors`, by storehouse."""
        self._terms: dict[Key, Terms] = {}
        self._states: dict[Key, State] = {}
        self._no_data_due: dict[Key, float] = {}
        """For each sensor key, the time at which the no-data alarm is due if no reading arrives.

        If this time is unknown, the sensor has no entry.
        """
        self._closed: dict[Identity, ClosedByHand] = {}
        """Alarm episodes that users closed by hand and that are not in the sensor states yet.

        After a takeover, the judge evaluates earlier readings again. It has not reached the end of these episodes yet.
        """
        self._unknown: deque[Reading] = deque(maxlen=MOST_UNKNOWN)
        """Stored readings of unknown sensors, which may become known later."""

    def __len__(self) -> int:
        return len(self._states)

    def set_sensors(self, sensors: Sequence[Sensor]) -> None:
        """Set the sensors that are evaluated from now on."""
        if sensors == self._listed:
            return
        self._listed = list(sensors)
        by_key: dict[Key, Sensor] = {}
        for sensor in sensors:
            by_key.setdefault(sensor.key, sensor)
        self._sensors = by_key
        keys: dict[Id, list[Key]] = {}
        for key, sensor in by_key.items():
            keys.setdefault(sensor.store_house_id, []).append(key)
        self._keys = keys
        self._terms = {}

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Set the alarm rules that apply from now on."""
        self._rules = rules
        self._terms = {}

    def sensor(self, key: Key) -> Sensor | None:
        """Return the sensor with this key, or None if no such sensor is known."""
        return self._sensors.get(key)

    def no_data_after_s(self, key: Key) -> float:
        """Return the sensor's no-data limit in seconds; infinite if the sensor has no such limit."""
        terms = self._terms_of(key)
        return terms.no_data_after_s if terms else math.inf

    def has_reading(self, key: Key) -> bool:
        """Return whether a good reading of the sensor has been evaluated since this object was created."""
        return key in self._no_data_due

    def is_current(self, key: Key, now: float) -> bool:
        """Return whether the sensor's last reading still counts as current at the time `now`.

        A reading counts as current if it is not older than the no-data limit, or if the sensor reports only changes.
        """
        terms = self._terms_of(key)
        return terms is not None and (terms.holds or now < self._no_data_due.get(key, 0.0))

    def judge_readings(self, readings: Iterable[Reading], now: float) -> list[Change]:
        """Evaluate readings in the given order. Return the changes of alarms.

        The readings have arrived by the time `now`. Readings of unknown sensors are stored for later.
        """
        changes: list[Change] = []
        for reading in readings:
            time = reading.time.timestamp()
            if reading.key not in self._sensors:
                self._unknown.append(reading)
            elif time <= now + AHEAD_S:
                self._set_back(reading.key, now)
                changes += self._judge(reading.key, Measured(time, reading.value, reading.rank))
                if reading.value is not None:
                    self._postpone_no_data(reading.key, time)
        return changes

    @property
    def unknown_readings(self) -> Sequence[Reading]:
        """Stored readings of unknown sensors."""
        return list(self._unknown)

    def pop_recognised(self) -> list[Reading]:
        """Remove the stored readings whose sensors have become known, and return them.

        They have not been evaluated yet.
        """
        waiting, self._unknown = self._unknown, deque(maxlen=MOST_UNKNOWN)
        recognised: list[Reading] = []
        for reading in waiting:
            (recognised if reading.key in self._sensors else self._unknown).append(reading)
        return recognised

    def judge_time(self, keys: Iterable[Key], now: float) -> list[Change]:
        """Evaluate the delays and no-data limits of these sensors up to the time `now`. Return the changes of alarms.

        All readings up to `now` must have been evaluated before.
        """
        due = []
        for key in keys:
            self._set_back(key, now)
            if self._is_due(key, now):
                due.append(key)
        return list(chain.from_iterable(self._judge(key, now) for key in due))

    def last_episodes(self) -> list[Episode]:
        """Return the last alarm episode of each kind of each sensor, as far as the states contain it.

        The episode may be pending, open or cleared.
        """
        kind_states = chain.from_iterable(
            (*state.evaluation.kind_states.values(), state.no_data) for state in self._states.values()
        )
        return [each.episode for each in kind_states if each is not None and each.episode is not None]

    def keys(self) -> list[Key]:
        """Return the keys of all evaluated sensors."""
        return list(self._states)

    def restart_no_data(self, now: float) -> None:
        """Restart the no-data timers of all sensors at the time `now`, after an outage of the sensor database.

        During the outage, Storewatch could not receive readings.
        """
        for key in self._states:
            self._postpone_no_data(key, now)

    def open_no_data_episodes(self) -> dict[Id, list[Episode]]:
        """Return the open no-data alarms of single sensors, by storehouse."""
        by_storehouse: dict[Id, list[Episode]] = {}
        for state in self._states.values():
            if state.no_data is not None and (episode := state.no_data.episode) and episode.cleared is None:
                by_storehouse.setdefault(state.store_house_id, []).append(episode)
        return by_storehouse

    def count_no_data_watched(self, store_house_id: Id) -> int:
        """Return the number of the storehouse's evaluated sensors that have a no-data limit."""
        here = self._keys.get(store_house_id, ())
        return sum(key in self._states and math.isfinite(self.no_data_after_s(key)) for key in here)

    def close(self, closed: ClosedByHand) -> list[Change]:
        """Close an alarm episode that a user closed by hand. Return the resulting changes of alarms.

        No alarm of this kind is raised until the value is back to normal. If the readings of the episode are being
        evaluated a second time, the episode is closed later. It is closed when this evaluation reaches the last change
        before the user's action.
        """
        key = closed.episode.key if closed.episode.kind in KINDS else None
        state, terms = (self._states.get(key), self._terms_of(key)) if key else (None, None)
        if key and (state is None or max(state.end[0], state.now) < closed.judged - SAME_S):
            self._closed[identity(closed.episode)] = closed
        elif state is not None and terms is not None and _has_episode(state, closed.episode):
            self._states[state.key], changes = judge.close(terms, state, closed.episode.kind, closed.time)
            return changes
        return []

    def adopt(self, episode: Episode) -> None:
        """Add an open alarm episode from the database to the state of its sensor.

        Do nothing if the state already contains this episode.
        """
        sensor = self._sensors.get(episode.key) if episode.key and episode.kind in KINDS else None
        if sensor is not None:
            state = self._states.get(sensor.key) or judge.initial_state(sensor)
            if not _has_episode(state, episode):
                self._states[sensor.key] = judge.adopt(state, episode)

    def encode(self, keys: Iterable[Key]) -> bytes:
        """Return the states of these sensors in the format of a snapshot."""
        return msgspec.msgpack.encode([self._states[key] for key in keys])

    def decode(self, content: bytes) -> None:
        """Add the sensor states in a part of a snapshot.

        Raise msgspec's DecodeError if this part cannot be decoded.
        """
        for state in msgspec.msgpack.decode(content, type=list[State]):
            self._states[state.key] = state

    def _judge(self, key: Key, event: Measured | float) -> Sequence[Change]:
        try:
            return self._judge_sensor(key, event)
        except Exception as error:
            if self._set_aside is None:
                raise
            self._set_aside(key, error)
            return ()

    def _judge_sensor(self, key: Key, event: Measured | float) -> Sequence[Change]:
        state, terms = self._states.get(key), self._terms_of(key)
        if terms is None:
            return ()
        if state is None:
            if not any(terms.of(kind) for kind in KINDS):
                return ()
            state = judge.initial_state(self._sensors[key])
        self._states[key], changes = judge.judge(terms, state, event)
        return changes + self._close_again(changes) if self._closed else changes

    def _set_back(self, key: Key, now: float) -> None:
        """Set a sensor's state back to slightly before the time `now` if the state is too far ahead of `now`.

        A state is too far ahead only if the server's clock was set back.
        """
        state = self._states.get(key)
        if state is not None and max(state.end[0], state.now) > now + LEAP_S:
            # Continue slightly before `now`, because readings from the moments before the clock was set back may still
            # arrive.
            self._states[key] = judge.set_clock_back(state, now - AHEAD_S)
            self._no_data_due[key] = min(self._no_data_due.get(key, 0.0), now + self.no_data_after_s(key))

    def _close_again(self, changes: Iterable[Change]) -> list[Change]:
        more: list[Change] = []
        for change in changes:
            closed = self._closed.get(identity(change.episode))
            if closed is not None and abs(closed.judged - change.time) < SAME_S:
                del self._closed[identity(change.episode)]
                more += self.close(closed)
        return more

    def _terms_of(self, key: Key) -> Terms | None:
        cached = self._terms.get(key)
        if cached is None and key in self._sensors:
            cached = self._terms[key] = terms_for(self._rules, self._sensors[key], defaults=self._defaults)
        return cached

    def _postpone_no_data(self, key: Key, time: float) -> None:
        self._no_data_due[key] = max(self._no_data_due.get(key, 0.0), time + self.no_data_after_s(key))

    def _is_due(self, key: Key, now: float) -> bool:
        """Return whether the passing of time alone, up to `now`, can change an alarm of this sensor."""
        terms = self._terms_of(key)
        return terms is not None and (terms.holds or now >= self._no_data_due.get(key, 0.0))


def _has_episode(state: State, episode: Episode) -> bool:
    kind_state = state.no_data if episode.kind == NO_DATA else state.evaluation.kind_states.get(episode.kind)
    # The database stores times to the millisecond.
    return (
        kind_state is not None
        and kind_state.episode is not None
        and abs(kind_state.episode.since - episode.since) < SAME_S
    )
