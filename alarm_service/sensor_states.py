"""What the judge knows of every sensor, and what readings and the passing of time change in it. No clock, no socket."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from alarms import judge
from alarms.judge import State
from alarms.model import KINDS, NO_DATA, Change, Episode
from alarms.model import Reading as Measured
from alarms.rules import Rule, Terms, terms
from ask.answers import Id
from ask.readings import Key, Reading
from ask.sensors import Sensor
from common.clock import AHEAD
from record.episodes import Closed, Identity, identity

AHEAD_S = AHEAD.total_seconds()
LEAP_S = 2 * AHEAD_S
"""What lies so far ahead of now is no reading whose clock runs ahead: it is our clock that was set back."""
SAME_S = 0.001
MOST_UNKNOWN = 10_000
"""Readings that wait for their sensor to be known; those of one that is in no list may come for ever."""


class SensorStates:
    """The state of each sensor that has been judged; `defaults`: our rules fill in where no other speaks."""

    def __init__(self, rules: Sequence[Rule], *, defaults: bool) -> None:
        self._rules = rules
        self._defaults = defaults
        self._sensors: Mapping[Key, Sensor] = {}
        self._terms: dict[Key, Terms] = {}
        self._states: dict[Key, State] = {}
        self._silent: dict[Key, float] = {}
        """From when on each sensor is silent, if nothing comes; the past where that is not known."""
        self._closed: dict[Identity, Closed] = {}
        """Episodes that people have closed, and that are not known yet because their readings are judged again."""
        self._unknown: deque[Reading] = deque(maxlen=MOST_UNKNOWN)
        """Readings of sensors that are not known."""

    def __len__(self) -> int:
        return len(self._states)

    def learn(self, sensors: Iterable[Sensor]) -> None:
        """Take over which sensors there are."""
        found: dict[Key, Sensor] = {}
        for sensor in sensors:
            found.setdefault(sensor.key, sensor)
        self._sensors = found
        self._terms = {}

    def rule(self, rules: Sequence[Rule]) -> None:
        """Judge by these rules from now on."""
        self._rules = rules
        self._terms = {}

    def sensor(self, key: Key) -> Sensor | None:
        """Return a sensor."""
        return self._sensors.get(key)

    def sensors(self) -> list[Sensor]:
        """Return the sensors that are judged."""
        return [sensor for key, sensor in self._sensors.items() if key in self._states]

    def no_data_after_s(self, key: Key) -> float:
        """Return how many seconds without a reading are too many; infinite where none are."""
        found = self._terms_of(key)
        return found.no_data_after_s if found else math.inf

    def has_heard(self, key: Key) -> bool:
        """Return whether a good reading of a sensor has been judged here."""
        return key in self._silent

    def is_current(self, key: Key, now: float) -> bool:
        """Return whether the last reading of a sensor says how it is now."""
        found = self._terms_of(key)
        return found is not None and (found.holds or now < self._silent.get(key, 0.0))

    def take(self, readings: Iterable[Reading], now: float) -> list[Change]:
        """Judge readings that have come by `now`, in this order; those of an unknown sensor wait until it is known."""
        changes: list[Change] = []
        for reading in readings:
            time = reading.time.timestamp()
            if reading.key not in self._sensors:
                self._unknown.append(reading)
            elif time <= now + AHEAD_S:
                self._set_back(reading.key, now)
                changes += self._judge(reading.key, Measured(time, reading.value, reading.rank))
                if reading.value is not None:
                    self._heard(reading.key, time)
        return changes

    @property
    def unknown(self) -> Sequence[Reading]:
        """The readings of sensors that are not known."""
        return list(self._unknown)

    def recognised(self) -> list[Reading]:
        """Return the readings whose sensors have become known since they came; they are not judged yet."""
        waiting, self._unknown = self._unknown, deque(maxlen=MOST_UNKNOWN)
        found: list[Reading] = []
        for reading in waiting:
            (found if reading.key in self._sensors else self._unknown).append(reading)
        return found

    def passed(self, keys: Iterable[Key], now: float) -> list[Change]:
        """Judge that it is `now`, and that all readings up to then have come."""
        waiting = []
        for key in keys:
            self._set_back(key, now)
            if self._waits(key, now):
                waiting.append(key)
        return list(chain.from_iterable(self._judge(key, now) for key in waiting))

    def keys(self) -> list[Key]:
        """Return what the readings of judged sensors are found by."""
        return list(self._states)

    def forgive(self, now: float) -> None:
        """Begin to count silence only now: until now nobody could be heard."""
        for key in self._states:
            self._silent[key] = max(self._silent.get(key, 0.0), now + self.no_data_after_s(key))

    def silent(self) -> dict[Id, list[Episode]]:
        """Return the open alarms of no data, by storehouse."""
        found: dict[Id, list[Episode]] = {}
        for state in self._states.values():
            if state.silence is not None and (episode := state.silence.episode) and episode.cleared is None:
                found.setdefault(state.store_house_id, []).append(episode)
        return found

    def watched(self, store_house_id: Id) -> int:
        """Return how many of a storehouse's sensors are watched for silence."""
        here = (key for key, sensor in self._sensors.items() if sensor.store_house_id == store_house_id)
        return sum(key in self._states and math.isfinite(self.no_data_after_s(key)) for key in here)

    def close(self, closed: Closed) -> list[Change]:
        """Take over that somebody has closed an episode: be quiet until its sensor is back to normal.

        Where its readings are judged again, that is to come when they have brought it to where it was closed.
        """
        key = closed.episode.key if closed.episode.kind in KINDS else None
        state, found = (self._states.get(key), self._terms_of(key)) if key else (None, None)
        if key and (state is None or max(state.end[0], state.now) < closed.judged - SAME_S):
            self._closed[identity(closed.episode)] = closed
        elif state is not None and found is not None and _knows(state, closed.episode):
            self._states[state.key], changes = judge.close(found, state, closed.episode.kind, closed.time)
            return changes
        return []

    def adopt(self, episode: Episode) -> None:
        """Take over an episode that is open in the database, if it is not known."""
        sensor = self._sensors.get(episode.key) if episode.key and episode.kind in KINDS else None
        if sensor is not None:
            state = self._states.get(sensor.key) or judge.begin(sensor)
            if not _knows(state, episode):
                self._states[sensor.key] = judge.adopt(state, episode)

    def encode(self, keys: Iterable[Key]) -> bytes:
        """Return the states of these sensors as a snapshot has them."""
        return msgspec.msgpack.encode([self._states[key] for key in keys])

    def decode(self, content: bytes) -> None:
        """Take over states as a snapshot has them; raises msgspec's DecodeError."""
        for state in msgspec.msgpack.decode(content, type=list[State]):
            self._states[state.key] = state

    def _judge(self, key: Key, event: Measured | float) -> Sequence[Change]:
        state, found = self._states.get(key), self._terms_of(key)
        if found is None:
            return ()
        if state is None:
            if not any(found.of(kind) for kind in KINDS):
                return ()
            state = judge.begin(self._sensors[key])
        self._states[key], changes = judge.judge(found, state, event)
        return changes + self._close_again(changes) if self._closed else changes

    def _set_back(self, key: Key, now: float) -> None:
        """Go on from now where the last reading, or the last look, lies ahead: the clock has been set back."""
        state = self._states.get(key)
        if state is not None and max(state.end[0], state.now) > now + LEAP_S:
            # A little earlier: what was read while the clock was set may not have come yet.
            self._states[key] = judge.set_back(state, now - AHEAD_S)
            self._silent[key] = min(self._silent.get(key, 0.0), now + self.no_data_after_s(key))

    def _close_again(self, changes: Iterable[Change]) -> list[Change]:
        more: list[Change] = []
        for change in changes:
            closed = self._closed.get(identity(change.episode))
            if closed is not None and abs(closed.judged - change.time) < SAME_S:
                del self._closed[identity(change.episode)]
                more += self.close(closed)
        return more

    def _terms_of(self, key: Key) -> Terms | None:
        found = self._terms.get(key)
        if found is None and key in self._sensors:
            found = self._terms[key] = terms(self._rules, self._sensors[key], defaults=self._defaults)
        return found

    def _heard(self, key: Key, time: float) -> None:
        self._silent[key] = max(self._silent.get(key, 0.0), time + self.no_data_after_s(key))

    def _waits(self, key: Key, now: float) -> bool:
        """Whether the passing of time may change anything about this sensor."""
        found = self._terms_of(key)
        return found is not None and (found.holds or now >= self._silent.get(key, 0.0))


def _knows(state: State, episode: Episode) -> bool:
    kind_state = state.silence if episode.kind == NO_DATA else state.evaluation.kind_states.get(episode.kind)
    # The database has times to the millisecond.
    return (
        kind_state is not None
        and kind_state.episode is not None
        and abs(kind_state.episode.since - episode.since) < SAME_S
    )
