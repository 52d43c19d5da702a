"""Input of the judge: the sources of its readings, and the queue of readings that it must evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ask import Ask
from ask.readings import Reading
from ask.sensors import Sensor
from live.newest import Newest
from live.source import Position, Source

MOST_WAITING = 500_000
"""Maximum number of readings in the judge's queue. The queue grows while the database cannot be written.

If more readings are queued, the judge drops its state and later continues from its last snapshot.
"""


@dataclass(frozen=True)
class JudgeInput:
    """The sources of the judge's readings and sensors."""

    ask: Ask
    newest: Newest
    live: Source
    """The source that the poller reads."""
    new_source: Callable[[], Source]
    """A function that returns another source of the same readings. The judge reads it to catch up after a takeover."""

    def sensors(self) -> list[Sensor]:
        """Return all known sensors."""
        newest = self.newest
        return [sensor for storehouse in newest.storehouses() for sensor in newest.sensors(storehouse.store_house_id)]


class ReadingBatch(NamedTuple):
    """Readings that the poller handed out together, and the poller's position after them."""

    readings: Sequence[Reading]
    position: Position


class JudgeInbox:
    """A queue of readings and times that the judge has not evaluated yet.

    The queue is closed while another process is the judge.
    """

    def __init__(self) -> None:
        self._entries: list[ReadingBatch | float] | None = None
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Whether the queue is open: this process is the judge, or is catching up during a takeover."""
        return self._entries is not None

    @property
    def is_full(self) -> bool:
        """Whether more than `MOST_WAITING` readings are queued."""
        return self._waiting > MOST_WAITING

    def open(self) -> None:
        """Start to queue readings and times."""
        self._entries = []

    def close(self) -> None:
        """Drop the queue, and ignore further readings and times."""
        self._entries, self._waiting = None, 0

    def add_readings(self, readings: Sequence[Reading], position: Position) -> None:
        """Queue readings, with the poller's position after them, if the queue is open."""
        if self._entries is not None:
            self._entries.append(ReadingBatch(readings, position))
            self._waiting += len(readings)

    def add_time(self, time: float) -> None:
        """Queue a time up to which all readings have arrived, if the queue is open."""
        if self._entries is not None:
            self._entries.append(time)

    def drain(self) -> list[ReadingBatch | float]:
        """Remove all entries from the queue and return them. The queue stays open."""
        entries, self._entries, self._waiting = self._entries or [], [], 0
        return entries
