"""Input of the judge: the sources of readings and sensors, and the queue of readings that it must evaluate.

The judge is the component that evaluates alarm rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ask import Ask
from ask.readings import Reading
from ask.sensors import Sensor
from live.newest import Newest
from live.source import Position, Source

MOST_WAITING = 500_000
"""Maximum number of readings in the judge's queue.

The queue grows during a takeover, and while the judge has `judge_term.MOST_UNWRITTEN` unwritten changes of alarms. If
more readings arrive, the judge drops its state and the queue, and later continues from its last snapshot.
"""


@dataclass(frozen=True)
class JudgeInput:
    """The sources from which the judge gets readings and sensors."""

    ask: Ask
    newest: Newest
    live: Source
    """The source from which the poller reads new readings."""
    new_source: Callable[[], Source]
    """A function that returns another source of the same readings.

    In a takeover, the new judge reads the earlier readings from such a source.
    """

    def sensors(self) -> list[Sensor]:
        """Return all known sensors."""
        newest = self.newest
        return [sensor for storehouse in newest.storehouses() for sensor in newest.sensors(storehouse.store_house_id)]


class ReadingBatch(NamedTuple):
    """Readings that the poller handed out together.

    `position` is the place in the table of readings that the poller had reached at that time.
    """

    readings: Sequence[Reading]
    position: Position


class JudgeInbox:
    """A queue of readings and times that the judge has not evaluated yet.

    A time means that all readings up to this time have arrived. The queue is closed while another process is the judge.
    """

    def __init__(self) -> None:
        self._entries: list[ReadingBatch | float] | None = None
        self._waiting = 0

    @property
    def is_open(self) -> bool:
        """Whether the queue is open.

        It is open if this process is the judge, or if it evaluates earlier readings to become the judge.
        """
        return self._entries is not None

    @property
    def is_full(self) -> bool:
        """Whether more than `MOST_WAITING` readings are queued."""
        return self._waiting > MOST_WAITING

    def open(self) -> None:
        """Open the queue. From now on, readings and times are queued."""
        self._entries = []

    def close(self) -> None:
        """Close the queue and drop its content. Ignore further readings and times."""
        self._entries, self._waiting = None, 0

    def add_readings(self, readings: Sequence[Reading], position: Position) -> None:
        """Queue readings if the queue is open.

        `position` is the position in the table of readings up to which the poller has read.
        """
        if self._entries is not None:
            self._entries.append(ReadingBatch(readings, position))
            self._waiting += len(readings)

    def add_time(self, time: float) -> None:
        """Queue a time if the queue is open. All readings up to this time must have arrived."""
        if self._entries is not None:
            self._entries.append(time)

    def drain(self) -> list[ReadingBatch | float]:
        """Remove all readings and times from the queue and return them. The queue stays open."""
        entries, self._entries, self._waiting = self._entries or [], [], 0
        return entries
