"""Evaluates alarm rules on the whole history of a sensor and returns the alarm episodes."""

from collections.abc import Iterable
from itertools import chain

from alarms.judge import initial_state, judge
from alarms.late_readings import KindAndStart
from alarms.model import DISMISSED, WITHDRAWN, Change, Episode, Reading
from alarms.rules import Terms
from ask.sensors import Sensor


def replay(terms: Terms, sensor: Sensor, readings: Iterable[Reading], until: float | None = None) -> list[Episode]:
    """Evaluate all readings of a sensor and, if `until` is given, also the passing of time up to `until`.

    Return the alarm episodes in the order in which the evaluation found them.
    """
    state = initial_state(sensor)
    episodes: dict[KindAndStart, Episode] = {}
    events: Iterable[Reading | float] = readings if until is None else chain(readings, [until])
    for event in events:
        state, changes = judge(terms, state, event)
        apply_changes(episodes, changes)
    return list(episodes.values())


def apply_changes(episodes: dict[KindAndStart, Episode], changes: Iterable[Change]) -> None:
    """Update `episodes`, the alarm episodes of one sensor, with the changes that the judge returned."""
    for what, _, episode in changes:
        if what in (DISMISSED, WITHDRAWN):
            episodes.pop((episode.kind, episode.since), None)
        else:
            episodes[episode.kind, episode.since] = episode
