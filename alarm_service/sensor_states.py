"""The judge's state of every sensor, and how readings and the passing of time change it. No clock, no socket."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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
"""A time so far ahead of now is not that of a sensor whose clock runs ahead: our own clock was set back."""
SAME_S = 0.001
MOST_UNKNOWN = 10_000
"""Readings that wait for their sensor to be listed; those of one that is in no list may come for ever."""


class SensorStates:
    """The state of each sensor that has been judged; `defaults`: our own rules apply where no configured rule does."""

    def __init__(self, rules: Sequence[Rule], *, defaults: bool) -> None:
        self._rules = rules
        self._defaults = defaults
        self._listed: list[Sensor] = []
        """All sensors, as they were set last; `_sensors` has one for each key."""
        self._sensors: Mapping[Key, Sensor] = {}
        self._terms: dict[Key, Terms] = {}
        self._states: dict[Key, State] = {}
        self._no_data_due: dict[Key, float] = {}
        """When the no-data alarm of each sensor is due if no reading comes; missing where that is not known."""
        self._closed: dict[Identity, ClosedByHand] = {}
        """Episodes closed by hand that the states do not have yet, because their readings are judged again."""
        self._unknown: deque[Reading] = deque(maxlen=MOST_UNKNOWN)
        """Readings of sensors that are not listed."""

    def __len__(self) -> int:
        return len(self._states)

    def set_sensors(self, sensors: Sequence[Sensor]) -> None:
        """Judge these sensors from now on."""
        if sensors == self._listed:
            return
        self._listed = list(sensors)
        by_key: dict[Key, Sensor] = {}
        for sensor in sensors:
            by_key.setdefault(sensor.key, sensor)
        self._sensors = by_key
        self._terms = {}

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Judge by these rules from now on."""
        self._rules = rules
        self._terms = {}

    def sensor(self, key: Key) -> Sensor | None:
        """Return a sensor; None if it is not listed."""
        return self._sensors.get(key)

    def no_data_after_s(self, key: Key) -> float:
        """Return after how many seconds without a reading a sensor has no data; infinite if that is not watched."""
        terms = self._terms_of(key)
        return terms.no_data_after_s if terms else math.inf

    def has_reading(self, key: Key) -> bool:
        """Return whether a good reading of a sensor has been judged here."""
        return key in self._no_data_due

    def is_current(self, key: Key, now: float) -> bool:
        """Return whether the last reading of a sensor still describes its state at `now`."""
        terms = self._terms_of(key)
        return terms is not None and (terms.holds or now < self._no_data_due.get(key, 0.0))

    def judge_readings(self, readings: Iterable[Reading], now: float) -> list[Change]:
        """Judge readings that came by `now`, in this order; those of an unknown sensor wait until it is listed."""
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
        """The readings of sensors that are not listed."""
        return list(self._unknown)

    def pop_recognised(self) -> list[Reading]:
        """Remove and return the readings whose sensors were listed after they came; they are not judged yet."""
        waiting, self._unknown = self._unknown, deque(maxlen=MOST_UNKNOWN)
        recognised: list[Reading] = []
        for reading in waiting:
            (recognised if reading.key in self._sensors else self._unknown).append(reading)
        return recognised

    def judge_time(self, keys: Iterable[Key], now: float) -> list[Change]:
        """Judge that it is `now`, and that all readings up to then have come."""
        due = []
        for key in keys:
            self._set_back(key, now)
            if self._is_due(key, now):
                due.append(key)
        return list(chain.from_iterable(self._judge(key, now) for key in due))

    def keys(self) -> list[Key]:
        """Return the keys of the judged sensors."""
        return list(self._states)

    def restart_no_data(self, now: float) -> None:
        """Count the time without readings from `now` on: until now no reading could be received."""
        for key in self._states:
            self._postpone_no_data(key, now)

    def open_no_data_episodes(self) -> dict[Id, list[Episode]]:
        """Return the open no-data episodes, by storehouse."""
        by_storehouse: dict[Id, list[Episode]] = {}
        for state in self._states.values():
            if state.no_data is not None and (episode := state.no_data.episode) and episode.cleared is None:
                by_storehouse.setdefault(state.store_house_id, []).append(episode)
        return by_storehouse

    def count_no_data_watched(self, store_house_id: Id) -> int:
        """Return how many of a storehouse's sensors are watched for having no data."""
        here = (key for key, sensor in self._sensors.items() if sensor.store_house_id == store_house_id)
        return sum(key in self._states and math.isfinite(self.no_data_after_s(key)) for key in here)

    def close(self, closed: ClosedByHand) -> list[Change]:
        """Apply that an episode was closed by hand: raise nothing until its sensor is back to normal.

        If its readings are being judged again, this is applied when they have reached the time it was closed.
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
        """Add an episode that is open in the database to its sensor's state, if it is missing there."""
        sensor = self._sensors.get(episode.key) if episode.key and episode.kind in KINDS else None
        if sensor is not None:
            state = self._states.get(sensor.key) or judge.initial_state(sensor)
            if not _has_episode(state, episode):
                self._states[sensor.key] = judge.adopt(state, episode)

    def encode(self, keys: Iterable[Key]) -> bytes:
        """Return the states of these sensors in the form of a snapshot."""
        return msgspec.msgpack.encode([self._states[key] for key in keys])

    def decode(self, content: bytes) -> None:
        """Add the states of a snapshot; raises msgspec's DecodeError."""
        for state in msgspec.msgpack.decode(content, type=list[State]):
            self._states[state.key] = state

    def _judge(self, key: Key, event: Measured | float) -> Sequence[Change]:
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
        """Go on from now if the last reading, or the last judged time, lies ahead: the clock has been set back."""
        state = self._states.get(key)
        if state is not None and max(state.end[0], state.now) > now + LEAP_S:
            # A little earlier: readings taken while the clock was being set may not have come yet.
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
        """Whether the passing of time may change anything about this sensor."""
        terms = self._terms_of(key)
        return terms is not None and (terms.holds or now >= self._no_data_due.get(key, 0.0))


def _has_episode(state: State, episode: Episode) -> bool:
    kind_state = state.no_data if episode.kind == NO_DATA else state.evaluation.kind_states.get(episode.kind)
    # The database has times to the millisecond.
    return (
        kind_state is not None
        and kind_state.episode is not None
        and abs(kind_state.episode.since - episode.since) < SAME_S
    )
