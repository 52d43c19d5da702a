"""The readings that the judge judges: where they come from, and those that wait to be judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ask import Ask
from ask.readings import Reading
from ask.sensors import Sensor
from live.newest import Newest
from live.source import Position, Source

MOST_WAITING = 500_000
"""Readings that may wait while nothing can be written; if more come they are read again from the last snapshot."""


@dataclass(frozen=True)
class JudgeInput:
    """Where the judge's readings and sensors come from."""

    ask: Ask
    newest: Newest
    live: Source
    """The source that the poller reads."""
    new_source: Callable[[], Source]
    """Returns another source of the same readings, for catching up."""

    def sensors(self) -> list[Sensor]:
        """Return all sensors that are known."""
        newest = self.newest
        return [sensor for storehouse in newest.storehouses() for sensor in newest.sensors(storehouse.store_house_id)]


class ReadingBatch(NamedTuple):
    """Readings, and the poller's position after them."""

    readings: Sequence[Reading]
    position: Position


class JudgeInbox:
    """Readings that have come and are not judged yet, and between them times; closed while another process judges."""

    def __init__(self) -> None:
        self._entries: list[ReadingBatch | float] | None = None
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Whether this process judges, or is catching up to do so."""
        return self._entries is not None

    @property
    def is_full(self) -> bool:
        """Whether more readings wait than may."""
        return self._waiting > MOST_WAITING

    def open(self) -> None:
        """Let everything from now on wait to be judged."""
        self._entries = []

    def close(self) -> None:
        """Drop all that waits, and all that comes."""
        self._entries, self._waiting = None, 0

    def add_readings(self, readings: Sequence[Reading], position: Position) -> None:
        """Add readings, and how far the poller had come with them."""
        if self._entries is not None:
            self._entries.append(ReadingBatch(readings, position))
            self._waiting += len(readings)

    def add_time(self, time: float) -> None:
        """Add that it was this time, and that all readings up to then had come."""
        if self._entries is not None:
            self._entries.append(time)

    def drain(self) -> list[ReadingBatch | float]:
        """Remove and return all that waits; more may come."""
        entries, self._entries, self._waiting = self._entries or [], [], 0
        return entries
