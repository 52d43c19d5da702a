"""A history judged: the readings of a sensor in, the episodes that came out of them out."""

from collections.abc import Iterable
from itertools import chain

from alarms.judge import begin, judge
from alarms.late_readings import Identity
from alarms.model import DISMISSED, WITHDRAWN, Change, Episode, Reading
from alarms.rules import Terms
from ask.sensors import Sensor


def replay(terms: Terms, sensor: Sensor, readings: Iterable[Reading], until: float | None = None) -> list[Episode]:
    """Judge readings, and then that it is `until`; return the episodes in the order in which they began to be told."""
    state = begin(sensor)
    found: dict[Identity, Episode] = {}
    events: Iterable[Reading | float] = readings if until is None else chain(readings, [until])
    for event in events:
        state, changes = judge(terms, state, event)
        note(found, changes)
    return list(found.values())


def note(found: dict[Identity, Episode], changes: Iterable[Change]) -> None:
    """Let `found` hold the episodes of a sensor that there are after these changes."""
    for what, _, episode in changes:
        if what in (DISMISSED, WITHDRAWN):
            found.pop((episode.kind, episode.since), None)
        else:
            found[episode.kind, episode.since] = episode
